/**
 * The other end of a connection under test: sends frames made by hand, reads what our side wrote, moves the clock.
 */
import { Duplex } from 'node:stream';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2ConnectionHandlers, H2ConnectionOptions } from '../../../tunnel/h2/connection.ts';
import type { ConnectHeaders, H2Stream, H2StreamHandlers } from '../../../tunnel/h2/stream.ts';
import type { CulvertError } from '../../../base/errors.ts';
import { ACK, SETTINGS, clientPreface, connectFrame, frame, parseFrames, settings } from './raw-frames.ts';
import type { Frame } from './raw-frames.ts';

/** Time that passes when told to. */
export class ManualClock {
  #now = 0;
  #next = 1;
  readonly #timers = new Map<number, { at: number; callback: () => void }>();

  now(): number {
    return this.#now;
  }

  setTimeout(callback: () => void, ms: number): unknown {
    this.#timers.set(this.#next, { at: this.#now + ms, callback });
    this.#next += 1;
    return this.#next - 1;
  }

  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = [...this.#timers]
        .filter(([, { at }]) => at <= until)
        .sort(([, a], [, b]) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = due[1].at;
      due[1].callback();
    }
    this.#now = until;
  }

  get pending(): number {
    return this.#timers.size;
  }
}

/** A transport whose other end is the test. */
export class TestTransport extends Duplex {
  #written: Buffer = Buffer.alloc(0);
  #stalled: (() => void)[] | null = null;
  /** Our side has ended it. */
  ended = false;

  constructor() {
    super({ autoDestroy: true, allowHalfOpen: true, highWaterMark: 1 << 30 });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#written = Buffer.concat([this.#written, chunk]);
    if (this.#stalled === null) done();
    else this.#stalled.push(done);
  }

  override _final(done: () => void): void {
    this.ended = true;
    done();
  }

  /** From now on writes are taken but not completed, like those of a peer that does not read. */
  stall(): void {
    this.#stalled ??= [];
  }

  unstall(): void {
    const waiting = this.#stalled ?? [];
    this.#stalled = null;
    for (const done of waiting) done();
  }

  /** What our side wrote since the last call. */
  taken(): Buffer {
    const bytes = this.#written;
    this.#written = Buffer.alloc(0);
    return bytes;
  }
}

/** Lets everything that waits for the end of a turn happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise(resolve => setImmediate(resolve));
}

export interface Seen {
  readonly requests: { readonly stream: H2Stream; readonly request: ConnectHeaders }[];
  goaways: number;
  capacities: number;
  /** undefined until the connection is closed. */
  closed: CulvertError | null | undefined;
}

/** A connection of ours and its hand-made peer. */
export class RawPeer {
  readonly transport = new TestTransport();
  readonly clock = new ManualClock();
  readonly connection: H2Connection;
  readonly seen: Seen = { requests: [], goaways: 0, capacities: 0, closed: undefined };
  #rest: Buffer = Buffer.alloc(0);
  #prefaceLeft: number;

  constructor(
    role: 'client' | 'server',
    options: Partial<H2ConnectionOptions> = {},
    handlers: Partial<H2ConnectionHandlers> = {},
  ) {
    this.#prefaceLeft = role === 'client' ? clientPreface.length : 0;
    this.connection = new H2Connection({
      transport: this.transport,
      role,
      clock: this.clock,
      ...options,
      handlers: {
        onRequest: (stream, request) => this.seen.requests.push({ stream, request }),
        onGoaway: () => (this.seen.goaways += 1),
        onCapacity: () => (this.seen.capacities += 1),
        onClose: error => (this.seen.closed = error),
        ...handlers,
      },
    });
  }

  /** Sends bytes to our side and lets it act. */
  async send(...parts: Buffer[]): Promise<void> {
    this.transport.push(Buffer.concat(parts));
    await settle();
  }

  /** Sends what every peer begins with; returns our side's first frames. */
  async greet(...entries: (readonly [id: number, value: number])[]): Promise<Frame[]> {
    const hello = this.connection.role === 'server' ? [clientPreface] : [];
    await this.send(...hello, settings(...entries), frame(SETTINGS, ACK, 0));
    return this.frames();
  }

  /** Frames that our side wrote since the last call. */
  async frames(): Promise<Frame[]> {
    await settle();
    let bytes = Buffer.concat([this.#rest, this.transport.taken()]);
    const skip = Math.min(this.#prefaceLeft, bytes.length);
    this.#prefaceLeft -= skip;
    bytes = bytes.subarray(skip);
    const { frames, rest } = parseFrames(bytes);
    this.#rest = rest;
    return frames;
  }

  /** The last request, which must be there. */
  get stream(): H2Stream {
    const last = this.seen.requests.at(-1);
    if (last === undefined) throw new Error('no request has come');
    return last.stream;
  }
}

/** Handlers that note everything. */
export class Notes implements H2StreamHandlers {
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];

  get data(): Buffer {
    return Buffer.concat(this.chunks);
  }

  onHeaders(status: number): void {
    this.events.push(`headers ${status}`);
  }
  onData(chunk: Buffer): void {
    this.chunks.push(chunk);
  }
  onEnd(): void {
    this.events.push('end');
  }
  onReset(code: number, cause: CulvertError | null): void {
    this.events.push(cause === null ? `reset ${code}` : `reset ${code} ${cause.code}`);
  }
  onDrain(): void {
    this.events.push('drain');
  }
  onClose(): void {
    this.events.push('close');
  }
}

export interface OpenTunnel {
  readonly peer: RawPeer;
  readonly stream: H2Stream;
  readonly notes: Notes;
}

/** A server with stream 1 open and answered, and nothing unread. */
export async function openTunnel(
  entries: readonly (readonly [id: number, value: number])[] = [],
  options: Partial<H2ConnectionOptions> = {},
): Promise<OpenTunnel> {
  const peer = new RawPeer('server', options);
  await peer.greet(...entries);
  return { peer, ...(await openStream(peer, 1)) };
}

export async function openStream(peer: RawPeer, id: number): Promise<{ stream: H2Stream; notes: Notes }> {
  await peer.send(connectFrame(id));
  const notes = new Notes();
  const { stream } = peer;
  stream.handlers = notes;
  stream.respond(200);
  await peer.frames();
  return { stream, notes };
}
