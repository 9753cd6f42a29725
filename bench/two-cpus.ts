/**
 * What a second CPU and a second shard bring: everything on one CPU and one shard in each agent, beside everything on two
 * CPUs and two shards in each; twice the CPUs have twice the load. Clients, servers and both agents share those CPUs, so
 * the same without a mesh says how much there was to gain.
 */
import { CulvertError } from '../base/errors.ts';
import type { AgentProcess } from '../test/lab/agent-process.ts';
import { compare, type Row } from './compare.ts';
import { type Measure, measures } from './measures.ts';
import type { BenchOptions, MeasureName } from './options.ts';
import { pairs, witnessed } from './pairs.ts';
import type { Path } from './paths.ts';
import { processorCount } from './processors.ts';
import { Stage } from './stage.ts';

/** Measures with enough going on at once for two shards. */
const busy: readonly MeasureName[] = ['streams', 'http', 'connects'];

/** Rows of `no-mesh-2-cpus` and `cross-node-2-cpus`; in both `direct` is what one CPU does. */
export async function twoCpus(one: Stage, options: BenchOptions, add: (row: Row) => void): Promise<void> {
  const cpus = withAnother(one.cpus);
  await using two = await Stage.create({ ...options, cpus }, { name: 'bench-two', load: 2 });
  const kernelPath = 'direct';
  await one.agents({ shards: 1, cpus: one.cpus, kernelPath });
  const [agent = null] = await two.agents({ shards: 2, cpus, kernelPath });
  const ways = { agents: null, carriage: 'tunnel', measures: busy } as const;
  const plain: Path = { ...ways, direct: one.plain.far, culvert: two.plain.far };
  const meshed: Path = { ...ways, direct: one.meshed.far, culvert: two.meshed.far };
  for (const measure of measures) {
    if (!busy.includes(measure.name) || !options.measures.includes(measure.name)) continue;
    add(await gain('no-mesh-2-cpus', plain, measure, [one, two], null, options));
    add(await gain('cross-node-2-cpus', meshed, measure, [one, two], agent, options));
  }
}

/** Throws BENCH_OPTION where there is none, or where one is not what is asked for. */
function withAnother(cpu: string): string {
  const first = Number(cpu);
  if (Number.isInteger(first) && processorCount > 1) return `${first},${(first + 1) % processorCount}`;
  throw new CulvertError('BENCH_OPTION', `CPU=${cpu}: two CPUs are compared with one`, {
    fix: 'leave CPU out, on a machine with two',
  });
}

/** The first pair warms everything up and does not count. */
async function gain(
  name: string,
  path: Path,
  measure: Measure,
  [one, two]: readonly [Stage, Stage],
  agent: AgentProcess | null,
  { rounds, seconds }: BenchOptions,
): Promise<Row> {
  const run = (times: number) =>
    pairs(path, times, pair => measure.take(pair === path.direct ? one : two, pair, seconds));
  await run(1);
  const { samples } = await witnessed(path, agent, () => run(rounds));
  return { path: name, measure: `${measure.title}, per CPU`, unit: measure.unit, ...compare(samples) };
}
