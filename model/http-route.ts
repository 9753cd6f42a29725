/**
 * What a waypoint knows about the requests to a service: one model for every kind of route that people write.
 *
 * Translated from HTTPRoute and GRPCRoute by control/build-routes.ts, from VirtualService by build-virtual-service.ts, from TrafficSplit by build-split.ts. Plain JSON data, like the rest of the mesh. Which
 * rule a request hits is http-match.ts, what happens to it then http-filters.ts and http-cors.ts.
 */
import type { RateLimit } from './rate-limit.ts';

export interface HttpRoute {
  readonly kind: 'HTTPRoute' | 'GRPCRoute' | 'VirtualService' | 'TrafficSplit';
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since the epoch; 0 where the object does not say: older than every one that does. */
  readonly createdAt: number;
  readonly parents: readonly HttpParent[];
  /** Namespaces of the clients it is for; left out: of all. */
  readonly clients?: readonly string[];
  readonly rules: readonly HttpRule[];
}

/** A service whose requests the route is about. */
export interface HttpParent {
  /** `namespace/hostname` */
  readonly service: string;
  /** A port of the service; null: all of them. */
  readonly port: number | null;
}

export interface HttpRule {
  /** What its author calls it, for people. */
  readonly name: string | null;
  /** Any of them. Without one nothing hits the rule: none of those it was written with is in force. */
  readonly matches: readonly HttpMatch[];
  /** In the order in which they act. */
  readonly filters: readonly HttpFilter[];
  readonly backends: readonly HttpBackend[];
  readonly timeouts: HttpTimeouts;
  /** Null: only what no endpoint has seen is tried again. */
  readonly retry: HttpRetry | null;
  /** Null: each request is balanced by itself. */
  readonly session: HttpSession | null;
}

/** All of its conditions. */
export interface HttpMatch {
  readonly path: PathMatch;
  readonly method: string | null;
  readonly headers: readonly ValueMatch[];
  readonly query: readonly ValueMatch[];
  /** Namespace of the client, and port of the service that it asks; left out: any. */
  readonly from?: string;
  readonly port?: number;
  /** Uids of workloads, one of which the client is; left out: any. */
  readonly workloads?: readonly string[];
  /**
   * Which of two matches that both fit is in force: the first number that differs, the greater wins. Made by
   * `httpPrecedence` and `grpcPrecedence`; without any the order of the rules decides.
   */
  readonly precedence: readonly number[];
}

export type PathMatch =
  | { readonly type: 'exact'; readonly value: string }
  /** Of whole segments. Without `/` at its end; '' fits every path. */
  | { readonly type: 'prefix'; readonly value: string }
  /** Of text. */
  | { readonly type: 'start'; readonly value: string }
  | { readonly type: 'regex'; readonly value: string };

/**
 * A header (lower-case name; `:method`, `:authority` and `:scheme` besides) or query parameter. A regular expression has to
 * fit the whole value; `present` fits any.
 */
export interface ValueMatch {
  readonly name: string;
  readonly type: 'exact' | 'start' | 'regex' | 'present';
  readonly value: string;
  /** Whether what does not fit is meant, an absent value included. */
  readonly not?: true;
}

export interface HttpBackend {
  /** Key of a service, `namespace/hostname`. */
  readonly service: string;
  /** 0: the one that the client asked. */
  readonly port: number;
  /** Of its endpoints only those of a subset (traffic-policy.ts); null: all. */
  readonly subset: string | null;
  readonly weight: number;
  /** Only for requests that go to this backend; after those of the rule. */
  readonly filters: readonly HttpFilter[];
  /** Why nothing can be sent there, null where it can: its share of the requests is answered with 500. */
  readonly invalid: string | null;
}

export interface HttpTimeouts {
  /** The whole exchange as the client sees it; null: no limit. */
  readonly requestMs: number | null;
  /** One try; null: no limit. */
  readonly backendRequestMs: number | null;
}

