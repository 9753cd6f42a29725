/**
 * How far each ratio has moved since the last release, and whether that is more than noise. Pure.
 *
 * Ratios are compared, not what they are made of: the machine may be another one, or have had a bad day.
 */
import type { Row } from './compare.ts';
import type { Origin, Results } from './results.ts';

export type Verdict = 'better' | 'worse' | 'same';

export interface Movement {
  /** 0.03: 3 % more than it was. */
  readonly change: number;
  /** As much is noise: both spreads, and what runs of one version differ by anyhow. */
  readonly noise: number;
  readonly verdict: Verdict;
  /** What is compared, then and now. */
  readonly before: number;
  readonly now: number;
}

/** Runs differ by so much that have the same to do. */
const leastNoise = 0.05;
/** Where there is nothing to divide by, and one sample. */
const leastNoiseOfOne = 0.1;

/** Null for what the release didn't measure. */
export function movement(row: Row, released: readonly Row[]): Movement | null {
  const same = released.find(({ path, measure }) => path === row.path && measure === row.measure);
  if (same === undefined) return null;
  const hasRatio = row.ratio !== null && same.ratio !== null;
  const [before, now] = hasRatio ? [same.ratio ?? 0, row.ratio ?? 0] : [same.culvert, row.culvert];
  const least = hasRatio ? leastNoise : leastNoiseOfOne;
  const noise = Math.max(least, (row.spread ?? 0) + (same.spread ?? 0));
  const change = now / before - 1;
  return { change, noise, verdict: verdictOf(change, noise, lessIsBetter(row.unit)), before, now };
}

function verdictOf(change: number, noise: number, less: boolean): Verdict {
  if (!(Math.abs(change) > noise)) return 'same';
  return change < 0 === less ? 'better' : 'worse';
}

/** Times and memory are better when there is less of them, rates when there is more. */
export function lessIsBetter(unit: string): boolean {
  return !unit.includes('/');
}

/** Why figures of these two runs can't be held against each other; null when they can. */
export function incomparable(now: Origin, released: Origin): string | null {
  if (now.sharedCpus !== released.sharedCpus)
    return `everything shared ${cpuCount(released.sharedCpus)} then and ${cpuCount(now.sharedCpus)} now`;
  if (now.ipv6 !== released.ipv6)
    return `it was measured over IPv${released.ipv6 ? 6 : 4} then and over IPv${now.ipv6 ? 6 : 4} now`;
  return null;
}

/** What else differs, for whoever wonders about a movement. */
export function differences(now: Origin, released: Origin): string[] {
  const facts: readonly (keyof Origin)[] = ['processor', 'processors', 'kernel', 'node'];
  return facts
    .filter(fact => now[fact] !== released[fact])
    .map(fact => `${fact}: ${released[fact]} then, ${now[fact]} now`);
}

/** The rows that are worse than they were, most first. */
export function worsened(
  now: Pick<Results, 'rows'>,
  released: Pick<Results, 'rows'>,
): readonly { readonly row: Row; readonly moved: Movement }[] {
  return now.rows
    .flatMap(row => {
      const moved = movement(row, released.rows);
      return moved?.verdict === 'worse' ? [{ row, moved }] : [];
    })
    .toSorted((left, right) => Math.abs(right.moved.change) - Math.abs(left.moved.change));
}

function cpuCount(count: number): string {
  return count === 1 ? 'one CPU' : `${count} CPUs`;
}
