/**
 * How many requests may come: limits that a waypoint counts itself, and questions to a service that counts for all.
 *
 * Translated from RateLimit by control/build-rate-limits.ts. Plain JSON data. What is counted is rate-buckets.ts.
 */
export interface RateLimit {
  /** For people, and what tells its buckets from those of others: `RateLimit shop/api`. */
  readonly name: string;
  readonly local: readonly LocalLimit[];
  readonly global: GlobalLimit | null;
}

export interface LocalLimit {
  readonly requests: number;
  readonly perMs: number;
  /** How many may come at once after a time without any. */
  readonly burst: number;
  /** Requests that differ in any of these are counted apart; one that lacks any is not counted. */
  readonly by: readonly RateKey[];
  /** How many are counted apart; what is beyond shares one count. */
  readonly maxKeys: number;
}

/** Something of a request. */
export type RateKey =
  | { readonly type: 'header'; readonly name: string }
  | { readonly type: 'identity' | 'namespace' | 'address' | 'method' | 'path' | 'host' }
  | { readonly type: 'constant'; readonly value: string };

/** A server of `envoy.service.ratelimit.v3.RateLimitService`. */
export interface GlobalLimit {
  /** `namespace/hostname` */
  readonly service: string;
  readonly port: number;
  readonly domain: string;
  readonly descriptors: readonly (readonly RateEntry[])[];
  readonly timeoutMs: number;
  /** Whether requests are refused while it can not be asked. */
  readonly failClosed: boolean;
}

export interface RateEntry {
  readonly key: string;
  readonly value: RateKey;
}

/** The limits for everything that goes to a service. */
export interface ServiceLimits {
  /** `namespace/hostname` */
  readonly service: string;
  readonly limits: readonly RateLimit[];
}

/** The key of the limits of a service: its own. */
export function serviceLimitsKey({ service }: ServiceLimits): string {
  return service;
}
