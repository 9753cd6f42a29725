/**
 * `make soak-restarts`: agents are replaced and killed again and again while pods talk, and every connection is counted that
 * was refused, hung, came back wrong, or was taken for somebody else's.
 *
 *   node bench/soak-restarts.ts [--restarts 200] [--crashes 50] [--other CHECKOUT] [--json FILE]
 *
 * With another checkout, which is built, agents of both builds take turns: an upgrade, then a downgrade, and so on.
 * Two nodes. Each flow opens 20 connections a second and keeps streams of 3 s going, whose bytes are verified. A crash
 * resets what the agent carried; nothing may be refused or hang in either part.
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { AgentLab } from '../test/help/agent-lab.ts';
import type { AgentProcess } from '../test/lab/agent-process.ts';
import { Steady, type SteadyResult } from '../test/help/steady.ts';

const { values } = parseArgs({
  options: {
    restarts: { type: 'string', default: '200' },
    crashes: { type: 'string', default: '50' },
    other: { type: 'string' },
    json: { type: 'string' },
  },
});
const port = 8080;
/** What waited for the next agent is answered before the other one dies: it would be reset for that. */
const betweenCrashes = 2_000;
const nodes = ['node-a', 'node-b'] as const;
const names = ['client', 'near', 'far'] as const;
const stage = await AgentLab.create({
  name: 'soak',
  pods: names.map(name => ({
    name,
    namespace: 'shop',
    node: name === 'far' ? 'node-b' : 'node-a',
    serviceAccount: name,
  })),
});

interface Part {
  readonly part: string;
  readonly times: number;
  readonly seconds: number;
  readonly connections: number;
  readonly refused: number;
  readonly reset: number;
  readonly hung: number;
  readonly wrong: number;
  readonly streams: number;
  readonly streamsLost: number;
  readonly megabytes: number;
  readonly slowestMs: number;
  /** Lines of the access log that name another identity than the one that connected. */
  readonly wrongIdentity: number;
}

/** Runs all flows while something is done that many times. */
async function part(name: string, times: number, act: (n: number) => Promise<void>): Promise<Part> {
  const begun = performance.now();
  const pod = (of: (typeof names)[number]) => stage.pod(of);
  const flows = await Promise.all([
    Steady.start(pod('client'), pod('far').address, port, { streams: 3, life: 3 }),
    Steady.start(pod('client'), pod('near').address, port, { streams: 2, life: 3 }),
    Steady.start(pod('far'), pod('client').address6, port, { streams: 3, life: 3 }),
  ]);
  for (let n = 0; n < times; n += 1) {
    await act(n);
    if ((n + 1) % 10 === 0) process.stderr.write(`${name}: ${n + 1} of ${times}\n`);
  }
  const results = await Promise.all(flows.map(flow => flow.end()));
  const sum = (of: (result: SteadyResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const failed = (...reasons: string[]): number =>
    sum(result => reasons.reduce((total, why) => total + (result.failed[why] ?? 0), 0));
  for (const example of results.flatMap(result => result.examples))
    if (name === 'restarts') process.stderr.write(`${JSON.stringify(example)}\n`);
  const known = sum(({ failed: all }) => Object.values(all).reduce((a, b) => a + b, 0));
  const [refused, hung, wrong] = [failed('ECONNREFUSED', 'EPERM'), failed('HUNG'), failed('WRONG')];
  return {
    part: name,
    times,
    seconds: Math.round((performance.now() - begun) / 1000),
    connections: sum(result => result.asked),
    refused,
    hung,
    wrong,
    reset: known - refused - hung - wrong,
    streams: sum(result => result.streams),
    streamsLost: sum(({ lost }) => Object.values(lost).reduce((a, b) => a + b, 0)),
    megabytes: Math.round(sum(result => result.bytes) / 1e6),
    slowestMs: Math.max(...results.map(result => result.slowestMs)),
    wrongIdentity: wrongIdentities(),
  };
}

function row({ part: name, ...figures }: Part): string {
  const cells = Object.entries(figures).map(([figure, value]) => `${figure} ${value}`);
  return `${name.padEnd(9)} ${cells.join(' · ')}`;
}

function wrongIdentities(): number {
  return nodes
    .flatMap(node => stage.lines(node))
    .filter(line => line['direction'] === 'inbound' && line['src.workload'] !== undefined)
    .filter(line => line['src.identity'] !== `spiffe://cluster.local/ns/shop/sa/${line['src.workload']}`)
    .length;
}

try {
  for (const name of names) await (await stage.sockets(name)).serve('::', port);
  const parts: Part[] = [];
  const last: AgentProcess[] = [];
  const nodeOf = (n: number): (typeof nodes)[number] => (n % 2 === 0 ? 'node-a' : 'node-b');
  const { other } = values;
  /** Of both nodes in turn: the other one, then ours. */
  const buildOf = (n: number): { build?: string } =>
    other !== undefined && n % 4 < nodes.length ? { build: resolve(other) } : {};
  parts.push(
    await part('restarts', Number(values.restarts), async n => {
      last.push((await stage.replaceAgent(nodeOf(n), buildOf(n))).old);
    }),
  );
  // One that is still there would take its place back.
  for (const old of last) await old.process.exited;
  parts.push(
    await part('crashes', Number(values.crashes), async n => {
      await stage.crashAgent(nodeOf(n));
      await pause(betweenCrashes);
    }),
  );
  process.stdout.write(`${parts.map(row).join('\n')}\n`);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(parts, null, 2)}\n`);
  const [first, second] = parts;
  const bad =
    (first === undefined ? 1 : first.refused + first.reset + first.hung + first.wrong + first.streamsLost) +
    (second === undefined ? 1 : second.refused + second.hung + second.wrong) +
    parts.reduce((total, { wrongIdentity }) => total + wrongIdentity, 0);
  process.exitCode = bad === 0 ? 0 : 1;
} finally {
  await stage[Symbol.asyncDispose]();
}
