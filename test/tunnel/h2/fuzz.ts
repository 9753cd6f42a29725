/**
 * What nghttp2 says, bent: recorded conversations of node:http2 are mutated and given to both roles of ours. Whatever comes, nothing
 * throws, everything ends, and every stream's owner is told so exactly once and nothing after.
 */
import http2 from 'node:http2';
import { Duplex } from 'node:stream';
import * as fc from 'fast-check';
import t from 'tap';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2Stream, H2StreamHandlers } from '../../../tunnel/h2/stream.ts';
import * as raw from './raw-peer.ts';

/** One end of a pipe that keeps what is written to it. */
class Recorder extends Duplex {
  other: Recorder | null = null;
  readonly written: Buffer[] = [];
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written.push(Buffer.from(chunk));
    this.other?.push(Buffer.from(chunk));
    done();
  }
}

function pipe(): [Recorder, Recorder] {
  const [left, right] = [new Recorder(), new Recorder()];
  left.other = right;
  right.other = left;
  return [left, right];
}

/** Notes calls that must not be. */
class Watch implements H2StreamHandlers {
  readonly wrong: string[] = [];
  readonly #echoes: boolean;
  #closed = false;
  #stream: H2Stream | null = null;
  constructor(role: 'client' | 'server') {
    this.#echoes = role === 'server';
  }
  attach(stream: H2Stream): void {
    this.#stream = stream;
  }
  get closed(): boolean {
    return this.#closed;
  }
  #check(what: string): void {
    if (this.#closed) this.wrong.push(`${what} after close`);
  }
  onHeaders(): void {
    this.#check('headers');
    this.#stream?.write(Buffer.alloc(5000, 'u'));
    this.#stream?.end();
  }
  onData(chunk: Buffer): void {
    this.#check('data');
    if (this.#echoes) this.#stream?.write(chunk);
    if (chunk.length % 3 === 0) {
      this.#stream?.pause();
      setImmediate(() => this.#stream?.resume());
    }
  }
  onDrain(): void {
    this.#check('drain');
  }
  onEnd(): void {
    this.#check('end');
    if (this.#echoes) this.#stream?.end();
  }
  onReset(): void {
    this.#check('reset');
  }
  onClose(): void {
    this.#check('close');
    this.#closed = true;
  }
}

/** What a client of node says to a server of ours in a short conversation. */
async function recordClient(): Promise<Buffer> {
  const [theirs, ours] = pipe();
  const connection = new H2Connection({
    transport: ours,
    role: 'server',
    handlers: {
      onClose: () => {},
      onRequest: stream => {
        const watch = new Watch('server');
        watch.attach(stream);
        stream.handlers = watch;
        stream.respond(200, [['baggage', 'x=y']]);
      },
    },
  });
  const session = http2.connect('http://localhost', { createConnection: () => theirs });
  const streams = Array.from({ length: 6 }, (_, at) => {
    const stream = session.request({
      ':method': 'CONNECT',
      ':authority': `10.0.0.${at}:80`,
      baggage: 'a=b'.repeat(at + 1),
    });
    stream.resume().on('error', () => {});
    stream.write(Buffer.alloc(100 * at, 'd'));
    if (at === 4) stream.close(8);
    else stream.end('end');
    return new Promise(resolve => stream.once('close', resolve));
  });
  await new Promise(resolve => session.ping(resolve));
  session.settings({ initialWindowSize: 70_000 });
  await Promise.all(streams);
  session.close();
  while (!connection.closed) await raw.settle();
  return Buffer.concat(theirs.written);
}

/** What a server of node says to a client of ours. */
async function recordServer(): Promise<Buffer> {
  const [theirs, ours] = pipe();
  const session = http2.performServerHandshake(theirs);
  session.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    stream.respond({
      ':status': headers[':authority'] === 'a:3' ? 503 : 200,
      baggage: 'k8s.namespace.name=default',
    });
    stream.pipe(stream);
    if (headers[':authority'] === 'a:4') stream.close(8);
  });
  session.on('error', () => {});
  const { connection, watches } = client(ours);
  while (connection.openStreams > 0) await raw.settle();
  session.goaway();
  await raw.settle();
  if (watches.some(watch => !watch.closed)) throw new Error('the recording is not complete');
  return Buffer.concat(theirs.written);
}

/** A client of ours with six tunnels that have said what they had to say. */
function client(
  transport: Duplex,
  clock = new raw.ManualClock(),
): { connection: H2Connection; watches: Watch[] } {
  const connection = new H2Connection({ transport, role: 'client', clock, handlers: { onClose: () => {} } });
  const watches = Array.from({ length: 6 }, (_, at) => {
    const watch = new Watch('client');
    const stream = connection.connect(`a:${at}`, [], watch);
    watch.attach(stream);
    stream.write(Buffer.from(`hello ${at}`));
    return watch;
  });
  return { connection, watches };
}

type Mutation = (bytes: Buffer) => Buffer;

const at = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const place = (bytes: Buffer, part: number): number => Math.floor(part * bytes.length);
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(at, fc.integer({ min: 0, max: 255 })).map(([part, byte]): Mutation => bytes => {
    const changed = Buffer.from(bytes);
    if (changed.length > 0) changed[place(bytes, part)] = byte;
    return changed;
  }),
  fc.tuple(at, fc.uint8Array({ maxLength: 40 })).map(([part, noise]): Mutation => bytes => {
    const cut = place(bytes, part);
    return Buffer.concat([bytes.subarray(0, cut), noise, bytes.subarray(cut)]);
  }),
  fc.tuple(at, fc.integer({ min: 1, max: 60 })).map(([part, count]): Mutation => bytes => {
    const cut = place(bytes, part);
    return Buffer.concat([bytes.subarray(0, cut), bytes.subarray(cut + count)]);
  }),
  at.map(
    (part): Mutation =>
      bytes =>
        bytes.subarray(0, place(bytes, part)),
  ),
);
/** Whole frames dropped, doubled, moved, or with another type, flag, stream or length. */
const frameMutation: fc.Arbitrary<Mutation> = fc
  .tuple(
    at,
    at,
    fc.constantFrom('drop', 'double', 'move', 'type', 'flags', 'id', 'length'),
    fc.integer({ min: 0, max: 255 }),
  )
  .map(([from, to, how, byte]): Mutation => bytes => {
    const skip = bytes.subarray(0, 3).toString() === 'PRI' ? raw.clientPreface.length : 0;
    const { frames, rest } = raw.parseFrames(bytes.subarray(skip));
    const parts = frames.map(({ type, flags, id, payload }) => raw.frame(type, flags, id, payload));
    const picked = Math.floor(from * parts.length);
    const part = Buffer.from(parts[picked] ?? '');
    const target = Math.floor(to * parts.length);
    if (how === 'drop') parts.splice(picked, 1);
    else if (how === 'double') parts.splice(target, 0, part);
    else if (how === 'move') parts.splice(target, 0, ...parts.splice(picked, 1));
    else if (part.length > 0) {
      part[{ type: 3, flags: 4, id: 8, length: 2 }[how]] = how === 'type' ? byte % 11 : byte;
      parts[picked] = part;
    }
    return Buffer.concat([bytes.subarray(0, skip), ...parts, rest]);
  });
