/**
 * Large things take turns, so that a thousand clients that come at once don't fill the memory with what each is sent.
 *
 * A turn that is held too long no longer counts: those who read slowly must not keep the others waiting.
 */
import type { Clock } from '../tunnel/clock.ts';

export interface TurnsOptions {
  /** Turns at the same time. */
  readonly atOnce: number;
  /** After so long a turn is no longer counted, milliseconds. */
  readonly maxMs: number;
  readonly clock: Clock;
}

export class Turns {
  readonly #options: TurnsOptions;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Returns what ends the turn, or null when the caller has to wait; `again` is called when it should ask again. */
  take(again: () => void): (() => void) | null {
    if (this.#taken >= this.#options.atOnce) {
      this.#waiting.add(again);
      return null;
    }
    this.#waiting.delete(again);
    this.#taken += 1;
    let cancel: () => void = () => {};
    let held = true;
    const end = (): void => {
      if (!held) return;
      held = false;
      cancel();
      this.#taken -= 1;
      this.#next();
    };
    cancel = this.#options.clock.after(this.#options.maxMs, end);
    return end;
  }

  /** Does not wait any more. */
  leave(again: () => void): void {
    this.#waiting.delete(again);
  }

  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    this.#waiting.delete(first);
    first();
    // It may not have wanted its turn after all.
    if (this.#taken < this.#options.atOnce) this.#next();
  }
}
