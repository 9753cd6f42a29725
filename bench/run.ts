/**
 * `make bench`: what the mesh costs, as ratios to no mesh in the same minute on the same machine.
 *
 * BENCH_HELP=1 lists what can be set. A quick look: PATHS=cross-node ROUNDS=2 SECONDS=0.3 MEASURES=rtt,http
 */
import { resolve } from 'node:path';
import { CulvertError, describeError } from '../base/errors.ts';
import type { AgentProcess } from '../test/lab/agent-process.ts';
import { compare, type Row } from './compare.ts';
import { distribution, sweep, sweptNames } from './curves.ts';
import { http, httpConnections, type Measure, measures } from './measures.ts';
import { idleAgent, idleConnections, soak } from './memory.ts';
import {
  type BenchOptions,
  type MeasureName,
  optionsFrom,
  type PathName,
  sharesEveryCpu,
  variables,
} from './options.ts';
import { pairs, witnessed } from './pairs.ts';
import { type Path, pathsOf } from './paths.ts';
import { show } from './docs.ts';
import { drawPlots } from './plots.ts';
import { allow, everyProcessor, keepOff } from './processors.ts';
import { report } from './report.ts';
import { restarts } from './restarts.ts';
import { type Curve, originOf, readResults, type Results, writeResults } from './results.ts';
import { Stage } from './stage.ts';
import { figures, table } from './table.ts';
import { twoCpus } from './two-cpus.ts';

const warmUpSeconds = 0.3;
/** Until the JavaScript of a waypoint is compiled, which is the state it is in for the rest of its life. */
const waypointWarmUpSeconds = 6;

interface Measured extends Pick<Results, 'rows' | 'curves'> {
  readonly failures: readonly string[];
}

async function runPath(name: PathName, path: Path, stage: Stage, options: BenchOptions): Promise<Measured> {
  const wanted = (measure: MeasureName): boolean =>
    options.measures.includes(measure) && path.measures.includes(measure);
  // What an agent holds that has done nothing is only told by one that has done nothing.
  if (wanted('memory')) await stage.stopAgents();
  const agents = path.agents === null ? [] : await stage.agents(path.agents);
  const agent = agents[0] ?? null;
  if (path.waypoint === true) {
    await stage.waypoint();
    await http(stage, path.culvert, waypointWarmUpSeconds, httpConnections);
  }
  const rows: Row[] = [];
  const curves: Curve[] = [];
  const failures: string[] = [];
  const add = (row: Row): void => {
    rows.push(row);
    say(`${name}: ${row.measure}: ${figures(row.culvert)} ${row.unit}`);
  };
  // One that fails is told of in the end; the others are worth having.
  const attempt = async (what: MeasureName, work: () => Promise<void>): Promise<void> => {
    if (!wanted(what)) return;
    try {
      await work();
    } catch (error) {
      failures.push(`${name}: ${what}: ${describeError(error)}`);
      say(failures.at(-1) ?? '');
    }
  };
  await attempt('memory', async () => {
    add(await idleAgent(name, agents));
    const { row, curve } = await idleConnections(name, stage, path.culvert, agents, options.idleConnections);
    add(row);
    curves.push(curve);
  });
  for (const measure of measures)
    await attempt(measure.name, async () =>
      add(await runMeasure(name, path, measure, stage, agent, options)),
    );
  for (const swept of sweptNames)
    await attempt(swept, async () => {
      say(`${name}: ${swept}`);
      curves.push(await sweep(swept, [name, path], stage, agent, options));
    });
  await attempt('distribution', async () => {
    say(`${name}: distribution`);
    curves.push(await distribution([name, path], stage, agent, options));
  });
  await attempt('soak', async () =>
    add(await soak(name, stage, path.culvert, agents, options.shortConnections)),
  );
  return { rows, curves, failures };
}

/** The first pair warms everything up and does not count. */
async function runMeasure(
  name: PathName,
  path: Path,
  measure: Measure,
  stage: Stage,
  agent: AgentProcess | null,
  options: BenchOptions,
): Promise<Row> {
  const { seconds, rounds } = options;
  // The kernel is left alone once an agent has carried one, and joins once it has seen one of its own.
  if (path.carriage === 'kernel')
    for (let warmUp = 0; warmUp < 2; warmUp += 1) await measure.take(stage, path.culvert, warmUpSeconds);
  await pairs(path, 1, pair => measure.take(stage, pair, seconds));
  const { samples } = await witnessed(path, agent, () =>
    pairs(path, rounds, pair => measure.take(stage, pair, seconds)),
  );
  return { path: name, measure: measure.title, unit: measure.unit, ...compare(samples) };
}

