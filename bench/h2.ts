/**
 * tunnel/h2 against node:http2 over TLS on loopback, client and server on one pinned CPU.
 *
 *   node bench/h2.ts [SECONDS] [ROUNDS]
 *
 * The two take turns, so drift of the machine meets both; printed are medians. Memory is what one idle stream adds
 * to heap and external memory of each end, and to the resident sizes of both.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { selfSigned } from '../test/tunnel/h2/self-signed.ts';
import type { Measure } from './h2-measures.ts';
import type { Command, Kind, Report } from './h2-peer.ts';

const kinds: readonly Kind[] = ['culvert', 'node'];
const cpu = '1';
const seconds = Number(process.argv[2] ?? 2);
const rounds = Number(process.argv[3] ?? 5);
const { key, cert } = selfSigned();

/** What is measured, its unit, and whether more is better. */
const table: readonly (readonly [measure: Measure, unit: string, moreIsBetter: boolean])[] = [
  ['roundTrip', 'µs p50, 64 B', false],
  ['throughput', 'Gbit/s, one stream', true],
  ['connects', 'CONNECT + 1 byte /s', true],
  ['requests', '100 B round trips /s, 64 streams', true],
];

function start(): ChildProcess {
  const peer = join(import.meta.dirname, 'h2-peer.ts');
  return spawn('taskset', ['-c', cpu, process.execPath, '--expose-gc', peer], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

async function ask(child: ChildProcess, command: Command): Promise<Report> {
  child.send(command);
  const [report] = await once(child, 'message');
  return report as Report;
}

/** Runs `body` with a fresh pair of processes. */
async function withPair<T>(
  kind: Kind,
  body: (server: ChildProcess, client: ChildProcess, port: number) => Promise<T>,
): Promise<T> {
  const [server, client] = [start(), start()];
  try {
    const report = await ask(server, { do: 'serve', kind, key, cert });
    return await body(server, client, 'port' in report ? report.port : 0);
  } finally {
    server.kill();
    client.kill();
    await Promise.all([once(server, 'close'), once(client, 'close')]);
  }
}

function run(kind: Kind, measure: Measure): Promise<number> {
  return withPair(kind, async (_server, client, port) => {
    await ask(client, { do: 'measure', kind, port, measure, seconds: seconds / 4 });
    const report = await ask(client, { do: 'measure', kind, port, measure, seconds });
    return 'value' in report ? report.value : Number.NaN;
  });
}

/** Bytes for one idle stream: of the client's heap, of the server's, and resident in both. */
function memoryOf(kind: Kind): Promise<[client: number, server: number, resident: number]> {
  return withPair(kind, async (server, client, port) => {
    // Once before, so that code and the connection itself do not count.
    await ask(client, { do: 'measure', kind, port, measure: 'memory', seconds });
    const before = await Promise.all([ask(client, { do: 'memory' }), ask(server, { do: 'memory' })]);
    const opened = await ask(client, { do: 'measure', kind, port, measure: 'memory', seconds });
    const after = await Promise.all([ask(client, { do: 'memory' }), ask(server, { do: 'memory' })]);
    const streams = 'value' in opened ? opened.value : Number.NaN;
    const grown = (end: 0 | 1, what: 'heap' | 'resident'): number =>
      ((after[end] as Record<string, number>)[what] ?? 0) -
      ((before[end] as Record<string, number>)[what] ?? 0);
    return [
      grown(0, 'heap') / streams,
      grown(1, 'heap') / streams,
      (grown(0, 'resident') + grown(1, 'resident')) / streams,
    ];
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function line(what: string, ours: number, theirs: number, ratio: number): void {
  const number = (value: number): string => value.toFixed(value < 100 ? 2 : 0).padStart(10);
  process.stdout.write(
    `${what.padEnd(36)}${number(ours)}${number(theirs)}${ratio.toFixed(2).padStart(10)}\n`,
  );
}

process.stdout.write(
  `${''.padEnd(36)}${['tunnel/h2', 'node:http2', 'ratio'].map(title => title.padStart(10)).join('')}\n`,
);
for (const [measure, unit, moreIsBetter] of table) {
  const results: Record<Kind, number[]> = { culvert: [], node: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of kinds) results[kind].push(await run(kind, measure));
  }
  const ratios = results.culvert.map((ours, at) => ours / (results.node[at] ?? Number.NaN));
  const ratio = median(ratios);
  line(unit, median(results.culvert), median(results.node), moreIsBetter ? ratio : 1 / ratio);
}
const [ours, theirs] = [await memoryOf('culvert'), await memoryOf('node')];
for (const [at, what] of [
  'bytes per idle stream, client',
  'bytes per idle stream, server',
  'resident bytes, both ends',
].entries()) {
  line(
    what,
    ours[at] ?? Number.NaN,
    theirs[at] ?? Number.NaN,
    (theirs[at] ?? Number.NaN) / (ours[at] ?? Number.NaN),
  );
}
