/**
 * How many requests there may be: what this waypoint counts itself, and what is to be asked of a service that counts for
 * all. Which limits are about a request is for its route (filters.ts) and its service.
 */
import { headerOf, hostOf, type HttpHead } from '../model/http-head.ts';
import type { GlobalLimit, LocalLimit, RateKey, RateLimit, ServiceLimits } from '../model/rate-limit.ts';
import { RateBuckets, type RateState } from '../model/rate-buckets.ts';
import type { Client } from './context.ts';

/** A question to a service that counts. */
export interface RateAsk {
  readonly limit: GlobalLimit;
  readonly descriptors: readonly (readonly RateEntryValue[])[];
}

export interface RateEntryValue {
  readonly key: string;
  readonly value: string;
}

export interface RateVerdict {
  /** Of all that count the request, the one that is nearest to its limit; null where none does. */
  readonly state: RateState | null;
  readonly asks: readonly RateAsk[];
}

/** A request as far as it is counted. */
export interface Counted {
  readonly client: Client;
  readonly head: HttpHead;
}

export class RateLimits {
  readonly #now: () => number;
  readonly #services = new Map<string, readonly RateLimit[]>();
  /** By limit and its position. */
  readonly #buckets = new Map<string, Held>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Replaces the limits of services; what was counted stays. */
  replace(all: readonly ServiceLimits[]): void {
    this.#services.clear();
    for (const { service, limits } of all) this.#services.set(service, limits);
    // What nobody has asked for since they would all be full again is of limits that are no more, or says nothing.
    const now = this.#now();
    for (const [key, { fullAt }] of this.#buckets) if (fullAt < now) this.#buckets.delete(key);
  }

  /** @param service `namespace/hostname` */
  for(service: string): readonly RateLimit[] {
    return this.#services.get(service) ?? none;
  }

  /** Takes a request in. One that is refused by one limit is not counted by those behind it. */
  take(limits: readonly RateLimit[], request: Counted): RateVerdict {
    let state: RateState | null = null;
    const asks: RateAsk[] = [];
    for (const { name, local, global } of limits) {
      for (const [index, limit] of local.entries()) {
        const values = limit.by.map(key => valueOf(key, request));
        if (values.includes(null)) continue;
        const next = this.#take(`${name} ${index}`, limit, values.join('\0'));
        if (state === null || !next.allowed || next.remaining < state.remaining) state = next;
        if (!next.allowed) return { state, asks: [] };
      }
      const ask = global === null ? null : askOf(global, request);
      if (ask !== null) asks.push(ask);
    }
    return { state, asks };
  }

  #take(place: string, limit: LocalLimit, key: string): RateState {
    let held = this.#buckets.get(place);
    if (held === undefined)
      this.#buckets.set(place, (held = { buckets: new RateBuckets(this.#now), fullAt: 0 }));
    held.fullAt = this.#now() + (limit.burst / limit.requests) * limit.perMs;
    return held.buckets.take(limit, key);
  }
}

interface Held {
  readonly buckets: RateBuckets;
  /** When every bucket is full again if no request comes. */
  fullAt: number;
}

const none: readonly RateLimit[] = [];

/** Null where the request has nothing that it is asked about. */
function askOf(limit: GlobalLimit, request: Counted): RateAsk | null {
  const descriptors = limit.descriptors.flatMap(entries => {
    const values = entries.map(({ key, value }) => ({ key, value: valueOf(value, request) }));
    const whole = values.filter((entry): entry is RateEntryValue => entry.value !== null);
    return whole.length === values.length ? [whole] : [];
  });
  return descriptors.length === 0 ? null : { limit, descriptors };
}

/** Null where the request does not have it. */
function valueOf(key: RateKey, { client, head }: Counted): string | null {
  switch (key.type) {
    case 'header':
      return headerOf(head.headers, key.name);
    case 'constant':
      return key.value;
    case 'identity':
      return client.identity;
    case 'namespace':
      return client.namespace;
    case 'address':
      return client.address;
    case 'method':
      return head.method;
    case 'path':
      return head.path;
    case 'host':
      return hostOf(head.authority).toLowerCase();
  }
  return null;
}

/** What clients are told: of a limit, its rest, and in how many seconds there is all of it again. */
export function rateHeaders({ limit, remaining, waitMs, allowed }: RateState): [string, string][] {
  const seconds = String(Math.ceil(waitMs / 1000));
  return [
    ['x-ratelimit-limit', String(limit)],
    ['x-ratelimit-remaining', String(remaining)],
    ['x-ratelimit-reset', seconds],
    ...(allowed ? [] : ([['retry-after', seconds]] as [string, string][])),
  ];
}