export interface HttpRetry {
  /** Tries after the first; 0: none at all. */
  readonly attempts: number;
  readonly on: readonly RetryCondition[];
  /** Statuses that are tried again besides. */
  readonly codes: readonly number[];
  /** Pause before the second try; it doubles with each further one, and is drawn at random below that. */
  readonly backoffMs: number;
  /** Whether another locality than that of the first try may be chosen; null: as balancing has it. */
  readonly remoteLocalities: boolean | null;
}

/** What a try comes to that is worth another: `timeout` is of the try, the others are named as Envoy names them. */
export type RetryCondition =
  | '5xx'
  | 'gateway-error'
  | 'connect-failure'
  | 'refused-stream'
  | 'reset'
  | 'reset-before-request'
  | 'timeout'
  | 'retriable-4xx'
  | 'cancelled'
  | 'deadline-exceeded'
  | 'internal'
  | 'resource-exhausted'
  | 'unavailable';

/** Requests of one session go to the endpoint that answered its first. */
export interface HttpSession {
  readonly type: 'cookie' | 'header';
  /** Of the cookie, or of the header (lower-case). */
  readonly name: string;
  /** Of the cookie. */
  readonly path: string;
  /** How long the client keeps the cookie; null: until it ends its own session. */
  readonly keepMs: number | null;
  /** The session is over after this; null: never by itself. */
  readonly absoluteMs: number | null;
}

export type HttpFilter =
  | { readonly type: 'request-headers'; readonly change: HeaderChange }
  | { readonly type: 'response-headers'; readonly change: HeaderChange }
  | { readonly type: 'redirect'; readonly redirect: HttpRedirect }
  | { readonly type: 'rewrite'; readonly rewrite: HttpRewrite }
  | { readonly type: 'mirror'; readonly backend: HttpBackend; readonly share: number }
  | { readonly type: 'cors'; readonly cors: HttpCors }
  | { readonly type: 'fault'; readonly fault: HttpFault }
  | { readonly type: 'answer'; readonly answer: HttpAnswer }
  | { readonly type: 'rate-limit'; readonly limit: RateLimit };

/** Names are lower-case. `set` replaces every value a header has, `add` adds one to them. */
export interface HeaderChange {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: readonly string[];
}

export interface HttpRedirect {
  readonly scheme: 'http' | 'https' | null;
  readonly hostname: string | null;
  readonly path: PathChange | null;
  readonly port: number | null;
  readonly status: 301 | 302 | 303 | 307 | 308;
}

export interface HttpRewrite {
  readonly hostname: string | null;
  readonly path: PathChange | null;
}

/** `prefix` replaces what the prefix match of the rule has matched, `pattern` what fits an expression (`$1` is its first group). */
export type PathChange =
  | { readonly type: 'full' | 'prefix'; readonly value: string }
  | { readonly type: 'pattern'; readonly pattern: string; readonly value: string };

export interface HttpCors {
  /** `*`, or `scheme://host[:port]` in which the first label may be `*`. */
  readonly allowOrigins: readonly string[];
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  readonly allowCredentials: boolean;
  readonly maxAgeSeconds: number;
}

/** An answer without asking anybody. */
export interface HttpAnswer {
  readonly status: number;
  /** In base64; null: none. */
  readonly body: string | null;
}

/** Failures for tests of those who call; shares are from 0 to 1. */
export interface HttpFault {
  readonly delay: { readonly share: number; readonly ms: number } | null;
  /** `grpcStatus` null: the status of HTTP. */
  readonly abort: {
    readonly share: number;
    readonly status: number;
    readonly grpcStatus: number | null;
  } | null;
}

/** The name a route has in changes: `kind/namespace/name`. */
export function routeKey({ kind, namespace, name }: Pick<HttpRoute, 'kind' | 'namespace' | 'name'>): string {
  return `${kind}/${namespace}/${name}`;
}

/** How a rule is named to people: `HTTPRoute shop/canary rule 2 (beta)`, counted from 1. */
export function ruleName(route: HttpRoute, index: number): string {
  const own = route.rules[index]?.name ?? null;
  return `${route.kind} ${route.namespace}/${route.name} rule ${index + 1}${own === null ? '' : ` (${own})`}`;
}
