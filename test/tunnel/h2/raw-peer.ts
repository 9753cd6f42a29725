/**
 * The other end of a connection under test, byte by byte: builds frames by hand, reads what our side wrote, moves the clock.
 *
 * Nothing of tunnel/h2 is used to build or read frames here, so a mistake there cannot hide itself.
 */
import { Duplex } from 'node:stream';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2ConnectionHandlers, H2ConnectionOptions } from '../../../tunnel/h2/connection.ts';
import type { ConnectHeaders, H2Stream, H2StreamHandlers } from '../../../tunnel/h2/stream.ts';
import type { CulvertError } from '../../../base/errors.ts';

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;

export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [at, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, at * 4);
  return bytes;
}

export function frame(type: number, flags: number, id: number, payload: Buffer | string = ''): Buffer {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, body]);
}

export function settings(...entries: (readonly [id: number, value: number])[]): Buffer {
  const bytes = Buffer.alloc(entries.length * 6);
  for (const [at, [id, value]] of entries.entries()) {
    bytes.writeUInt16BE(id, at * 6);
    bytes.writeUInt32BE(value, at * 6 + 2);
  }
  return frame(SETTINGS, 0, 0, bytes);
}

/** A header block of literals without indexing; every string shorter than 127 bytes. */
export function block(...fields: (readonly [name: string, value: string])[]): Buffer {
  const text = (value: string): Buffer =>
    Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
  return Buffer.concat(
    fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])),
  );
}

export const connectBlock = block([':method', 'CONNECT'], [':authority', '10.0.0.1:80']);
export const okBlock = block([':status', '200']);

export function connectFrame(id: number, flags = END_HEADERS): Buffer {
  return frame(HEADERS, flags, id, connectBlock);
}

/** Cuts bytes into frames; what is left over stays. */
export function parseFrames(bytes: Buffer): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = [];
  let at = 0;
  while (bytes.length - at >= 9) {
    const length = bytes.readUIntBE(at, 3);
    if (bytes.length - at < 9 + length) break;
    const payload = bytes.subarray(at + 9, at + 9 + length);
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      id: bytes.readUInt32BE(at + 5),
      payload,
    });
    at += 9 + length;
  }
  return { frames, rest: bytes.subarray(at) };
}

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

/** The wire code of the GOAWAY among the frames, or null. */
export function goawayCode(frames: readonly Frame[]): number | null {
  const goaway = frames.filter(({ type }) => type === GOAWAY).at(-1);
  return goaway === undefined ? null : goaway.payload.readUInt32BE(4);
}

/** The wire code of the RST_STREAM for `id` among the frames, or null. */
export function resetCode(frames: readonly Frame[], id: number): number | null {
  const reset = frames.find(({ type, id: of }) => type === RST_STREAM && of === id);
  return reset === undefined ? null : reset.payload.readUInt32BE(0);
}
