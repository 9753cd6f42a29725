/**
 * Gathers what comes in quick succession into one call: after a short silence, and after a longer while however little
 * silence there is, so that constant change delays nobody.
 */
import type { Clock } from '../tunnel/clock.ts';

export interface DebounceOptions {
  /** Silence that ends a burst, milliseconds. */
  readonly quietMs: number;
  /** The longest anything waits. */
  readonly maxMs: number;
  readonly clock: Clock;
}

export class Debounce {
  readonly #options: DebounceOptions;
  readonly #call: () => void;
  /** When the first of those that wait came; null while nothing waits. */
  #since: number | null = null;
  #latest = 0;
  #cancel: () => void = () => {};

  constructor(options: DebounceOptions, call: () => void) {
    this.#options = options;
    this.#call = call;
  }

  /** Something came. */
  add(): void {
    const { clock, quietMs } = this.#options;
    this.#latest = clock.now();
    if (this.#since !== null) return;
    this.#since = this.#latest;
    this.#cancel = clock.after(quietMs, () => this.#look());
  }

  close(): void {
    this.#cancel();
    this.#since = null;
  }

  /** One timer for a burst: it asks how long it has been quiet, instead of being set anew by each that comes. */
  #look(): void {
    const { clock, quietMs, maxMs } = this.#options;
    if (this.#since === null) return;
    const now = clock.now();
    const due = Math.min(this.#latest + quietMs, this.#since + maxMs);
    // A clock that was set back must not make anybody wait.
    if (due > now && due - now <= maxMs) {
      this.#cancel = clock.after(due - now, () => this.#look());
      return;
    }
    this.#since = null;
    this.#call();
  }
}
