/**
 * `make bench`: what the mesh costs, as ratios to no mesh in the same minute on the same machine.
 *
 * BENCH_HELP=1 lists what can be set. A quick look: PATHS=cross-node ROUNDS=2 SECONDS=0.3 MEASURES=rtt,http
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { describeError } from '../base/errors.ts';
import type { AgentProcess } from '../test/lab/agent-process.ts';
import { command } from '../test/lab/commands.ts';
import { compare, directFirst, type Row, type Sample } from './compare.ts';
import { type Measure, measures } from './measures.ts';
import { idleAgent, idleConnections, soak } from './memory.ts';
import { type BenchOptions, type MeasureName, optionsFrom, type PathName, variables } from './options.ts';
import { type AgentSetting, type Pair, Stage } from './stage.ts';
import { figures, table } from './table.ts';
import { type Carriage, type Count, countOf, witness } from './witness.ts';

/** One way through the mesh, and the same way without. */
interface Path {
  readonly direct: Pair;
  readonly culvert: Pair;
  /** Null: no agent is part of it. */
  readonly agents: AgentSetting | null;
  readonly carriage: Carriage;
  /** Whether a waypoint stands between. */
  readonly waypoint?: boolean;
  /** What is worth measuring on it. */
  readonly measures: readonly MeasureName[];
}

const warmUpSeconds = 0.3;

const compared: readonly MeasureName[] = ['rtt', 'stream', 'connect', 'http', 'connects'];

function pathsOf(stage: Stage): Readonly<Record<PathName, Path>> {
  const { meshed, plain } = stage;
  const pinned = { shards: 1, cpus: stage.cpus, kernelPath: 'direct' as const };
  // More than one shard can only show on more than one CPU; clients and servers stay where they are.
  const everywhere = `0-${availableParallelism() - 1}`;
  const far = { direct: plain.far, culvert: meshed.far, carriage: 'tunnel' as const };
  const concurrent: readonly MeasureName[] = ['http', 'connects'];
  return {
    'no-mesh': { ...far, culvert: plain.far, agents: null, measures: compared },
    'same-node': {
      direct: plain.near,
      culvert: meshed.near,
      agents: pinned,
      carriage: 'kernel',
      measures: compared,
    },
    'same-node-service': {
      direct: plain.near,
      culvert: { ...meshed.near, service: 'near' },
      agents: pinned,
      carriage: 'kernel',
      measures: ['connect', 'connects'],
    },
    'same-node-join': {
      direct: { ...plain.near, waits: false },
      culvert: { ...meshed.near, waits: false },
      agents: { ...pinned, kernelPath: 'join' },
      carriage: 'kernel',
      measures: compared,
    },
    'same-node-agent': {
      direct: plain.near,
      culvert: meshed.near,
      agents: { ...pinned, kernelPath: 'off' },
      carriage: 'short circuit',
      measures: [...compared, 'memory', 'soak'],
    },
    'cross-node': { ...far, agents: pinned, measures: [...compared, 'memory', 'soak'] },
    'cross-node-join': {
      ...far,
      direct: { ...plain.far, waits: false },
      culvert: { ...meshed.far, waits: false },
      agents: { ...pinned, kernelPath: 'join' },
      carriage: 'tunnel, joined legs',
      // What moves much at a time, or little, has no joined legs.
      measures: ['rtt', 'http'],
    },
    waypoint: {
      ...far,
      culvert: { ...meshed.far, service: 'routed' },
      agents: pinned,
      waypoint: true,
      measures: ['http', 'paced'],
    },
    'cross-node-bridge': {
      ...far,
      direct: plain.bridged,
      culvert: meshed.bridged,
      agents: pinned,
      measures: compared,
    },
    'cross-node-1-shard': { ...far, agents: { ...pinned, cpus: everywhere }, measures: concurrent },
    'cross-node-2-shards': {
      ...far,
      agents: { ...pinned, shards: 2, cpus: everywhere },
      measures: concurrent,
    },
  };
}

