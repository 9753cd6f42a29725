/**
 * One measure each: a program in the client's pod talks to one in the server's, and a number comes out.
 *
 * Everything runs on one CPU. With two, most of what one would see is the cost of waking the other.
 */
import { CulvertError } from '../base/errors.ts';
import type { MeasureName } from './options.ts';
import type { Taken } from './pairs.ts';
import { eventLoadPort, httpPort, loadPort, nonblocking } from './stage-objects.ts';
import type { Pair, Stage } from './stage.ts';

export interface Measure {
  readonly name: MeasureName;
  readonly title: string;
  readonly unit: string;
  take(stage: Stage, pair: Pair, seconds: number): Promise<Taken>;
}

/** Connections that are opened at the same time where "concurrent" is said. */
export const concurrentClients = 16;
const concurrentStreams = 16;
export const httpConnections = 64;
/** Bytes that a stream's writer gives the kernel at a time. */
const streamWrite = 131_072;
/** Requests a second where the time of an answer is looked at, not how many there can be. */
export const pacedRate = 1_000;

export const measures: readonly Measure[] = [
  {
    name: 'rtt',
    title: 'round trip of 64 B, p50',
    unit: 'µs',
    take: async (stage, pair, seconds) => {
      const result = await load(stage, pair, 'rtt', seconds, '64');
      return { value: field(result, 'p50_us'), connections: 1 };
    },
  },
  {
    name: 'stream',
    title: 'one stream',
    unit: 'Gbit/s',
    take: async (stage, pair, seconds) => {
      const result = await load(stage, pair, 'stream', seconds);
      return { value: field(result, 'gbit_per_second'), connections: 1 };
    },
  },
  {
    name: 'streams',
    title: `${concurrentStreams} streams`,
    unit: 'Gbit/s',
    take: async (stage, pair, seconds) => {
      const streams = stage.load * concurrentStreams;
      const result = await load(stage, pair, 'stream', seconds, 'up', String(streamWrite), String(streams));
      return { value: field(result, 'gbit_per_second'), connections: streams };
    },
  },
  {
    name: 'connect',
    title: 'connect + 1 byte, serial',
    unit: '/s',
    take: async (stage, pair, seconds) => {
      const result = await load(stage, pair, 'connect', seconds);
      return { value: field(result, 'per_second'), connections: field(result, 'count') };
    },
  },
  {
    name: 'connects',
    title: `connect + 1 byte, ${concurrentClients} at a time`,
    unit: '/s',
    take: async (stage, pair, seconds) => {
      const result = await load(stage, pair, 'connect', seconds, String(stage.load * concurrentClients));
      return { value: field(result, 'per_second'), connections: field(result, 'count') };
    },
  },
  {
    name: 'http',
    title: `HTTP, ${httpConnections} connections`,
    unit: '/s',
    take: (stage, pair, seconds) => http(stage, pair, seconds, stage.load * httpConnections),
  },
  {
    name: 'paced',
    title: `HTTP, ${pacedRate} requests a second, p99`,
    unit: 'µs',
    take: async (stage, pair, seconds) => {
      const args = [httpPort, Math.max(2, seconds), pacedRate, httpConnections].map(String);
      const { stdout } = await pair.client.run(stage.tools.paced, [stage.addressOf(pair), ...args], {
        cpus: stage.cpus,
      });
      return { value: field(JSON.parse(stdout), 'p99_us'), connections: httpConnections };
    },
  },
];

/** Requests a second over so many connections, as wrk counts them in whole seconds. */
export async function http(stage: Stage, pair: Pair, seconds: number, connections: number): Promise<Taken> {
  const address = stage.addressOf(pair);
  const url = `http://${address.includes(':') ? `[${address}]` : address}:${httpPort}/`;
  const flags = [`-t${stage.load}`, `-c${connections}`, `-d${Math.ceil(seconds)}s`];
  const options = { cpus: stage.cpus, openFiles: 4_096 };
  const { stdout } = await pair.client.run('wrk', [...flags, url], options);
  return { value: requestsPerSecond(stdout), connections };
}

/** Reads what wrk prints; throws when one request failed, since such a run measures something else. */
export function requestsPerSecond(output: string): number {
  const wrong = /^\s*(Socket errors:.*|Non-2xx.*)$/m.exec(output)?.[1];
  const rate = /^Requests\/sec:\s+([\d.]+)$/m.exec(output)?.[1];
  if (wrong !== undefined || rate === undefined)
    throw new CulvertError('BENCH_RUN', `wrk: ${wrong ?? output.trim()}`);
  return Number(rate);
}

/** What the load program says of one run. */
export async function load(
  stage: Stage,
  pair: Pair,
  mode: string,
  seconds: number,
  ...more: string[]
): Promise<unknown> {
  const { client, waits } = pair;
  const port = waits ? loadPort : eventLoadPort;
  const args = [mode, stage.addressOf(pair), String(port), String(seconds), ...more];
  const env = waits ? {} : nonblocking;
  const { stdout } = await client.run(stage.tools.load, args, { cpus: stage.cpus, env });
  return JSON.parse(stdout);
}

/** A number of such a report. */
export function field(result: unknown, name: string): number {
  const value =
    typeof result === 'object' && result !== null ? (result as Record<string, unknown>)[name] : undefined;
  if (typeof value === 'number') return value;
  throw new CulvertError('BENCH_RUN', `the load program gave no ${name}`);
}
