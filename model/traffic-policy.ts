/**
 * What a waypoint does towards the endpoints of one service: how it chooses among them, how much it asks of them at a
 * time, whom it leaves out, and how often it tries again.
 *
 * Translated from DestinationRule by control/build-traffic.ts. Plain JSON data, like the rest of what waypoints follow.
 * Which rule is in force for a client is traffic-rules.ts; what is done about it is waypoint/upstream.ts.
 */
import type { EndpointTls } from './endpoint-tls.ts';
import type { Service } from './service.ts';

export interface ServiceTraffic {
  /** `namespace/hostname` */
  readonly service: string;
  /** In their order: the first that is for a client's namespace is in force for it. */
  readonly rules: readonly TrafficRule[];
}

export interface TrafficRule {
  /** For people: `DestinationRule shop/web`. */
  readonly name: string;
  /** Namespaces of the clients it is for; null: of all. */
  readonly clients: readonly string[] | null;
  readonly settings: TrafficSettings;
  readonly subsets: readonly TrafficSubset[];
}

/** A policy for a service, and others in its place for single ports. */
export interface TrafficSettings {
  readonly policy: TrafficPolicy;
  readonly ports: readonly { readonly port: number; readonly policy: TrafficPolicy }[];
}

/** Some of the endpoints of a service, which routes name. */
export interface TrafficSubset {
  readonly name: string;
  /** Uids of the workloads that carry its labels. */
  readonly endpoints: readonly string[];
  readonly settings: TrafficSettings;
}

export interface TrafficPolicy {
  readonly balancing: Balancing;
  /** Null: as the service says (`trafficDistribution`). */
  readonly locality: LocalityRule | null;
  /** Null: new endpoints get their whole share at once. */
  readonly warmup: Warmup | null;
  readonly limits: TrafficLimits;
  /** Null: none is left out for what it answers. */
  readonly outliers: OutlierRule | null;
  readonly retryBudget: RetryBudget | null;
  /** Whether endpoints that no tunnel leads to are left out. */
  readonly tunnelOnly: boolean;
  /** TLS to the endpoints, in the tunnel where one leads there; left out: none. */
  readonly tls?: EndpointTls;
  /** Why nothing can be sent as it is asked for, null where it can: everything is answered with 503. */
  readonly refusal: string | null;
}

export type Balancing =
  | { readonly type: 'least-request' | 'round-robin' | 'random' }
  | { readonly type: 'hash'; readonly key: HashKey; readonly table: HashTable };

/** What of a request is always led to the same endpoint. */
export type HashKey =
  | { readonly type: 'header' | 'query'; readonly name: string }
  | { readonly type: 'source' }
  | HashCookie;

export interface HashCookie {
  readonly type: 'cookie';
  readonly name: string;
  readonly path: string;
  /** A cookie is made where there is none: for so long, 0 for a session; null: none is made. */
  readonly ttlMs: number | null;
  /** Further ones of a cookie that is made, as `name` or `name=value`. */
  readonly attributes: readonly string[];
}

export type HashTable =
  | { readonly type: 'ring'; readonly minimumSize: number }
  /** The size is a prime. */
  | { readonly type: 'maglev'; readonly size: number };

export type LocalityRule =
  /** Endpoints near the waypoint first; of regions that are not its own those in `to` of its own come first. */
  | { readonly type: 'failover'; readonly regions: readonly { readonly from: string; readonly to: string }[] }
  /** The more of these places, in order, an endpoint shares, the sooner. A place with a value is one that it has to be. */
  | { readonly type: 'priority'; readonly places: readonly LocalityPlace[] }
  /** Shares by locality (`region/zone/subzone`, `*` at the end). */
  | { readonly type: 'distribute'; readonly shares: readonly LocalityShare[] }
  /** No endpoint is nearer than another. */
  | { readonly type: 'none' };

export interface LocalityPlace {
  readonly place: 'region' | 'zone' | 'subzone' | 'node' | 'network' | 'cluster';
  readonly value: string | null;
}

export interface LocalityShare {
  readonly from: string;
  readonly to: readonly { readonly locality: string; readonly weight: number }[];
}

