/**
 * Proves that this kernel carries a passage and a join rightly, before any pod's traffic is left to them.
 *
 * Two connections of the agent to itself on loopback, with maps and programs of their own that hang on the agent's cgroup
 * alone. The first is a passage over plain TCP; the second is joined, held back by a reader that does not read, goes over
 * to TCP and back into the join. Bytes are compared, the kernel's books must have them all, and a revoked passage
 * must refuse the next write. A kernel that does anything else gets no kernel path, or none with joins.
 */
import { closeSync, openSync } from 'node:fs';
import type net from 'node:net';
import { CulvertError, describeError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import {
  decodePathEvents,
  encodeAllowed,
  encodeGrant,
  encodePathConfig,
  encodeSlot,
  type Passage,
} from './kernel-path-abi.ts';
import { proveLegs } from './leg-join-selftest.ts';
import { encodeCookie, encodeIndex, encodePod } from './redirect-abi.ts';
import { countOf } from './redirect-counters.ts';
import { closeAll } from './redirect-pins.ts';
import { fdOf, Listener } from './redirect-probe.ts';
import { createMaps, withPathPrograms, type Maps } from './redirect-programs.ts';

/** What this kernel can be trusted with; `problem` says why no more. */
export interface PathFitness {
  readonly direct: boolean;
  readonly joins: boolean;
  /** Also of legs. */
  readonly legs: boolean;
  readonly problem: string | null;
}

const nothing = { direct: false, joins: false, legs: false } as const;

const loopback = '127.0.0.1';
const limit = 65_536;
const chunkBytes = 32_768;
/** Far beyond the limit, and then a little more when all of it was read: into the join, out of it, and in again. */
const floodChunks = 32;
const pieceBytes = 128;
const pieceEveryMs = 2;
const passageBytes = (floodChunks + 1) * chunkBytes;
const deadlineMs = 5_000;

/** Runs the test in the agent's own namespace and cgroup. Never throws. */
export async function pathFitness(agentCgroup: string): Promise<PathFitness> {
  const netns = native.openNetns('/proc/self/ns/net');
  let maps: Maps | null = null;
  try {
    const own = (maps = createMaps());
    return await withPathPrograms(own, async programs => {
      const cgroup = openSync(agentCgroup, 'r');
      const link = native.attachCgroup(programs.passages, cgroup, 'sock_ops');
      try {
        native.attachSockmap(programs.join, own.joined);
        return await test(own, netns);
      } finally {
        native.close(link);
        closeSync(cgroup);
      }
    });
  } catch (error) {
    return { ...nothing, problem: describeError(error) };
  } finally {
    if (maps !== null) closeAll(maps);
    native.close(netns);
  }
}

async function test(maps: Maps, netns: number): Promise<PathFitness> {
  const stage = new Stage(maps, netns);
  try {
    await stage.passage(false);
    stage.destroyed = await stage.destroy();
  } catch (error) {
    return { ...nothing, problem: describeError(error) };
  }
  if (!stage.destroyed)
    return { ...nothing, problem: 'connections of others cannot be ended (SOCK_DESTROY)' };
  try {
    await stage.passage(true);
    await stage.revoked();
  } catch (error) {
    return { ...nothing, direct: true, problem: `no joins: ${describeError(error)}` };
  }
  try {
    await proveLegs(maps, netns);
    return { direct: true, joins: true, legs: true, problem: null };
  } catch (error) {
    return { direct: true, joins: true, legs: false, problem: `no joined legs: ${describeError(error)}` };
  }
}

class Stage {
  destroyed = false;
  readonly #maps: Maps;
  readonly #netns: number;
  readonly #cookie: bigint;
  readonly #reader: native.RingbufReader;
  #serial = 1;

  constructor(maps: Maps, netns: number) {
    this.#maps = maps;
    this.#netns = netns;
    this.#cookie = native.netnsCookie(netns);
    this.#reader = new native.RingbufReader(maps.path_events);
    const pod = { ip4: loopback, ip6: null, failMode: 'open', dnsCapture: false, generation: 1 } as const;
    native.mapUpdate(maps.pods, encodeCookie(this.#cookie), encodePod(pod), 'any');
  }

  /** One connection with bytes both ways, and its books. */
  async passage(joined: boolean): Promise<void> {
    this.#configure(joined);
    await using listener = await Listener.open(this.#netns, 4);
    const { accepted, dialled } = await this.#meet(listener);
    const [up, down] = [pattern(1), pattern(2)];
    // Neither side reads yet: what is written now goes beyond the limit.
    flood(dialled, up);
    flood(accepted, down);
    const ends = [compare(dialled, down), compare(accepted, up)];
    const all = Promise.all(ends.map(({ ended }) => ended));
    await inTime(Promise.race([Promise.all(ends.map(({ flooded }) => flooded)), all]), 'a flood of bytes');
    const enough = (): boolean => !joined || countOf(this.#maps, 'path_to_join') >= 4;
    await Promise.all([finish(dialled, up, enough), finish(accepted, down, enough)]);
    for (const socket of [dialled, accepted]) socket.end();
    await inTime(all, 'the bytes of a passage');
    const passage = await this.#closed();
    must(passage.accepted, 'the accepted socket was not recognised');
    must(passage.joined === joined, joined ? 'the sockets were not joined' : 'joined without being fit');
    must(
      passage.up === passageBytes && passage.down === passageBytes,
      `the books say ${passage.up} and ${passage.down} bytes, and it were ${passageBytes}`,
    );
    if (joined) {
      const [inside, outside] = [countOf(this.#maps, 'path_to_join'), countOf(this.#maps, 'path_to_tcp')];
      must(inside >= 4 && outside >= 2, `${inside} turns into the join and ${outside} out of it`);
    }
  }

  /** Whether a connection can be ended from outside. */
  async destroy(): Promise<boolean> {
    await using listener = await Listener.open(this.#netns, 4);
    const { accepted, dialled } = await this.#meet(listener);
    const reset = new Promise<void>(resolve => dialled.once('error', () => resolve()));
    dialled.resume();
    accepted.on('error', () => {}).resume();
    const [local, remote] = [accepted.localPort ?? 0, accepted.remotePort ?? 0];
    const found = native.destroyConnection(
      this.#netns,
      { address: loopback, port: local },
      { address: loopback, port: remote },
    );
    if (found) await inTime(reset, 'the reset of a destroyed connection');
    for (const socket of [accepted, dialled]) socket.destroy();
    await this.#closed();
    return found;
  }

  /** A write into a joined passage whose grant is gone. */
  async revoked(): Promise<void> {
    this.#configure(true);
    await using listener = await Listener.open(this.#netns, 4);
    const { accepted, dialled } = await this.#meet(listener);
    let arrived = 0;
    accepted.on('error', () => {}).on('data', chunk => (arrived += chunk.length));
    this.#serial += 1;
    this.#grant(true);
    const refused = new Promise<NodeJS.ErrnoException>(resolve => dialled.once('error', resolve));
    dialled.write('x');
    const { code } = await inTime(refused, 'the refusal of a revoked write');
    must(code === 'EACCES' && arrived === 0, `a revoked write: ${String(code)}, ${arrived} bytes arrived`);
    accepted.destroy();
    dialled.destroy();
    await this.#closed();
  }

  #configure(joins: boolean): void {
    const config = { enabled: true, joins, limit, graceMs: 0 };
    native.mapUpdate(this.#maps.path_config, encodeIndex(0), encodePathConfig(config), 'any');
    this.#grant(joins);
  }

  #grant(fit: boolean): void {
    native.mapUpdate(this.#maps.grants, encodeSlot(0), encodeGrant(this.#serial, fit), 'any');
  }

  async #meet(listener: Listener): Promise<{ accepted: net.Socket; dialled: net.Socket }> {
    const [fd] = native.tcpSockets(this.#netns, 4, 1);
    if (fd === undefined) throw new CulvertError('SELF_TEST_NO_SOCKET', 'no socket');
    const target = { address: loopback, port: listener.port };
    const verdict = { destination: this.#cookie, slot: 0, serial: this.#serial };
    native.mapUpdate(this.#maps.passage_sock, encodeIndex(fd), encodeAllowed(target, verdict), 'any');
    const { accepted, dialled } = await listener.meet(fd, target);
    must(fdOf(accepted) >= 0, 'the accepted socket is gone');
    return { accepted, dialled };
  }

  /** The books of the passage that has just ended. */
  async #closed(): Promise<Passage> {
    const until = performance.now() + deadlineMs;
    while (performance.now() < until) {
      const events = decodePathEvents(this.#reader.read() ?? Buffer.alloc(0));
      for (const event of events) if (event.kind === 'closed') return event.passage;
      await new Promise(resolve => setTimeout(resolve, 2));
    }
    throw new CulvertError('SELF_TEST_TIMEOUT', 'the end of a passage was not told');
  }
}

/** Bytes of which none stands where its neighbour of the same or the other direction would. */
function pattern(seed: number): Buffer {
  const bytes = Buffer.alloc(passageBytes);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = (at * 31 + (at >> 8) * 7 + seed * 101) & 0xff;
  return bytes;
}

function flood(socket: net.Socket, bytes: Buffer): void {
  for (let chunk = 0; chunk < floodChunks; chunk += 1)
    socket.write(bytes.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes));
}

/** Compares all that comes; resolves when the other direction has ended, after telling that the flood is over. */
function compare(socket: net.Socket, theirs: Buffer): { flooded: Promise<void>; ended: Promise<void> } {
  let at = 0;
  const flooded = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  socket.on('error', ended.reject);
  socket.on('data', (chunk: Buffer) => {
    if (!theirs.subarray(at, at + chunk.length).equals(chunk))
      ended.reject(wrong(`wrong bytes between ${at} and ${at + chunk.length}`));
    at += chunk.length;
    if (at >= floodChunks * chunkBytes) flooded.resolve();
  });
  socket.on('end', () => {
    if (at === passageBytes) ended.resolve();
    else ended.reject(wrong(`ended after ${at} of ${passageBytes} bytes`));
  });
  socket.resume();
  return { flooded: flooded.promise, ended: ended.promise };
}

/** The rest in small writes, since a direction returns to the join only when its reader has acknowledged all of TCP. */
async function finish(socket: net.Socket, bytes: Buffer, enough: () => boolean): Promise<void> {
  let at = floodChunks * chunkBytes;
  for (; at < bytes.length && !enough(); at += pieceBytes) {
    socket.write(bytes.subarray(at, at + pieceBytes));
    await new Promise(resolve => setTimeout(resolve, pieceEveryMs));
  }
  socket.write(bytes.subarray(at));
}

async function inTime<T>(awaited: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new CulvertError('SELF_TEST_TIMEOUT', `${what} did not come within ${deadlineMs} ms`)),
      deadlineMs,
    );
  });
  try {
    return await Promise.race([awaited, late]);
  } finally {
    clearTimeout(timer);
  }
}

function wrong(why: string): CulvertError {
  return new CulvertError('SELF_TEST_WRONG', why);
}

function must(condition: boolean, why: string): void {
  if (!condition) throw wrong(why);
}
