/**
 * How long round trips take, from the fastest to the slowest in a thousand: histograms of runs put together. Pure.
 *
 * Runs are pooled before anything is read off: the median of the slowest of each run is not the slowest of all.
 */

/** Counts by bucket; bucket n has what took from growth to the power n to growth to the power n + 1 microseconds. */
export interface Histogram {
  readonly growth: number;
  readonly counts: ReadonlyMap<number, number>;
}

/** Percentiles that a plot shows: eight steps from one nine to the next, up to 99.9. */
export const percentiles: readonly number[] = Array.from({ length: 25 }, (_, step) =>
  Number((100 * (1 - 10 ** (-step / 8))).toFixed(3)),
);

/** Reads what the load program says. Null when that is no histogram. */
export function histogramOf(result: unknown): Histogram | null {
  if (typeof result !== 'object' || result === null) return null;
  const { growth, histogram } = result as Record<string, unknown>;
  if (typeof growth !== 'number' || !Array.isArray(histogram)) return null;
  const counts = new Map<number, number>();
  for (const pair of histogram as unknown[]) {
    const [bucket, count] = Array.isArray(pair) ? (pair as unknown[]) : [];
    if (typeof bucket !== 'number' || typeof count !== 'number') return null;
    counts.set(bucket, count);
  }
  return { growth, counts };
}

export function pooled(histograms: readonly Histogram[]): Histogram {
  const counts = new Map<number, number>();
  for (const histogram of histograms)
    for (const [bucket, count] of histogram.counts) counts.set(bucket, (counts.get(bucket) ?? 0) + count);
  return { growth: histograms[0]?.growth ?? Number.NaN, counts };
}

/** Microseconds that so many per cent of all take at most, to the middle of a bucket; NaN of nothing. */
export function percentile({ growth, counts }: Histogram, percent: number): number {
  const buckets = [...counts].toSorted(([left], [right]) => left - right);
  const all = buckets.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [bucket, count] of buckets) {
    seen += count;
    if (seen > (all * percent) / 100) return growth ** (bucket + 0.5);
  }
  const last = buckets.at(-1)?.[0];
  return last === undefined ? Number.NaN : growth ** (last + 0.5);
}
