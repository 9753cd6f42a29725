/**
 * What is measured of a control plane, and of an agent that knows a large mesh. Each row stands for itself: there is
 * nothing to compare with.
 */
import { CulvertError } from '../../base/errors.ts';
import { type Row, quantile } from '../compare.ts';
import { agentMemory } from './agent-memory.ts';
import { nodeName } from './cluster.ts';
import type { ControlBenchOptions } from './options.ts';
import { rollingRestarts } from './rolling.ts';
import { Stage, deadlineMs } from './stage.ts';

type Add = (measure: string, unit: string, value: number) => Row;

/** Nobody says anything for so long: everything is told. */
const quietMs = 1_500;
/** Changes while there is no control plane. */
const missedChanges = 50;
/** Of each kind an agent on demand asks for so many: Services that its pods use, and pods by their own addresses. */
const wantedNames = 100;
const rollingSize = { size: { pods: 300, services: 60, nodes: 20 }, agents: 20, changesPerSecond: 50 };

/** Rows as they come to be known. */
export async function* measureControl(options: ControlBenchOptions): AsyncGenerator<Row> {
  const { pods, services, nodes, agents, processes, nodeFlags } = options;
  const add = rowsOf(`${pods} pods, ${agents} agents`);
  await using stage = await Stage.create({
    size: { pods, services, nodes },
    swarm: { agents, processes },
    nodeFlags,
  });
  yield add('control plane with no agent', 'MB', stage.plane.resident().now / 1e6);
  yield add('all agents know everything', 's', (await stage.connectAgents()) / 1e3);
  await stage.swarm.quiet(quietMs, deadlineMs);
  yield add('control plane with its agents', 'MB', stage.plane.resident().now / 1e6);
  yield* underChange(stage, options, add);
  yield* overRestart(stage, add);
  yield* ofAgents(stage, options, add);
  if (options.restarts > 0) yield* rolling(options);
}

async function* underChange(stage: Stage, options: ControlBenchOptions, add: Add): AsyncGenerator<Row> {
  const { plane, swarm } = stage;
  const { changesPerSecond, seconds, agents } = options;
  await swarm.restart();
  const pushed = 'culvert_control_pushed_bytes_total';
  const before = { cpu: plane.cpuSeconds(), bytes: await plane.counter(pushed), at: Date.now() };
  const changes = await stage.change(changesPerSecond, seconds);
  const busy = { cpu: plane.cpuSeconds() - before.cpu, seconds: (Date.now() - before.at) / 1e3 };
  const { now } = plane.resident();
  await swarm.quiet(quietMs, deadlineMs);
  const cpu = plane.cpuSeconds() - before.cpu;
  const bytes = (await plane.counter(pushed)) - before.bytes;
  await verify(stage);
  const times = await swarm.times();
  // Of a pod that has changed again, only the last change can be told from others.
  const last = new Map(changes.map(({ name, at }) => [name, at]));
  const delays = Array.from(last, ([name, at]) => (times.get(name) ?? Number.NaN) - at);
  const rate = `at ${changesPerSecond}/s`;
  yield add(`change to last ACK ${rate}, p50`, 'ms', quantile(delays, 0.5));
  yield add(`change to last ACK ${rate}, p99`, 'ms', quantile(delays, 0.99));
  yield add(`processor ${rate}`, '% of one', (busy.cpu / busy.seconds) * 100);
  yield add('processor time per change', 'ms', (cpu / changes.length) * 1e3);
  yield add('bytes per change and agent', 'B', bytes / changes.length / agents);
  yield add('responses per agent', '/s', (await swarm.report()).responses / agents / busy.seconds);
  yield add('control plane under change', 'MB', now / 1e6);
}

async function* overRestart(stage: Stage, add: Add): AsyncGenerator<Row> {
  const { swarm } = stage;
  await swarm.restart();
  const from = Date.now();
  await stage.replacePlane(() => {
    for (let n = 0; n < missedChanges; n++) stage.cluster.change();
  });
  await stage.plane.ready(deadlineMs);
  const ready = Date.now() - from;
  // Those that still believe in their old connection are not current before they have heard of its end.
  const current = (await swarm.current(deadlineMs)) - from;
  await swarm.quiet(quietMs, deadlineMs);
  await verify(stage);
  yield add('restart: the control plane is ready', 's', ready / 1e3);
  yield add('restart: all agents know everything', 's', current / 1e3);
  yield add('control plane after the restart, at most', 'MB', stage.plane.resident().most / 1e6);
}

/** Real stores, one after the other, beside the simulated ones. */
async function* ofAgents(stage: Stage, { pods }: ControlBenchOptions, add: Add): AsyncGenerator<Row> {
  const options = { port: stage.plane.ports.grpc, roots: await stage.roots(), node: nodeName(0) };
  const wanted = [...stage.cluster.serviceAddresses(wantedNames), ...stage.cluster.addresses(wantedNames)];
  const names = wanted.map(address => `/${address}`);
  const all = await agentMemory({ ...options, names: null });
  const some = await agentMemory({ ...options, names });
  // The first process of its kind compiles what the second finds in a cache.
  yield add('agent store before it is told anything', 'MB', some.before / 1e6);
  yield add(`agent store that knows ${pods} workloads`, 'MB', all.after / 1e6);
  yield add(`agent store on demand, ${names.length} asked for`, 'MB', some.after / 1e6);
  yield add('workloads that it knows then', '', some.workloads);
  yield add('one answer, p50', 'ms', quantile(some.askedMs, 0.5));
}

async function* rolling({ restarts }: ControlBenchOptions): AsyncGenerator<Row> {
  const { size, agents, changesPerSecond } = rollingSize;
  const add = rowsOf(`${size.pods} pods, ${agents} agents, 2 replicas`);
  const result = await rollingRestarts({ ...rollingSize, restarts });
  if (result.lost.length > 0)
    throw new CulvertError('BENCH_VOID', `changes were lost: ${result.lost.join('; ')}`);
  yield add(`rolling restarts at ${changesPerSecond}/s`, '', result.restarts);
  yield add('changes meanwhile', '', result.changes);
  yield add('agents that know something else in the end', '', result.lost.length);
}

/** Every agent knows the workloads that there are, and all of them the same of each. */
async function verify({ swarm, cluster }: Stage): Promise<void> {
  const known = await swarm.knowledge();
  const truth = cluster.truth();
  const missing = [...truth.keys()].filter(name => !known.has(name));
  const workloads = [...known.keys()].filter(name => name.includes('//Pod/'));
  if (missing.length > 0 || workloads.length !== truth.size) {
    const [example = 'none'] = missing;
    const message = `agents know ${workloads.length} of ${truth.size} workloads, lacking ${missing.length} (${example})`;
    throw new CulvertError('BENCH_VOID', message);
  }
}

function rowsOf(path: string): Add {
  return (measure, unit, culvert) => ({
    path,
    measure,
    unit,
    direct: null,
    culvert,
    ratio: null,
    spread: null,
  });
}
