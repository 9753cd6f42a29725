/**
 * Where the time of a request goes that passes a waypoint: by process and, inside the waypoint, by stage.
 *
 *   node bench/waypoint-stages.ts [--cpu 1] [--seconds 10]
 *
 * client → agent → waypoint → agent → nginx, everything on one CPU, 64 connections that are kept. What processes use is the
 * kernel's account; how the waypoint's part is to be divided say samples of its stacks, for which `perf` is needed. Both
 * are of the same seconds, after enough of them that everything is compiled.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CulvertError, describeError } from '../base/errors.ts';
import { command } from '../test/lab/commands.ts';
import { httpConnections } from './measures.ts';
import { optionsFrom } from './options.ts';
import { processorTime, type ProcessorTime, since } from './process-account.ts';
import { samplesByStage, stages } from './profile-stages.ts';
import { Stage } from './stage.ts';
import { httpPort } from './stage-objects.ts';
import { type Column, table } from './table.ts';

const { values } = parseArgs({
  options: { cpu: { type: 'string', default: '1' }, seconds: { type: 'string', default: '10' } },
});
const seconds = Number(values.seconds);
/** From then on code is as it will be. */
const warmRequests = 60_000;
const warmUpSeconds = 2;
/** A prime: nothing that happens every so often falls in with it. */
const samplesPerSecond = 997;

interface Load {
  readonly requests: number;
  /** Of the load program itself. */
  readonly client: ProcessorTime;
}

async function load(stage: Stage, forSeconds: number): Promise<Load> {
  const pair = { ...stage.meshed.far, service: 'routed' as const };
  const url = `http://${stage.addressOf(pair)}:${httpPort}/`;
  const flags = ['-t1', `-c${httpConnections}`, `-d${forSeconds}s`, url];
  // The second line of `times` is what the programs of a shell have used.
  const script = 'wrk "$@"; times';
  const { stdout } = await pair.client.run('sh', ['-c', script, 'sh', ...flags], { cpus: stage.cpus });
  const requests = Number(/^\s*(\d+) requests in /m.exec(stdout)?.[1]);
  const [, userMinutes, userSeconds, systemMinutes, systemSeconds] =
    /(\d+)m([\d.]+)s (\d+)m([\d.]+)s\s*$/.exec(stdout) ?? [];
  if (!(requests > 0) || /Non-2xx|Socket errors/.test(stdout))
    throw new CulvertError('BENCH_RUN', stdout.trim());
  const client = {
    user: (Number(userMinutes) * 60 + Number(userSeconds)) * 1e6,
    system: (Number(systemMinutes) * 60 + Number(systemSeconds)) * 1e6,
  };
  return { requests, client };
}

interface Used {
  readonly process: string;
  /** Microseconds per request. */
  readonly time: ProcessorTime;
}

interface Taken {
  /** In the order in which a request passes them. */
  readonly processes: readonly Used[];
  readonly waypoint: ProcessorTime;
  /** Stacks of the waypoint, as perf prints them. */
  readonly stacks: string;
}

async function take(stage: Stage): Promise<Taken> {
  const agents = await stage.agents({ shards: 1, cpus: stage.cpus, kernelPath: 'direct' });
  // Tells perf which code of ours is where.
  const waypoint = await stage.waypoint({ NODE_OPTIONS: '--perf-basic-prof' });
  const pids = [
    agents[0]?.pid ?? 0,
    waypoint.pid,
    agents[1]?.pid ?? 0,
    stage.webServer(stage.meshed.far).pid,
  ];
  for (let warm = 0; warm < warmRequests;) warm += (await load(stage, warmUpSeconds)).requests;
  const before = pids.map(processorTime);
  const file = join(stage.lab.directory, 'waypoint.perf');
  const record = ['record', '-e', 'cpu-clock', '-F', String(samplesPerSecond), '-g', '-o', file];
  const [{ requests, client }] = await Promise.all([
    load(stage, seconds),
    command('perf', [...record, '-p', String(waypoint.pid), '--', 'sleep', String(seconds)]),
  ]);
  const used = pids.map((pid, at) => since(before[at], processorTime(pid)));
  const perRequest = ({ user, system }: ProcessorTime = { user: 0, system: 0 }): ProcessorTime => ({
    user: user / requests,
    system: system / requests,
  });
  const stacks = await command('perf', ['script', '-i', file, '-F', 'ip,sym,dso']);
  removeTraces(waypoint.pid);
  const names = ["agent of the client's node", 'waypoint', "agent of the server's node", 'nginx'];
  const processes = names.map((process, at) => ({ process, time: perRequest(used[at]) }));
  return {
    processes: [{ process: 'wrk', time: perRequest(client) }, ...processes],
    waypoint: perRequest(used[1]),
    stacks,
  };
}

/** What V8 writes for perf: the map of its code, and a log with nothing in it, in the directory that the program was started in. */
function removeTraces(pid: number): void {
  const logs = readdirSync('.').filter(
    name => name.startsWith('isolate-') && name.endsWith(`-${pid}-v8.log`),
  );
  for (const file of [`/tmp/perf-${pid}.map`, ...logs]) rmSync(file, { force: true });
}

const left = (title: string): Column => ({ title, align: 'left' });
const right = (title: string): Column => ({ title, align: 'right' });
const figures = [right('own code, µs'), right('kernel, µs'), right('together'), right('share')];

function row(name: string, { user, system }: ProcessorTime, whole: number): string[] {
  const together = user + system;
  return [
    name,
    user.toFixed(1),
    system.toFixed(1),
    together.toFixed(1),
    `${((together / whole) * 100).toFixed(0)} %`,
  ];
}

function byProcess({ processes }: Taken): string {
  const whole = processes.reduce((sum, { time }) => sum + time.user + time.system, 0);
  const rows = processes.map(({ process, time }) => row(process, time, whole));
  return table([left('per request'), ...figures], rows);
}

function byStage({ waypoint, stacks }: Taken): string {
  const samples = samplesByStage(stacks);
  const all = [...samples.values()];
  const user = all.reduce((sum, one) => sum + one.user, 0);
  const kernel = all.reduce((sum, one) => sum + one.kernel, 0);
  const rows = stages.map(stage => {
    const of = samples.get(stage) ?? { user: 0, kernel: 0 };
    const time = { user: (of.user / user) * waypoint.user, system: (of.kernel / kernel) * waypoint.system };
    return row(stage, time, waypoint.user + waypoint.system);
  });
  return table([left('stage of the waypoint'), ...figures], rows);
}

try {
  await using stage = await Stage.create(optionsFrom({ ...process.env, CPU: values.cpu }));
  const taken = await take(stage);
  process.stdout.write(`${byProcess(taken)}\n\n${byStage(taken)}\n`);
} catch (error) {
  process.stderr.write(`bench: ${describeError(error)}\n`);
  process.exitCode = 1;
}
