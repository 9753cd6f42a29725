/** A clock whose hours pass when a test says so. */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../tunnel/clock.ts';

interface Timer {
  at: number;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  #now: number;
  readonly #timers = new Set<Timer>();

  constructor(now = Date.now()) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** As if somebody set the clock: time is another, and no timer notices. */
  set(now: number): void {
    const shift = now - this.#now;
    this.#now = now;
    for (const timer of this.#timers) timer.at += shift;
  }

  /** Runs the timers of the next `ms` in their order, and what follows from each before the next. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await setImmediate();
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > until) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await setImmediate();
    }
    this.#now = until;
  }
}
