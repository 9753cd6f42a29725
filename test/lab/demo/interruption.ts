/**
 * Ctrl-C, SIGTERM and a closed terminal: the play stops, and what it has made is taken down before the process ends.
 */
import { constants } from 'node:os';
import { CulvertError } from '../../../base/errors.ts';
import type { Report } from './report.ts';

export class Interruption {
  /** Aborted by the first of the signals; more of them change nothing. */
  readonly signal: AbortSignal;
  #by: 'SIGINT' | 'SIGTERM' | 'SIGHUP' | null = null;

  constructor(report: Report) {
    const controller = new AbortController();
    this.signal = controller.signal;
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(name, () => {
        if (this.#by !== null) return;
        this.#by = name;
        report.line(`\n${name}: taking everything down`);
        controller.abort();
      });
    }
  }

  get happened(): boolean {
    return this.#by !== null;
  }

  /** As a shell would tell it; null when nothing has happened. */
  get exitCode(): number | null {
    return this.#by === null ? null : 128 + constants.signals[this.#by];
  }

  /** The result of `work`, or DEMO_INTERRUPTED as soon as there is an interruption. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const interrupted = new Promise<never>((_, reject) => {
      this.signal.addEventListener('abort', () => reject(this.#error()), { once: true });
    });
    if (this.signal.aborted) throw this.#error();
    return Promise.race([work(), interrupted]);
  }

  #error(): CulvertError {
    return new CulvertError('DEMO_INTERRUPTED', `interrupted by ${this.#by}`);
  }
}
