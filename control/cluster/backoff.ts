/** How long to wait before the next attempt: doubling with jitter, so that many who failed together don't return together. */

export interface BackoffOptions {
  /** The first wait is between half of this and all of it. */
  readonly minMs: number;
  readonly maxMs: number;
  /** From 0 to below 1; a test brings its own. */
  readonly random?: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds until the next attempt. */
  next(): number {
    const { minMs, maxMs, random = Math.random } = this.#options;
    const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    return ceiling * (0.5 + random() / 2);
  }

  /** It worked. */
  reset(): void {
    this.#failures = 0;
  }
}
