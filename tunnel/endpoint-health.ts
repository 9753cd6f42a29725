/**
 * Endpoints whose dial failed a moment ago, so that the next connection tries another one first.
 *
 * Local to a shard and forgetful by design: health as the cluster sees it is in the mesh state; this only bridges the
 * seconds until that state changes.
 */
interface Penalty {
  until: number;
  failures: number;
}

const maxRemembered = 10_000;

export class EndpointHealth {
  readonly #penalties = new Map<string, Penalty>();
  readonly #baseMs: number;
  readonly #now: () => number;

  constructor(baseMs: number, now: () => number = Date.now) {
    this.#baseMs = baseMs;
    this.#now = now;
  }

  /** @param endpoint workload UID */
  failed(endpoint: string): void {
    const known = this.#penalties.get(endpoint);
    const failures = Math.min((known?.failures ?? 0) + 1, 5);
    if (known === undefined && this.#penalties.size >= maxRemembered) this.#forgetOldest();
    this.#penalties.delete(endpoint);
    this.#penalties.set(endpoint, { until: this.#now() + this.#baseMs * 2 ** (failures - 1), failures });
  }

  succeeded(endpoint: string): void {
    if (this.#penalties.size > 0) this.#penalties.delete(endpoint);
  }

  /** True while the endpoint should be passed over if there is another. */
  has(endpoint: string): boolean {
    if (this.#penalties.size === 0) return false;
    const penalty = this.#penalties.get(endpoint);
    return penalty !== undefined && penalty.until > this.#now();
  }

  #forgetOldest(): void {
    const oldest = this.#penalties.keys().next();
    if (!oldest.done) this.#penalties.delete(oldest.value);
  }
}
