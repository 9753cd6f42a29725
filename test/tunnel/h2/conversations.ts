/**
 * Short conversations of node:http2 (nghttp2) with each role of ours, as bytes to be replayed, and owners of streams
 * that notice what must not happen to them.
 */
import http2 from 'node:http2';
import { Duplex } from 'node:stream';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2Stream, H2StreamHandlers } from '../../../tunnel/h2/stream.ts';
import { ManualClock, settle } from './raw-peer.ts';

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
export class Watch implements H2StreamHandlers {
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
export async function recordClient(): Promise<Buffer> {
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
  while (!connection.closed) await settle();
  return Buffer.concat(theirs.written);
}

/** What a server of node says to a client of ours. */
export async function recordServer(): Promise<Buffer> {
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
  while (connection.openStreams > 0) await settle();
  session.goaway();
  await settle();
  if (watches.some(watch => !watch.closed)) throw new Error('the recording is not complete');
  return Buffer.concat(theirs.written);
}

/** A client of ours with six tunnels that have said what they had to say. */
export function client(
  transport: Duplex,
  clock = new ManualClock(),
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
