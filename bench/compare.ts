/**
 * From paired runs to one ratio and how much it scatters. Pure.
 *
 * Two systems are measured in turns, and each run is divided by its neighbour: what slows the machine down for a minute
 * slows both, and the median of the ratios hardly notices.
 */

/** Both systems, measured right after one another. */
export interface Sample {
  readonly direct: number;
  readonly culvert: number;
}

export interface Comparison {
  /** Medians of the runs. */
  readonly direct: number;
  readonly culvert: number;
  /** Median of culvert ÷ direct, pair by pair. */
  readonly ratio: number;
  /** Distance between the quartiles of the ratios, divided by their median: 0.02 means that half of them lie within 2 %. */
  readonly spread: number;
}

/** One line of the results. `direct`, `ratio` and `spread` are null where there is nothing to compare with. */
export interface Row {
  readonly path: string;
  readonly measure: string;
  readonly unit: string;
  readonly direct: number | null;
  readonly culvert: number;
  readonly ratio: number | null;
  readonly spread: number | null;
}

export function compare(samples: readonly Sample[]): Comparison {
  const ratios = samples.map(sample => sample.culvert / sample.direct);
  const ratio = quantile(ratios, 0.5);
  return {
    direct: quantile(
      samples.map(sample => sample.direct),
      0.5,
    ),
    culvert: quantile(
      samples.map(sample => sample.culvert),
      0.5,
    ),
    ratio,
    spread: (quantile(ratios, 0.75) - quantile(ratios, 0.25)) / ratio,
  };
}

/** Linear between the two nearest values; `part` from 0 to 1. NaN of nothing. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  const at = (sorted.length - 1) * part;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** Whether the direct run goes first in this round: A B, B A, A B… so that neither always profits from its place. */
export function directFirst(round: number): boolean {
  return round % 2 === 0;
}
