/**
 * What the agents hold in memory: alone, per connection that does nothing, and after many that are over.
 *
 * A slope, not a total: the first connections pay for what all share.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CulvertError } from '../base/errors.ts';
import type { AgentProcess } from '../test/lab/agent-process.ts';
import type { LabProcess } from '../test/lab/process.ts';
import type { Row } from './compare.ts';
import { concurrentClients } from './measures.ts';
import type { PathName } from './options.ts';
import type { Curve } from './results.ts';
import { idlePort, loadPort } from './stage-objects.ts';
import type { Pair, Stage } from './stage.ts';

/** Time for garbage and pages to be given back before memory is read. */
const settleMs = 3_000;
/** An agent gives back what its start took three seconds after it; more than that, then. */
const startedMs = 8_000;
/** Part of the short connections that is over when growth begins. */
const warmPart = 0.1;
/** Of the idle connections, when memory is read; their slope begins at the first. */
const parts = [0.1, 0.4, 0.7, 1];

/** Resident memory of one agent that has had nothing to do, the larger of both. */
export async function idleAgent(path: string, agents: readonly AgentProcess[]): Promise<Row> {
  await delay(startedMs);
  const megabytes = Math.max(...agents.map(agent => agent.residentBytes())) / 1e6;
  return row(path, 'idle agent', 'MB', megabytes);
}

/** Kilobytes per idle connection in both agents together, and what they hold on the way there. */
export async function idleConnections(
  path: PathName,
  stage: Stage,
  pair: Pair,
  agents: readonly AgentProcess[],
  count: number,
): Promise<{ row: Row; curve: Curve }> {
  await using server = pair.server.spawn(stage.tools.idle, ['server', String(idlePort)], {
    cpus: stage.cpus,
  });
  await server.listensOn(idlePort);
  await using clients = new AsyncDisposableStack();
  const points = [{ at: 0, ...alone((await resident(agents)) / 1e6) }];
  const held: { readonly client: LabProcess; readonly count: number }[] = [];
  let open = 0;
  for (const part of parts) {
    const more = Math.ceil(count * part) - open;
    held.push({ client: clients.use(await opened(stage, pair, more)), count: more });
    open += more;
    points.push({ at: open, ...alone((await resident(agents)) / 1e6) });
  }
  for (const { client, count: its } of held) await alive(client, its);
  const [first, last] = [points[1], points.at(-1)];
  if (first === undefined || last === undefined || last.at === first.at)
    throw new CulvertError('BENCH_VOID', `${count} idle connections are too few for a slope`);
  const kilobytes = ((last.culvert - first.culvert) * 1e3) / (last.at - first.at);
  return {
    row: row(path, `idle connection, of ${count}`, 'kB', kilobytes),
    curve: { curve: 'memory', path, unit: 'MB', points },
  };
}

/** What both agents hold more after `count` short connections than after the first tenth of them. */
export async function soak(
  path: string,
  stage: Stage,
  pair: Pair,
  agents: readonly AgentProcess[],
  count: number,
): Promise<Row> {
  await shortConnections(stage, pair, Math.ceil(count * warmPart));
  const before = await resident(agents);
  await shortConnections(stage, pair, count);
  const after = await resident(agents);
  return row(path, `growth by ${count} short connections`, 'MB', (after - before) / 1e6);
}

async function shortConnections(stage: Stage, pair: Pair, count: number): Promise<void> {
  const forever = '1000000';
  const args = [
    'connect',
    stage.addressOf(pair),
    String(loadPort),
    forever,
    String(concurrentClients),
    String(count),
  ];
  await pair.client.run(stage.tools.load, args, { cpus: stage.cpus, timeoutMs: 3_600_000 });
}

async function opened(stage: Stage, pair: Pair, count: number): Promise<LabProcess> {
  const args = ['client', stage.addressOf(pair), String(idlePort), String(count)];
  const client = pair.client.spawn(stage.tools.idle, args, { cpus: stage.cpus });
  await client.says(/\{"open":\d+\}/, 120_000);
  return client;
}

/** A connection that was lost in silence would make the others look cheap. */
async function alive(client: LabProcess, count: number): Promise<void> {
  client.stdin.write('exchange\n');
  const [, answered] = await client.says(/\{"alive":(\d+)\}/, 60_000);
  if (Number(answered) !== count)
    throw new CulvertError('BENCH_VOID', `${answered} of ${count} idle connections still worked`);
}

async function resident(agents: readonly AgentProcess[]): Promise<number> {
  await delay(settleMs);
  return agents.reduce((sum, agent) => sum + agent.residentBytes(), 0);
}

function row(path: string, measure: string, unit: string, culvert: number): Row {
  return { path, measure, unit, ...alone(culvert) };
}

/** A figure that there is nothing to compare with. */
function alone(culvert: number): Pick<Row, 'direct' | 'culvert' | 'ratio' | 'spread'> {
  return { direct: null, culvert, ratio: null, spread: null };
}