async function runPath(name: PathName, path: Path, stage: Stage, options: BenchOptions): Promise<Row[]> {
  const wanted = (measure: MeasureName): boolean =>
    options.measures.includes(measure) && path.measures.includes(measure);
  // What an agent holds that has done nothing is only told by one that has done nothing.
  if (wanted('memory')) await stage.stopAgents();
  const agents = path.agents === null ? [] : await stage.agents(path.agents);
  if (path.waypoint === true) await stage.waypoint();
  const rows: Row[] = [];
  const add = (row: Row): void => {
    rows.push(row);
    process.stderr.write(`${name}: ${row.measure}: ${figures(row.culvert)} ${row.unit}\n`);
  };
  if (wanted('memory')) {
    add(await idleAgent(name, agents));
    add(await idleConnections(name, stage, path.culvert, agents, options.idleConnections));
  }
  for (const measure of measures) {
    if (wanted(measure.name)) add(await runMeasure(name, path, measure, stage, agents[0] ?? null, options));
  }
  if (wanted('soak')) add(await soak(name, stage, path.culvert, agents, options.shortConnections));
  return rows;
}

/** Pairs of runs in the order A B, B A, A B…; the first pair warms everything up. */
async function runMeasure(
  name: PathName,
  path: Path,
  measure: Measure,
  stage: Stage,
  agent: AgentProcess | null,
  options: BenchOptions,
): Promise<Row> {
  let before: Count | null = null;
  const samples: Sample[] = [];
  let connections = 0;
  const direct = async (): Promise<number> => (await measure.take(stage, path.direct, options.seconds)).value;
  const culvert = async (): Promise<number> => {
    const taken = await measure.take(stage, path.culvert, options.seconds);
    connections += taken.connections;
    return taken.value;
  };
  // The kernel is left alone once an agent has carried one, and joins once it has seen one of its own.
  if (path.carriage === 'kernel')
    for (let warmUp = 0; warmUp < 2; warmUp += 1) await measure.take(stage, path.culvert, warmUpSeconds);
  for (let round = 0; round <= options.rounds; round++) {
    if (round === 1) {
      before = agent === null ? null : await countOf(agent);
      connections = 0;
    }
    if (directFirst(round)) {
      const first = await direct();
      samples.push({ direct: first, culvert: await culvert() });
    } else {
      const first = await culvert();
      samples.push({ direct: await direct(), culvert: first });
    }
  }
  if (agent !== null && before !== null) await witness(agent, before, path.carriage, connections);
  return { path: name, measure: measure.title, unit: measure.unit, ...compare(samples.slice(1)) };
}

function printed(rows: readonly Row[]): string {
  const columns = [
    { title: 'path', align: 'left' },
    { title: 'measure', align: 'left' },
    { title: 'direct', align: 'right' },
    { title: 'culvert', align: 'right' },
    { title: 'unit', align: 'left' },
    { title: 'ratio', align: 'right' },
    { title: 'spread', align: 'right' },
  ] as const;
  const cells = rows.map(row => [
    row.path,
    row.measure,
    figures(row.direct),
    figures(row.culvert),
    row.unit,
    row.ratio === null ? '–' : `${figures(row.ratio)}×`,
    row.spread === null ? '–' : `${(row.spread * 100).toFixed(1)} %`,
  ]);
  return table(columns, cells);
}

/** Our own work (starting programs, reading metrics) must not be on the CPU that is measured. */
async function keepOff(cpus: string): Promise<void> {
  const all = Array.from({ length: availableParallelism() }, (_, at) => at);
  const others = all.filter(at => cpus !== String(at) && !cpus.includes('-'));
  if (others.length > 0) await command('taskset', ['-acp', others.join(','), String(process.pid)]);
}

async function main(): Promise<void> {
  if (process.env['BENCH_HELP'] !== undefined) {
    const columns = ['variable', 'default', 'meaning'].map(title => ({ title, align: 'left' as const }));
    const rows = Object.entries(variables).map(([name, variable]) => [
      name,
      variable.default,
      variable.meaning,
    ]);
    process.stdout.write(`${table(columns, rows)}\n`);
    return;
  }
  const options = optionsFrom(process.env);
  await keepOff(options.cpus);
  await using stage = await Stage.create(options);
  const paths = pathsOf(stage);
  const rows: Row[] = [];
  for (const name of options.paths) rows.push(...(await runPath(name, paths[name], stage, options)));
  const output = resolve(options.output);
  mkdirSync(dirname(output), { recursive: true });
  writeFileSync(output, `${JSON.stringify(rows, null, 2)}\n`);
  process.stdout.write(`\n${printed(rows)}\n\n`);
  process.stdout.write(
    `All on CPU ${options.cpus} but the agents of the -shard paths; ratios are culvert ÷ direct, medians of `,
  );
  process.stdout.write(
    `${options.rounds} pairs; spread is the distance of their quartiles. Rows: ${output}\n`,
  );
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${describeError(error)}\n`);
  process.exitCode = 1;
}
