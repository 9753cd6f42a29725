/** From a value to a place on an axis, and where an axis says what it is about. Pure. */

export interface Tick {
  readonly at: number;
  readonly label: string;
}

export interface Axis {
  readonly title: string;
  readonly ticks: readonly Tick[];
  /** The part of the whole axis, 0 to 1, that a value lies at. */
  readonly part: (value: number) => number;
}

export function linearAxis(
  title: string,
  [from, to]: readonly [number, number],
  ticks: readonly Tick[],
): Axis {
  return { title, ticks, part: value => (value - from) / (to - from) };
}

export function logarithmicAxis(
  title: string,
  [from, to]: readonly [number, number],
  ticks: readonly Tick[],
): Axis {
  return { title, ticks, part: value => Math.log(value / from) / Math.log(to / from) };
}

/** As far from 100 % as nines go: each takes as much room as the one before. */
export function ninesAxis(title: string, most: number, ticks: readonly Tick[]): Axis {
  const nines = (percent: number): number => -Math.log10(1 - percent / 100);
  return { title, ticks, part: value => nines(value) / nines(most) };
}

/** Around all values, from and to a number that begins with one of `steps`; what is not above zero has no logarithm. */
export function logarithmicDomain(
  values: readonly number[],
  steps: readonly number[] = [1, 2, 5],
): [number, number] {
  const positive = values.filter(value => value > 0);
  const least = Math.min(...positive);
  const most = Math.max(...positive);
  const decade = (value: number): number => 10 ** Math.floor(Math.log10(value));
  const around = [...steps, 10 * (steps[0] ?? 1)];
  const from = steps.map(step => step * decade(least)).findLast(step => step <= least) ?? decade(least);
  const to = around.map(step => step * decade(most)).find(step => step >= most) ?? 10 * decade(most);
  return [from, to];
}

/** The numbers within it that begin with one of `steps`. */
export function logarithmicTicks(
  [from, to]: readonly [number, number],
  label: (value: number) => string,
  steps: readonly number[] = [1],
): Tick[] {
  const ticks: Tick[] = [];
  for (let exponent = Math.floor(Math.log10(from)); 10 ** exponent <= to * 1.000_1; exponent += 1)
    for (const step of steps) {
      const at = Number((step * 10 ** exponent).toPrecision(6));
      if (at >= from * 0.999_9 && at <= to * 1.000_1) ticks.push({ at, label: label(at) });
    }
  return ticks;
}

/** Zero and a handful of round numbers up to at least the largest value. */
export function linearTicks(most: number, label: (value: number) => string, about = 5): Tick[] {
  const raw = most / about;
  const decade = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(factor => factor * decade).find(size => size >= raw) ?? raw;
  const count = Math.ceil(most / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, n) => n * step).map(at => ({ at, label: label(at) }));
}
