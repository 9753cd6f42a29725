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
  HttpFault,
  HttpFilter,
  HttpRetry,
  HttpTimeouts,
} from '../model/http-route.ts';
import type { RateLimit } from '../model/rate-limit.ts';
import { serviceKey } from '../model/service.ts';
import type { Destination, WaypointContext } from './context.ts';
import { backendOf, sessionOf } from './backends.ts';
import type { Incoming } from './incoming.ts';
import type { Match } from './match.ts';
import { rateHeaders, type RateAsk } from './rate-limits.ts';
import type { PlannedSession } from './session.ts';

/** A request as far as a plan depends on it. */
export type Asked = Pick<Incoming, 'head' | 'destination' | 'client'>;

export type Plan = AnswerPlan | ForwardPlan;

/** What is done, and before it. */
export interface Planned {
  readonly plan: Plan;
  /** An injected fault. */
  readonly delayMs: number;
  /** Whether the request is within these limits is to be asked. */
  readonly asks: readonly RateAsk[];
}

/** An answer without asking anybody. */
export interface AnswerPlan {
  readonly kind: 'answer';
  readonly status: number;
  readonly headers: HeaderList;
  /** Null for an answer that is as it should be. */
  readonly code: string | null;
  readonly reason: string;
  /** What clients of gRPC are told; where it is not there, what stands for the status. */
  readonly grpcStatus?: number;
  /** Of the route or an authorizer; where it is not there, none, or a few words of ours. */
  readonly body?: Buffer;
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

export type PlanContext = Pick<
  WaypointContext,
  'mesh' | 'self' | 'upstreams' | 'health' | 'rates' | 'metrics'
>;

/** @param random numbers in [0, 1): for weights, and for the share of mirrors and faults */
export function planOf(context: PlanContext, asked: Asked, match: Match, random: () => number): Planned {
  const hit = match.kind === 'rule' ? match.hit : null;
  const work = new Work(context, asked, hit, random);
  const plan = work.limitService() ?? planned(context, asked, match, work, random);
  return { plan, delayMs: work.delayMs, asks: work.asks };
}

function planned(context: PlanContext, asked: Asked, match: Match, work: Work, random: () => number): Plan {
  const { destination } = asked;
  if (match.kind === 'none') return failure(404, 'NO_ROUTE', 'no rule of the routes of this service fits');
  if (match.kind === 'barred') return failure(503, 'L7_UNREADABLE', match.reason);
  if (match.kind === 'direct') {
    return {
      kind: 'forward',
      head: work.head,
      destination,
      timeouts: noTimeouts,
      retry: null,
      changes: work.changes,
      mirrors: [],
      session: null,
    };
  }
  const { rule } = match.hit;
  const ended = work.apply(rule.filters);
  if (ended !== null) return ended;
  const session = rule.session === null ? null : sessionOf(context, asked, rule, rule.session);
  const backend = session?.backend ?? chooseBackend(rule.backends, random());
  if (backend === null) return failure(500, 'NO_BACKEND', 'the rule has no backend with a weight');
  const target = backendOf(context, backend, destination);
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

class Work {
  readonly #context: PlanContext;
  readonly #asked: Asked;
  /** Null where no rule is hit, and so none has filters. */
  readonly #hit: RouteHit | null;
  readonly #random: () => number;
  head: HttpHead;
  readonly changes: HeaderChange[] = [];
  readonly mirrors: Destination[] = [];
  readonly asks: RateAsk[] = [];
  delayMs = 0;

  constructor(context: PlanContext, asked: Asked, hit: RouteHit | null, random: () => number) {
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

  /** The limits for everything that goes to the service, whatever its route. */
  limitService(): AnswerPlan | null {
    const { destination } = this.#asked;
    if (destination.kind === 'workload') return null;
    const limits = this.#context.rates.for(serviceKey(destination.service));
    return limits.length === 0 ? null : this.#limit(limits);
  }

  #one(filter: HttpFilter): AnswerPlan | null {
    const { destination, head } = this.#asked;
    const match = this.#hit?.match;
    if (match === undefined) return null;
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
      case 'answer': {
        const { status, body } = filter.answer;
        const plan = answered(status, [], 'answered by the route');
        return body === null ? plan : { ...plan, body: Buffer.from(body, 'base64') };
      }
      case 'cors':
        if (isPreflight(head)) return answered(204, flat(preflightHeaders(head, filter.cors)), 'preflight');
        this.changes.push(corsChange(responseHeaders(head, filter.cors)));
        break;
      case 'fault':
        return this.#fault(filter.fault);
      case 'rate-limit':
        return this.#limit([filter.limit]);
      case 'mirror':
        this.#mirror(filter.backend, filter.share);
    }
    return null;
  }

  #limit(limits: readonly RateLimit[]): AnswerPlan | null {
    const { rates, metrics } = this.#context;
    const { state, asks } = rates.take(limits, { client: this.#asked.client, head: this.#asked.head });
    this.asks.push(...asks);
    if (state === null) return null;
    metrics.rateLimited('local', state.allowed ? 'allowed' : 'refused');
    const headers = rateHeaders(state);
    if (!state.allowed) return rateLimited(headers.flat(), 'there are more requests than the limit permits');
    this.changes.push({ set: headers, add: [], remove: [] });
    return null;
  }

  #fault({ delay, abort }: HttpFault): AnswerPlan | null {
    const { metrics } = this.#context;
    if (delay !== null && this.#random() < delay.share) {
      this.delayMs += delay.ms;
      metrics.injected('delay');
    }
    if (abort === null || this.#random() >= abort.share) return null;
    metrics.injected('abort');
    const answer = failure(abort.status, 'FAULT_INJECTED', 'a fault that the route asks for');
    return abort.grpcStatus === null ? answer : { ...answer, grpcStatus: abort.grpcStatus };
  }

  /** A mirror that leads nowhere is left out. */
  #mirror(backend: HttpBackend, share: number): void {
    const target = backendOf(this.#context, backend, this.#asked.destination);
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

function failure(status: number, code: string, reason: string): AnswerPlan {
  return { kind: 'answer', status, headers: [], code, reason };
}

/** gRPC: RESOURCE_EXHAUSTED. */
export function rateLimited(headers: HeaderList, reason: string): AnswerPlan {
  return { kind: 'answer', status: 429, headers, code: 'RATE_LIMITED', reason, grpcStatus: 8 };
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
