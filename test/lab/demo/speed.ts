/**
 * What the mesh costs: round trips and one stream, with it and without it, in turns and on one CPU. A glance, with the
 * tools of `make bench`, which has more rounds, more measures and the spread.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { compare, directFirst, type Comparison, type Sample } from '../../../bench/compare.ts';
import { buildTools } from '../../../bench/tools/build.ts';
import { CulvertError } from '../../../base/errors.ts';
import type { LabPod } from '../pod.ts';
import { nodeNames, type PodName } from './cast.ts';
import type { Report } from './report.ts';
import type { Stage } from './stage.ts';

const port = 7001;
const rounds = 3;
/** Until the agents' code is compiled and a tunnel is open. */
const warmUpSeconds = 0.6;

interface Measure {
  readonly title: string;
  readonly unit: string;
  readonly mode: readonly string[];
  readonly field: string;
  readonly digits: number;
}

const measures: readonly Measure[] = [
  { title: 'round trip of 64 bytes, p50', unit: 'µs', mode: ['rtt', '64'], field: 'p50_us', digits: 0 },
  { title: 'one stream', unit: 'Gbit/s', mode: ['stream'], field: 'gbit_per_second', digits: 1 },
];

interface Path {
  readonly title: string;
  readonly bare: PodName;
  readonly meshed: PodName;
}

const paths: readonly Path[] = [
  { title: 'same node', bare: 'bare-near', meshed: 'cache' },
  { title: 'other node', bare: 'bare-far', meshed: 'web' },
];

export async function speed(stage: Stage, report: Report): Promise<void> {
  const cpu = String(availableParallelism() - 1);
  report.section(
    `What it costs: clients, servers and both agents on CPU ${cpu}, in turns with pods that have no mesh (make bench has more)`,
  );
  const { load } = await buildTools();
  const before = await pinAgents(
    stage,
    nodeNames.map(() => cpu),
  );
  for (const path of paths) {
    for (const name of [path.bare, path.meshed]) {
      await stage
        .pod(name)
        .spawn(load, ['server', String(port)], { cpus: cpu })
        .listensOn(port);
    }
  }
  const rows: string[][] = [];
  for (const path of paths) {
    for (const measure of measures) {
      const take = (from: PodName, to: PodName, seconds = stage.seconds / rounds): Promise<number> =>
        run(load, measure, stage.pod(from), stage.pod(to), seconds, cpu);
      const direct = (): Promise<number> => take('bare-client', path.bare);
      const culvert = (): Promise<number> => take('front', path.meshed);
      await take('front', path.meshed, warmUpSeconds);
      const samples: Sample[] = [];
      for (let round = 0; round < rounds; round++) {
        const sample = directFirst(round)
          ? { direct: await direct(), culvert: await culvert() }
          : { culvert: await culvert(), direct: await direct() };
        samples.push(sample);
      }
      rows.push(row(path, measure, compare(samples)));
    }
  }
  report.table(['PATH', 'MEASURE', 'UNIT', 'NO MESH', 'CULVERT', 'RATIO'], rows);
  await pinAgents(stage, before);
}

function row(path: Path, { title, unit, digits }: Measure, { direct, culvert, ratio }: Comparison): string[] {
  return [path.title, title, unit, direct.toFixed(digits), culvert.toFixed(digits), `${ratio.toFixed(2)}×`];
}

async function run(
  load: string,
  measure: Measure,
  from: LabPod,
  to: LabPod,
  seconds: number,
  cpus: string,
): Promise<number> {
  const [mode = '', ...more] = measure.mode;
  const { stdout } = await from.run(load, [mode, to.address, String(port), String(seconds), ...more], {
    cpus,
  });
  const value = (JSON.parse(stdout) as Record<string, unknown>)[measure.field];
  if (typeof value !== 'number')
    throw new CulvertError('DEMO_SPEED', `the load program gave no ${measure.field}: ${stdout}`);
  return value;
}

/** Moves the running agents, all threads of them, to these CPUs, and returns where they were allowed before. */
async function pinAgents(stage: Stage, cpus: readonly string[]): Promise<string[]> {
  const before: string[] = [];
  for (const [index, name] of nodeNames.entries()) {
    const { node, process } = stage.agent(name);
    before.push(
      /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync(`/proc/${process.pid}/status`, 'utf8'))?.[1] ?? '0',
    );
    await node.run('taskset', ['-a', '-c', '-p', cpus[index] ?? '0', String(process.pid)]);
  }
  return before;
}
