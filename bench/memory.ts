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
import { idlePort, loadPort } from './stage-objects.ts';
import type { Pair, Stage } from './stage.ts';

/** Time for garbage and pages to be given back before memory is read. */
const settleMs = 3_000;
/** Part of the idle connections that is open when the slope begins. */
const warmPart = 0.1;

/** Resident memory of one agent that has had nothing to do, the larger of both. */
export async function idleAgent(path: string, agents: readonly AgentProcess[]): Promise<Row> {
  await delay(settleMs);
  const megabytes = Math.max(...agents.map(agent => agent.residentBytes())) / 1e6;
  return row(path, 'idle agent', 'MB', megabytes);
}

/** Bytes per idle connection in both agents together. */
export async function idleConnections(
  path: string,
  stage: Stage,
  pair: Pair,
  agents: readonly AgentProcess[],
  count: number,
): Promise<Row> {
  await using server = pair.server.spawn(stage.tools.idle, ['server', String(idlePort)], {
    cpus: stage.cpus,
  });
  await server.listensOn(idlePort);
  const warm = Math.ceil(count * warmPart);
  await using first = await open(stage, pair, warm);
  const before = await resident(agents);
  await using rest = await open(stage, pair, count - warm);
  const after = await resident(agents);
  for (const [client, held] of [
    [first, warm],
    [rest, count - warm],
  ] as const)
    await alive(client, held);
  return row(path, `idle connection, of ${count}`, 'kB', (after - before) / (count - warm) / 1e3);
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

async function open(stage: Stage, pair: Pair, count: number): Promise<LabProcess> {
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
  return { path, measure, unit, direct: null, culvert, ratio: null, spread: null };
}