const mutations = fc.array(
  fc.oneof({ weight: 1, arbitrary: mutation }, { weight: 2, arbitrary: frameMutation }),
  { minLength: 1, maxLength: 6 },
);
const cuts = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 6 });

/** Gives mutated bytes to a connection, then ends it, and says what went wrong. */
async function endure(
  peer: raw.TestTransport,
  clock: raw.ManualClock,
  connection: H2Connection,
  bytes: Buffer,
  lengths: readonly number[],
): Promise<string[]> {
  let turn = 0;
  for (let from = 0; from < bytes.length; turn += 1) {
    const length = lengths[turn % lengths.length] ?? 1;
    peer.push(bytes.subarray(from, from + length));
    from += length;
  }
  await raw.settle();
  clock.advance(100_000);
  const wrong: string[] = [];
  if (!connection.closed) wrong.push('a silent connection is not closed');
  if (connection.openStreams !== 0) wrong.push('streams are left');
  if (clock.pending !== 0 && peer.destroyed) wrong.push('timers are left');
  peer.destroy();
  await raw.settle();
  return wrong;
}

t.test('a server of ours', async t => {
  const conversation = await recordClient();
  t.ok(conversation.length > 1000);
  await fc.assert(
    fc.asyncProperty(mutations, cuts, async (mutations, lengths) => {
      const watches: Watch[] = [];
      const peer = new raw.RawPeer(
        'server',
        {},
        {
          onRequest: (stream, request) => {
            const watch = new Watch('server');
            watch.attach(stream);
            watches.push(watch);
            stream.handlers = watch;
            stream.respond(request.method === 'CONNECT' ? 200 : 400);
          },
        },
      );
      const bytes = mutations.reduce((bytes, mutate) => mutate(bytes), conversation);
      const wrong = await endure(peer.transport, peer.clock, peer.connection, bytes, lengths);
      for (const watch of watches)
        wrong.push(...watch.wrong, ...(watch.closed ? [] : ['a stream was not closed']));
      if (wrong.length > 0) throw new Error(wrong.join(', '));
    }),
    { numRuns: 1500 },
  );
});

t.test('a client of ours', async t => {
  const conversation = await recordServer();
  t.ok(conversation.length > 20_000);
  await fc.assert(
    fc.asyncProperty(mutations, cuts, async (mutations, lengths) => {
      const [transport, clock] = [new raw.TestTransport(), new raw.ManualClock()];
      const { connection, watches } = client(transport, clock);
      const bytes = mutations.reduce((bytes, mutate) => mutate(bytes), conversation);
      const wrong = await endure(transport, clock, connection, bytes, lengths);
      for (const watch of watches)
        wrong.push(...watch.wrong, ...(watch.closed ? [] : ['a stream was not closed']));
      if (wrong.length > 0) throw new Error(wrong.join(', '));
    }),
    { numRuns: 1500 },
  );
});
