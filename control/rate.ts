/**
 * How much of something somebody may do: so much at once, and so much a second after that.
 */
export interface RateLimit {
  readonly perSecond: number;
  /** What may come at once after a silence. */
  readonly burst: number;
}

export class Rate {
  readonly #limit: RateLimit;
  #left: number;
  #asOf: number;

  constructor(limit: RateLimit, now: number) {
    this.#limit = limit;
    this.#left = limit.burst;
    this.#asOf = now;
  }

  /** Takes one; returns how many milliseconds too early that was, 0 when it was not. */
  take(now: number): number {
    this.#refill(now);
    this.#left -= 1;
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left / this.#limit.perSecond) * 1_000);
  }

  /** Whether one more would be too early. */
  isEmpty(now: number): boolean {
    this.#refill(now);
    return this.#left < 1;
  }

  #refill(now: number): void {
    const elapsed = Math.max(now - this.#asOf, 0);
    this.#left = Math.min(this.#left + (elapsed / 1_000) * this.#limit.perSecond, this.#limit.burst);
    this.#asOf = now;
  }
}
