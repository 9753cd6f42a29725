/**
 * What is to be done with a request: the filters of the rule it hit, in their order, then its backend and the filters of
 * that. Ends in an answer of our own, or in what is sent where.
 */
import { isPreflight, preflightHeaders, responseHeaders, type CorsHeaders } from '../model/http-cors.ts';
import { changeHeaders, redirectLocation, rewrite } from '../model/http-filters.ts';
import type { HeaderList, HttpHead } from '../model/http-head.ts';
import { chooseBackend, type RouteHit } from '../model/http-match.ts';
import type {
  HeaderChange,
  HttpBackend,
  HttpFilter,
  HttpRetry,
  HttpRule,
  HttpSession,
  HttpTimeouts,
} from '../model/http-route.ts';
import type { Destination, ServiceDestination, WaypointContext } from './context.ts';
import type { Incoming } from './incoming.ts';
import type { Match } from './match.ts';
import { markOf, ticketOf, type PlannedSession } from './session.ts';

/** A request as far as a plan depends on it. */
export type Asked = Pick<Incoming, 'head' | 'destination' | 'client'>;

export type Plan = AnswerPlan | ForwardPlan;

/** An answer without asking anybody. */
export interface AnswerPlan {
  readonly kind: 'answer';
  readonly status: number;
  readonly headers: HeaderList;
  /** Null for an answer that is as it should be. */
  readonly code: string | null;
  readonly reason: string;
}

export interface ForwardPlan {
  readonly kind: 'forward';
  readonly head: HttpHead;
  readonly destination: Destination;
  readonly timeouts: HttpTimeouts;
  readonly retry: HttpRetry | null;
  /** To the headers of the response, in order. */
  readonly changes: readonly HeaderChange[];
  /** Backends that get a copy. */
  readonly mirrors: readonly Destination[];
  /** Null: the rule has none. */
  readonly session: PlannedSession | null;
}

const noTimeouts: HttpTimeouts = { requestMs: null, backendRequestMs: null };

type PlanContext = Pick<WaypointContext, 'mesh' | 'self' | 'upstreams'>;

/** @param random numbers in [0, 1): for weights, and for the share of mirrors */
export function planOf(context: PlanContext, asked: Asked, match: Match, random: () => number): Plan {
  const { head, destination } = asked;
  if (match.kind === 'none') return failure(404, 'NO_ROUTE', 'no rule of the routes of this service fits');
  if (match.kind === 'barred') return failure(503, 'L7_UNREADABLE', match.reason);
  if (match.kind === 'direct') {
    return {
      kind: 'forward',
      head,
      destination,
      timeouts: noTimeouts,
      retry: null,
      changes: [],
      mirrors: [],
      session: null,
    };
  }
  const { hit } = match;
  const { rule } = hit;
  const work = new Work(context, asked, hit, random);
  const ended = work.apply(rule.filters);
  if (ended !== null) return ended;
  const session = rule.session === null ? null : sessionOf(context, asked, rule, rule.session);
  const backend = session?.backend ?? chooseBackend(rule.backends, random());
  if (backend === null) return failure(500, 'NO_BACKEND', 'the rule has no backend with a weight');
  const target = backendOf(context, backend, destination.address);
  if (typeof target === 'string') return failure(500, 'INVALID_BACKEND', target);
  return (
    work.apply(backend.filters) ?? {
      kind: 'forward',
      head: work.head,
      destination: target,
      timeouts: rule.timeouts,
      retry: rule.retry,
      changes: work.changes,
      mirrors: work.mirrors,
      session: session?.planned ?? null,
    }
  );
}

interface FoundSession {
  readonly planned: PlannedSession;
  /** The one that the session's endpoint is of; null: as the weights have it. */
  readonly backend: HttpBackend | null;
}

/** The endpoint of a session is looked for among those of the rule, and nowhere else. */
function sessionOf(
  context: PlanContext,
  { head, destination, client }: Asked,
  { backends }: HttpRule,
  session: HttpSession,
): FoundSession {
  const ticket = ticketOf(session, head, Date.now());
  for (const backend of ticket === null ? [] : backends) {
    const target = backend.weight === 0 ? '' : backendOf(context, backend, destination.address);
    if (typeof target === 'string') continue;
    const endpoint = endpointOf(context, target, client.namespace, ticket?.mark ?? '');
    if (endpoint !== null) return { planned: { session, endpoint, since: ticket?.since ?? null }, backend };
  }
  return { planned: { session, endpoint: null, since: null }, backend: null };
}

