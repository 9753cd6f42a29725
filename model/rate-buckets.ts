/**
 * Token buckets of one local limit, one for each kind of request that is counted apart. They are bounded: those that are
 * full say nothing and are forgotten first, and beyond the bound all others share one, so that many keys never mean more
 * requests.
 */
import type { LocalLimit } from './rate-limit.ts';

export interface RateState {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Until there is room for all of it again; for one that is refused, until there is room for one. */
  readonly waitMs: number;
}

interface Bucket {
  tokens: number;
  /** When the tokens were counted. */
  at: number;
}

const shared = '\0';

export class RateBuckets {
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one, where there is one. */
  take(limit: LocalLimit, key: string): RateState {
    const now = this.#now();
    const bucket = this.#bucket(limit, key, now);
    const perMs = limit.requests / limit.perMs;
    bucket.tokens = Math.min(limit.burst, bucket.tokens + (now - bucket.at) * perMs);
    bucket.at = now;
    const allowed = bucket.tokens >= 1;
    if (allowed) bucket.tokens -= 1;
    const missing = allowed ? limit.burst - bucket.tokens : 1 - bucket.tokens;
    return { allowed, limit: limit.burst, remaining: Math.floor(bucket.tokens), waitMs: missing / perMs };
  }

  #bucket(limit: LocalLimit, key: string, now: number): Bucket {
    const known = this.#buckets.get(key);
    if (known !== undefined) return known;
    if (this.#buckets.size >= limit.maxKeys) this.#sweep(limit, now);
    const place = this.#buckets.size >= limit.maxKeys ? shared : key;
    let bucket = this.#buckets.get(place);
    if (bucket === undefined) this.#buckets.set(place, (bucket = { tokens: limit.burst, at: now }));
    return bucket;
  }

  /** Once in the time that an empty one takes to fill is often enough. */
  #sweep(limit: LocalLimit, now: number): void {
    const fillMs = (limit.burst / limit.requests) * limit.perMs;
    if (now - this.#sweptAt < fillMs) return;
    this.#sweptAt = now;
    for (const [key, { tokens, at }] of this.#buckets)
      if (tokens + ((now - at) * limit.requests) / limit.perMs >= limit.burst) this.#buckets.delete(key);
  }
}