/** How the share of a new endpoint grows. */
export interface Warmup {
  readonly durationMs: number;
  /** Of its whole share, at the beginning. */
  readonly minimumPercent: number;
  /** 1: evenly; above: more in the beginning. */
  readonly aggression: number;
}

/** Null: no limit, or what the waypoint does without a policy. */
export interface TrafficLimits {
  /** Connections to all endpoints together. */
  readonly connections: number | null;
  /** HTTP/1.1 requests that wait for a connection. */
  readonly pending: number | null;
  /** Requests at a time. */
  readonly requests: number | null;
  /** Tries after the first at a time. */
  readonly retries: number | null;
  readonly requestsPerConnection: number | null;
  readonly streamsPerConnection: number | null;
  readonly connectMs: number | null;
  /** A connection that carries no request is closed after this. */
  readonly idleMs: number | null;
  /** A carried connection (TCP, WebSocket) on which nothing moves is closed after this. */
  readonly tcpIdleMs: number | null;
  readonly connectionAgeMs: number | null;
  readonly keepAliveMs: number | null;
  readonly ping: { readonly intervalMs: number; readonly timeoutMs: number } | null;
  /** `upgrade`: HTTP/2 whatever the client speaks; `same`: what it speaks; `port`: what the port is said to speak. */
  readonly version: 'port' | 'upgrade' | 'same';
}

export interface OutlierRule {
  /** Answers in a row that count as errors; 0: they don't count. */
  readonly serverErrors: number;
  /** 502, 503, 504 in a row; 0: they don't count. */
  readonly gatewayErrors: number;
  /** Failures without an answer in a row; null: they count as answers do. */
  readonly localErrors: number | null;
  /** Statuses that count as errors, first and last. */
  readonly statuses: readonly (readonly [number, number])[];
  /** An endpoint that was good for so long is left out for less the next time. */
  readonly intervalMs: number;
  /** So long is it left out, times how often it was. */
  readonly ejectionMs: number;
  readonly maxEjectionPercent: number;
  /** Fewer than so many that are not left out: none is. */
  readonly minHealthPercent: number;
}

export interface RetryBudget {
  /** Of the requests that are under way. */
  readonly percent: number;
  /** So many are always possible. */
  readonly minimum: number;
}

export const noLimits: TrafficLimits = {
  connections: null,
  pending: null,
  requests: null,
  retries: null,
  requestsPerConnection: null,
  streamsPerConnection: null,
  connectMs: null,
  idleMs: null,
  tcpIdleMs: null,
  connectionAgeMs: null,
  keepAliveMs: null,
  ping: null,
  version: 'port',
};

/** What is done where nobody says anything. */
export const defaultTraffic: TrafficPolicy = {
  balancing: { type: 'least-request' },
  locality: null,
  warmup: null,
  limits: noLimits,
  outliers: null,
  retryBudget: null,
  tunnelOnly: false,
  refusal: null,
};

/** What is done for a service that nobody says anything about: `sessionAffinity: ClientIP` is a matter of its own. */
export function trafficWithoutRule({ sessionAffinityMs }: Pick<Service, 'sessionAffinityMs'>): TrafficPolicy {
  return sessionAffinityMs === null ? defaultTraffic : byClient;
}

const byClient: TrafficPolicy = {
  ...defaultTraffic,
  balancing: { type: 'hash', key: { type: 'source' }, table: { type: 'ring', minimumSize: 1_024 } },
};

/** The key of the traffic of a service: its own. */
export function trafficKey({ service }: ServiceTraffic): string {
  return service;
}

/** The settings for one port. */
export function policyFor({ policy, ports }: TrafficSettings, port: number): TrafficPolicy {
  return ports.find(own => own.port === port)?.policy ?? policy;
}

/** Whether endpoints are to be reached by TLS anywhere. */
export function asksForTls({ rules }: ServiceTraffic): boolean {
  return rules.some(({ settings, subsets }) =>
    [settings, ...subsets.map(subset => subset.settings)].some(({ policy, ports }) =>
      [policy, ...ports.map(port => port.policy)].some(({ tls }) => tls !== undefined),
    ),
  );
}
