/**
 * From VirtualService to the routes a waypoint follows. Pure, and per object.
 *
 * Rules keep their order: the first that fits is in force. One of which a part can not be done answers with 500 instead of
 * doing the rest. A VirtualService of the service's namespace is for all clients it is exported to, one of another namespace
 * for the clients of that namespace.
 */
import type { HttpBackend, HttpFilter, HttpMatch, HttpRoute, HttpRule } from '../model/http-route.ts';
import type {
  VirtualService,
  VirtualServiceDestination,
  VirtualServiceHttp,
} from '../model/kinds/virtual-service.ts';
import type { TcpRoute } from '../model/tcp-route.ts';
import {
  answerOf,
  corsOf,
  faultOf,
  headerFilters,
  redirectOf,
  retryOf,
  rewriteOf,
} from './build-virtual-actions.ts';
import { type VirtualContext, virtualBackend, virtualWeight } from './build-virtual-backend.ts';
import { connectionRules } from './build-virtual-connections.ts';
import { anyRequest, both, virtualMatch } from './build-virtual-match.ts';
import type { Say } from './finding.ts';
import type { Located, Report } from './located.ts';

/** What one comes to: a route of requests and one of connections. */
export interface VirtualRoutes {
  readonly routes: HttpRoute | null;
  readonly tcpRoutes: TcpRoute | null;
}

const loss = 'its share of the requests is answered with 500';

/** The routes an object describes; null where it is for no service of the mesh. */
export function virtualRoutesOf(
  object: Located<'VirtualService'>,
  context: VirtualContext,
  report: Report,
): VirtualRoutes | null {
  const say: Say = (severity, code, field, message) => report(object, severity, code, field, message);
  const { spec, metadata } = object.value;
  if (!(spec.gateways ?? ['mesh']).includes('mesh')) {
    say('info', 'not-for-mesh', 'spec.gateways', 'is for gateways only: it says nothing about this mesh');
    return null;
  }
  const services = (spec.hosts ?? []).flatMap((host, index) => {
    const found = context.host(host, object.namespace);
    if (found !== null) return [found.key];
    say('warning', 'unknown-parent', `spec.hosts[${index}]`, `not bound: there is no service ${host}`);
    return [];
  });
  const clients = clientsOf(spec.exportTo, object.namespace, say);
  if (services.length === 0) return null;
  const created = Date.parse(metadata.creationTimestamp ?? '');
  const base = {
    kind: 'VirtualService',
    namespace: object.namespace,
    name: object.name,
    createdAt: Number.isNaN(created) ? 0 : created,
    parents: [...new Set(services)].map(service => ({ service, port: null })),
    ...(clients === null ? {} : { clients }),
  } as const;
  const hasConnections = spec.tls !== undefined || spec.tcp !== undefined;
  return {
    routes:
      spec.http === undefined ? null : { ...base, rules: new Translation(object, context, say).rules() },
    tcpRoutes: hasConnections
      ? { ...base, rules: connectionRules(spec, object.namespace, context, say) }
      : null,
  };
}

/** Null: all. */
function clientsOf(exportTo: readonly string[] | undefined, namespace: string, say: Say): string[] | null {
  if (exportTo === undefined || exportTo.length === 0 || exportTo.includes('*')) return null;
  const names = exportTo.filter(name => name !== '~').map(name => (name === '.' ? namespace : name));
  if (names.length === 0) say('info', 'not-for-mesh', 'spec.exportTo', 'is exported to nobody');
  return names;
}

class Translation {
  readonly #object: Located<'VirtualService'>;
  readonly #context: VirtualContext;
  readonly #say: Say;

  constructor(object: Located<'VirtualService'>, context: VirtualContext, say: Say) {
    this.#object = object;
    this.#context = context;
    this.#say = say;
  }

