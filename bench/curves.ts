/** What the plots show: the measures of the table along an axis, both systems by turns at each place of it. */
import type { AgentProcess } from '../test/lab/agent-process.ts';
import { CulvertError } from '../base/errors.ts';
import { compare } from './compare.ts';
import { type Histogram, histogramOf, percentile, percentiles, pooled } from './distribution.ts';
import { field, http, load } from './measures.ts';
import type { BenchOptions, PathName } from './options.ts';
import { pairs, type Taken, witnessed } from './pairs.ts';
import type { Path } from './paths.ts';
import type { Curve, Point } from './results.ts';
import type { Pair, Stage } from './stage.ts';

export const sweptNames = ['payload', 'connections'] as const;
export type SweptName = (typeof sweptNames)[number];

interface Sweep {
  readonly unit: string;
  readonly at: readonly number[];
  take(stage: Stage, pair: Pair, at: number, seconds: number): Promise<Taken>;
}

const kibi = 1_024;

const sweeps: Readonly<Record<SweptName, Sweep>> = {
  // Bytes of one write.
  payload: {
    unit: 'Gbit/s',
    at: [64, 256, kibi, 4 * kibi, 16 * kibi, 64 * kibi, 256 * kibi, kibi * kibi],
    take: async (stage, pair, at, seconds) => {
      const result = await load(stage, pair, 'stream', seconds, 'up', String(at));
      return { value: field(result, 'gbit_per_second'), connections: 1 };
    },
  },
  connections: {
    unit: '/s',
    at: [1, 10, 100, 1_000],
    take: (stage, pair, at, seconds) => http(stage, pair, seconds, at),
  },
};

/** Besides what is thrown away: a curve of a few points needs less of each. */
const curveRounds = (options: BenchOptions): number => Math.ceil(options.rounds / 2);
const warmUpSeconds = 0.3;
const payloadShare = 0.4;
/** Of many connections some are over before they have passed so much that their legs are joined. */
const mostSeen = 100;

export async function sweep(
  name: SweptName,
  [pathName, path]: readonly [PathName, Path],
  stage: Stage,
  agent: AgentProcess | null,
  options: BenchOptions,
): Promise<Curve> {
  const { at, unit } = sweeps[name];
  const take = (pair: Pair, place: number, length: number): Promise<Taken> =>
    sweeps[name].take(stage, pair, place, length);
  const seconds = name === 'payload' ? options.seconds * payloadShare : options.seconds;
  for (const pair of [path.direct, path.culvert, path.culvert]) await take(pair, 64, warmUpSeconds);
  const { points } = await witnessed(path, agent, async () => {
    const points: Point[] = [];
    let connections = 0;
    for (const place of at) {
      const taken = await pairs(path, curveRounds(options), pair => take(pair, place, seconds));
      connections += Math.min(taken.connections, mostSeen * curveRounds(options));
      points.push({ at: place, ...compare(taken.samples) });
    }
    return { points, connections };
  });
  return { curve: name, path: pathName, unit, points };
}

/** The whole distribution of a round trip of 64 bytes. */
export async function distribution(
  [pathName, path]: readonly [PathName, Path],
  stage: Stage,
  agent: AgentProcess | null,
  options: BenchOptions,
): Promise<Curve> {
  const take = async (pair: Pair, seconds: number): Promise<Taken<Histogram>> => {
    const value = histogramOf(await load(stage, pair, 'rtt', seconds, '64', 'histogram'));
    if (value === null) throw new CulvertError('BENCH_RUN', 'the load program gave no histogram');
    return { value, connections: 1 };
  };
  for (const pair of [path.direct, path.culvert, path.culvert]) await take(pair, warmUpSeconds);
  const { samples } = await witnessed(path, agent, () =>
    pairs(path, curveRounds(options), pair => take(pair, 2 * options.seconds)),
  );
  const direct = pooled(samples.map(sample => sample.direct));
  const culvert = pooled(samples.map(sample => sample.culvert));
  const points = percentiles.map(at => {
    const both = { direct: percentile(direct, at), culvert: percentile(culvert, at) };
    return { at, ...both, ratio: both.culvert / both.direct, spread: null };
  });
  return { curve: 'distribution', path: pathName, unit: 'µs', points };
}
