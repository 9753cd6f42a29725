/**
 * How long new pods have waited for the agent: from the CNI plugin's connection to the answer, by what came of it. It is
 * what enrolment adds to the start of a pod.
 */
import type { Sample } from '../../base/metrics-family.ts';

/** `enrolled`; `passed` for pods that the mesh has nothing to do with, or that start without it; what the runtime gave up on. */
const cniOutcomes = ['enrolled', 'passed', 'refused', 'abandoned'] as const;
export type CniOutcome = (typeof cniOutcomes)[number];

/** Seconds; close together around 50 ms, which it may be. */
const bounds: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30,
];

interface Times {
  count: number;
  seconds: number;
  /** By bound, each with all that were faster. */
  readonly within: number[];
}

export class CniTimes {
  readonly #times = new Map<CniOutcome, Times>(
    cniOutcomes.map(outcome => [outcome, { count: 0, seconds: 0, within: bounds.map(() => 0) }]),
  );

  observe(outcome: CniOutcome, seconds: number): void {
    const times = this.#times.get(outcome);
    if (times === undefined) return;
    times.count += 1;
    times.seconds += seconds;
    for (const [at, bound] of bounds.entries())
      if (seconds <= bound) times.within[at] = (times.within[at] ?? 0) + 1;
  }

  /** For `status`: how many, and how long all of them together. */
  toJSON(): Record<string, { readonly count: number; readonly seconds: number }> {
    return Object.fromEntries(
      Array.from(this.#times, ([outcome, { count, seconds }]) => [outcome, { count, seconds }]),
    );
  }

  /** As a histogram of this name. */
  samples(name: string): Sample[] {
    return [...this.#times].flatMap(([outcome, { count, seconds, within }]) => {
      const labels = { outcome };
      const bucket = (le: string, value: number): Sample => ({
        labels,
        name: `${name}_bucket`,
        extra: { le },
        value,
      });
      return [
        ...bounds.map((bound, at) => bucket(String(bound), within[at] ?? 0)),
        bucket('+Inf', count),
        { labels, name: `${name}_sum`, value: seconds },
        { labels, name: `${name}_count`, value: count },
      ];
    });
  }
}