function endpointOf(
  { upstreams, self }: PlanContext,
  destination: ServiceDestination,
  clientNamespace: string,
  mark: string,
): string | null {
  try {
    const upstream = upstreams.for(destination, clientNamespace);
    return upstream.find(destination.service, self, uid => markOf(uid) === mark)?.workload.uid ?? null;
  } catch {
    // Nothing can be sent there, which is said when it is tried.
    return null;
  }
}

class Work {
  readonly #context: Pick<WaypointContext, 'mesh'>;
  readonly #asked: Asked;
  readonly #hit: RouteHit;
  readonly #random: () => number;
  head: HttpHead;
  readonly changes: HeaderChange[] = [];
  readonly mirrors: Destination[] = [];

  constructor(context: Pick<WaypointContext, 'mesh'>, asked: Asked, hit: RouteHit, random: () => number) {
    this.#context = context;
    this.#asked = asked;
    this.#hit = hit;
    this.#random = random;
    this.head = asked.head;
  }

  /** The answer that a filter gives, null where none does. */
  apply(filters: readonly HttpFilter[]): AnswerPlan | null {
    for (const filter of filters) {
      const answered = this.#one(filter);
      if (answered !== null) return answered;
    }
    return null;
  }

  #one(filter: HttpFilter): AnswerPlan | null {
    const { destination, head } = this.#asked;
    const { match } = this.#hit;
    switch (filter.type) {
      case 'request-headers':
        this.#changeRequest(filter.change);
        break;
      case 'response-headers':
        this.changes.push(filter.change);
        break;
      case 'rewrite':
        this.head = rewrite(this.head, filter.rewrite, match);
        break;
      case 'redirect': {
        const location = redirectLocation(head, filter.redirect, match, destination.port);
        return answered(filter.redirect.status, ['location', location], 'redirected');
      }
      case 'cors':
        if (isPreflight(head)) return answered(204, flat(preflightHeaders(head, filter.cors)), 'preflight');
        this.changes.push(corsChange(responseHeaders(head, filter.cors)));
        break;
      case 'fault':
      case 'rate-limit':
        // Nothing translates to these yet; what can not be done is not passed over.
        return failure(500, 'INVALID_BACKEND', `filters of type ${filter.type} are not supported`);
      case 'mirror':
        this.#mirror(filter.backend, filter.share);
    }
    return null;
  }

  /** A mirror that leads nowhere is left out. */
  #mirror(backend: HttpBackend, share: number): void {
    const target = backendOf(this.#context, backend, this.#asked.destination.address);
    if (typeof target !== 'string' && this.#random() < share) this.mirrors.push(target);
  }

  /** The host is no header of the list: a change of it is a change of the authority. */
  #changeRequest(change: HeaderChange): void {
    const host = change.set.find(([name]) => name === 'host')?.[1];
    const isHost = ([name]: readonly [string, string]): boolean => name === 'host';
    const set = host === undefined ? change.set : change.set.filter(pair => !isHost(pair));
    const add = change.add.filter(pair => !isHost(pair));
    const headers = changeHeaders(this.head.headers, { ...change, set, add });
    this.head = { ...this.head, headers, authority: host ?? this.head.authority };
  }
}

function backendOf(
  { mesh }: Pick<WaypointContext, 'mesh'>,
  backend: HttpBackend,
  address: string,
): ServiceDestination | string {
  const { service: key, port, subset, invalid } = backend;
  if (invalid !== null) return invalid;
  const service = mesh.service(key);
  if (service === null) return `there is no service ${key}`;
  if (!service.ports.some(({ servicePort }) => servicePort === port))
    return `service ${key} has no port ${port}`;
  return { kind: 'service', service, port, address, subset };
}

function failure(status: number, code: string, reason: string): AnswerPlan {
  return { kind: 'answer', status, headers: [], code, reason };
}

function answered(status: number, headers: HeaderList, reason: string): AnswerPlan {
  return { kind: 'answer', status, headers, code: null, reason };
}

function flat(headers: CorsHeaders): HeaderList {
  return headers.flat();
}

/** What the filter says replaces what the backend says; that the answer depends on the origin is added. */
function corsChange(headers: CorsHeaders): HeaderChange {
  const isVary = ([name]: readonly [string, string]): boolean => name === 'vary';
  return { set: headers.filter(pair => !isVary(pair)), add: headers.filter(isVary), remove: [] };
}