/** These paths, one after the other on one stage. */
async function runPaths(names: readonly PathName[], options: BenchOptions): Promise<Measured> {
  if (names.length === 0) return together([]);
  await using stage = await Stage.create(options);
  const paths = pathsOf(stage);
  const all: Measured[] = [];
  for (const name of names) {
    try {
      all.push(
        name === '2-cpus'
          ? await runTwoCpus(stage, options)
          : await runPath(name, paths[name], stage, options),
      );
    } catch (error) {
      // Its agents did not start: the next path has others.
      all.push({ rows: [], curves: [], failures: [`${name}: ${describeError(error)}`] });
    }
  }
  return together(all);
}

async function runTwoCpus(stage: Stage, options: BenchOptions): Promise<Measured> {
  const rows: Row[] = [];
  const add = (row: Row): void => {
    rows.push(row);
    say(`${row.path}: ${row.measure}: ${figures(row.culvert)} ${row.unit}, ${figures(row.ratio)} of one CPU`);
  };
  await twoCpus(stage, options, add);
  return { rows, curves: [], failures: [] };
}

async function runRestarts(options: BenchOptions): Promise<Measured & Pick<Results, 'timelines'>> {
  if (!options.measures.includes('restarts')) return { ...together([]), timelines: [] };
  say('an agent is replaced, and another is killed');
  try {
    return { ...together([]), timelines: await restarts() };
  } catch (error) {
    return { rows: [], curves: [], timelines: [], failures: [`restarts: ${describeError(error)}`] };
  }
}

function together(parts: readonly Measured[]): Measured {
  return {
    rows: parts.flatMap(({ rows }) => rows),
    curves: parts.flatMap(({ curves }) => curves),
    failures: parts.flatMap(({ failures }) => failures),
  };
}

/** What was measured before and is only shown again, or what is measured now and written down. */
async function resultsOf(
  options: BenchOptions,
): Promise<{ readonly results: Results; readonly failures: readonly string[] }> {
  if (options.from !== '') {
    const read = readResults(options.from);
    if (read !== null) return { results: read, failures: [] };
    throw new CulvertError('BENCH_OPTION', `FROM=${options.from}: there is no such file`);
  }
  const origin = await originOf(options);
  await keepOff(options.cpus);
  const pinned = await runPaths(
    options.paths.filter(name => !sharesEveryCpu(name)),
    options,
  );
  await allow(everyProcessor);
  const shared = await runPaths(options.paths.filter(sharesEveryCpu), { ...options, cpus: everyProcessor });
  const { timelines, ...replacing } = await runRestarts(options);
  const { failures, ...measured } = together([pinned, shared, replacing]);
  const results = { origin, ...measured, timelines };
  writeResults(options.output, results);
  return { results, failures };
}

function help(): string {
  const columns = ['variable', 'default', 'meaning'].map(title => ({ title, align: 'left' as const }));
  const rows = Object.entries(variables).map(([name, variable]) => [
    name,
    variable.default,
    variable.meaning,
  ]);
  return table(columns, rows);
}

function say(what: string): void {
  process.stderr.write(`${what}\n`);
}

async function main(): Promise<void> {
  if (process.env['BENCH_HELP'] !== undefined) {
    process.stdout.write(`${help()}\n`);
    return;
  }
  const options = optionsFrom(process.env);
  const begun = performance.now();
  const released = readResults(options.release);
  const { results, failures } = await resultsOf(options);
  const isWhole = failures.length === 0;
  if (options.keepAsRelease && isWhole) writeResults(options.release, results);
  const drawn = drawPlots(results, options.plots);
  if (options.docs && isWhole) show(results);
  process.stdout.write(`\n${report(results, released)}`);
  process.stdout.write(`Results: ${resolve(options.from || options.output)}; plots: ${drawn.join(', ')}\n`);
  process.stdout.write(`It took ${((performance.now() - begun) / 60_000).toFixed(1)} minutes.\n`);
  if (isWhole) return;
  for (const failure of failures) say(`bench: ${failure}`);
  if (options.docs || options.keepAsRelease) say('bench: so nothing is shown or kept');
  process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${describeError(error)}\n`);
  process.exitCode = 1;
}