  rules(): HttpRule[] {
    const { spec } = this.#object.value;
    return (spec.http ?? []).flatMap((http, index) => {
      const field = `spec.http[${index}]`;
      const matches = this.#matches(http, field);
      if (http.delegate === undefined) return [this.#rule(http, matches, field, this.#object.namespace)];
      return this.#delegated(http.delegate, matches, field);
    });
  }

  #matches({ match }: VirtualServiceHttp, field: string): HttpMatch[] {
    if (match === undefined || match.length === 0) return [anyRequest];
    return match.flatMap(
      (one, at) => virtualMatch(one, `${field}.match[${at}]`, this.#say, this.#context.clients) ?? [],
    );
  }

  /** The rules of the other object, each for what fits both; it has no delegates itself. */
  #delegated(
    ref: NonNullable<VirtualServiceHttp['delegate']>,
    outer: readonly HttpMatch[],
    field: string,
  ): HttpRule[] {
    const namespace = ref.namespace ?? this.#object.namespace;
    const other = this.#context.virtualService(namespace, ref.name);
    const why = obstacleOf(other?.value ?? null, `${namespace}/${ref.name}`);
    if (other === null || why !== null) {
      this.#say(
        'error',
        'unsupported-route',
        `${field}.delegate`,
        `requests that match are answered with 500: ${why}`,
      );
      return [refusal(outer, why ?? '')];
    }
    return (other.value.spec.http ?? []).map(http => {
      const inner = (http.match ?? []).length === 0 ? [anyRequest] : this.#quietMatches(http);
      const matches = outer.flatMap(a => inner.flatMap(b => both(a, b) ?? []));
      if (matches.length === 0) {
        const message = `a rule of VirtualService ${namespace}/${ref.name} is not in force here: no path fits both`;
        this.#say('warning', 'unsupported-route', `${field}.delegate`, message);
      }
      return this.#rule(http, matches, `${field}.delegate`, namespace);
    });
  }

  /** Of another object, about which is said where it is looked at itself. */
  #quietMatches({ match = [] }: VirtualServiceHttp): HttpMatch[] {
    return match.flatMap(one => virtualMatch(one, '', () => {}, this.#context.clients) ?? []);
  }

  #rule(http: VirtualServiceHttp, matches: readonly HttpMatch[], field: string, namespace: string): HttpRule {
    const filters: HttpFilter[] = [];
    const problems: string[] = [];
    const take = (result: HttpFilter | string, part: string): void => {
      if (typeof result !== 'string') filters.push(result);
      else {
        problems.push(result);
        const message = `requests that match are answered with 500: ${result}`;
        this.#say('error', 'unsupported-route', `${field}.${part}`, message);
      }
    };
    const ends = [http.route, http.redirect, http.directResponse].filter(end => end !== undefined);
    if (ends.length !== 1) take('a rule has one of route, redirect, directResponse and delegate', 'route');
    if (http.corsPolicy !== undefined)
      take(corsOf(http.corsPolicy, `${field}.corsPolicy`, this.#say), 'corsPolicy');
    if (http.fault !== undefined) take(faultOf(http.fault), 'fault');
    filters.push(...headerFilters(http.headers));
    if (http.rewrite !== undefined) take(rewriteOf(http.rewrite), 'rewrite');
    for (const mirror of mirrorsOf(http)) {
      const backend = this.#backend(mirror.destination, namespace, `${field}.mirror`);
      if (backend.invalid === null) filters.push({ type: 'mirror', backend, share: mirror.share });
    }
    if (http.redirect !== undefined) filters.push(redirectOf(http.redirect));
    if (http.directResponse !== undefined) filters.push(answerOf(http.directResponse));
    const backends = (http.route ?? []).map((route, at) => ({
      ...this.#backend(route.destination, namespace, `${field}.route[${at}].destination`),
      weight: virtualWeight(route.weight, (http.route ?? []).length),
      filters: headerFilters(route.headers),
    }));
    if (backends.length > 1 && backends.every(({ weight }) => weight === 0))
      take('all weights are zero', 'route');
    if (problems.length > 0) return refusal(matches, problems.join('; '), http.name);
    const { retry, timeouts } = retryOf(http, field, this.#say);
    // As Istio has it: a fault is what a client sees, and nothing makes up for it.
    const isFaulty = http.fault !== undefined;
    return {
      name: http.name ?? null,
      matches,
      filters,
      backends,
      timeouts: isFaulty ? { requestMs: null, backendRequestMs: null } : timeouts,
      retry: isFaulty ? null : retry,
      session: null,
    };
  }

  #backend(destination: VirtualServiceDestination, namespace: string, field: string): HttpBackend {
    const written = { namespace, field, loss, say: this.#say };
    return { ...virtualBackend(this.#context, destination, written), filters: [] };
  }
}

function obstacleOf(other: VirtualService | null, name: string): string | null {
  if (other === null) return `there is no VirtualService ${name}`;
  if ((other.spec.hosts ?? []).length > 0) return `VirtualService ${name} has hosts of its own`;
  const isNested = (other.spec.http ?? []).some(({ delegate }) => delegate !== undefined);
  return isNested ? `VirtualService ${name} delegates itself` : null;
}

function mirrorsOf(http: VirtualServiceHttp): { destination: VirtualServiceDestination; share: number }[] {
  const whole = 100;
  const one =
    http.mirror === undefined ? [] : [{ destination: http.mirror, percentage: http.mirrorPercentage }];
  const { mirrorPercent = whole } = http;
  return [...one, ...(http.mirrors ?? [])].map(({ destination, percentage }) => ({
    destination,
    share: (percentage?.value ?? mirrorPercent) / whole,
  }));
}

/** Answers with 500. */
function refusal(matches: readonly HttpMatch[], why: string, name?: string): HttpRule {
  const backend = { service: '', port: 0, subset: null, weight: 1, filters: [], invalid: why };
  return {
    name: name ?? null,
    matches,
    filters: [],
    backends: [backend],
    timeouts: { requestMs: null, backendRequestMs: null },
    retry: null,
    session: null,
  };
}
