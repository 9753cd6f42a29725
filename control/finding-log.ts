/**
 * Findings of a cluster in the log: each once, until it is gone and comes back, and never so many that nothing else could
 * be read. All of them are on the administration port.
 */
import type { Logger } from '../base/log.ts';
import { type Finding, formatFinding } from './finding.ts';
import { Rate } from './rate.ts';

const limit = { perSecond: 2, burst: 100 };

export class FindingLog {
  readonly #log: Logger;
  readonly #said = new Map<string, ReadonlySet<string>>();
  readonly #rate = new Rate(limit, performance.now());
  #left = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** This is all that is found about an object now. */
  say(object: string, findings: readonly Finding[]): void {
    const before = this.#said.get(object);
    const now = new Set(findings.map(formatFinding));
    if (now.size === 0) this.#said.delete(object);
    else this.#said.set(object, now);
    for (const finding of findings) {
      if (before?.has(formatFinding(finding)) !== true) this.#write(finding);
    }
  }

  #write({ severity, code, field, object, message }: Finding): void {
    // What is worth knowing is not worth a line for each of thousands of pods.
    const level = severity === 'info' ? 'debug' : severity === 'warning' ? 'warn' : 'error';
    if (level === 'debug') {
      this.#log.debug({ code, field, object }, message);
      return;
    }
    if (this.#rate.isEmpty(performance.now())) {
      this.#left += 1;
      return;
    }
    this.#rate.take(performance.now());
    if (this.#left > 0)
      this.#log.warn({ count: this.#left }, 'findings were left out here: GET /findings has them');
    this.#left = 0;
    this.#log[level]({ code, field, object }, message);
  }
}
