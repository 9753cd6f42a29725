/**
 * One tunnelled connection as both sides see it: what the owner may do with it, and its state inside the connection.
 *
 * A stream is one plain object and nothing else (no emitter, no Duplex, no closures), since there is one for every
 * application connection. All acting on it is done by the connection's parts, through StreamHost.
 */
import type { CulvertError } from '../../base/errors.ts';
import type { ByteQueue } from './byte-queue.ts';
import type { HeaderField } from './header-table.ts';

export type { ConnectHeaders } from './header-rules.ts';
export type { HeaderField } from './header-table.ts';

/**
 * What the owner of a stream is told. Callbacks run inside the connection's own reading or writing: they return fast and
 * do not throw (one that throws ends the connection with H2_HANDLER_FAILED).
 */
export interface H2StreamHandlers {
  /** Client only: the final response. */
  onHeaders?(status: number, headers: readonly HeaderField[]): void;
  /**
   * Bytes from the peer. The chunk is the owner's to keep, though not to write to. An owner that is through with it by the end
   * of the call returns true: then its memory is read into again, which is a good deal faster.
   */
  onData(chunk: Buffer): boolean | void;
  /** The peer sends no more. */
  onEnd(): void;
  /**
   * The peer reset the stream, or the connection is lost (then `cause` says how). REFUSED_STREAM: the peer did nothing
   * with it, so it may be tried again elsewhere. Bytes that arrived before are delivered before.
   */
  onReset(code: number, cause: CulvertError | null): void;
  /** After write() returned false: go on. */
  onDrain(): void;
  /** The stream is gone, however it ended, and nothing else will be called. Exactly once. */
  onClose?(): void;
}

export interface H2Stream {
  readonly id: number;
  /** Set by the owner inside onRequest (server) or given to connect() (client). */
  handlers: H2StreamHandlers;
  /** Payload bytes received, whether delivered yet or not. */
  readonly bytesReceived: number;
  /** Payload bytes handed to the transport. */
  readonly bytesSent: number;
  /** Bytes that write() took and that still wait for a window or the transport. */
  readonly queuedBytes: number;
  /** True once the stream no longer counts for the connection. */
  readonly closed: boolean;
  /**
   * Server: answers the request, once. After 2xx what the peer sent early is delivered; any other status ends the stream.
   * Throws CulvertError H2_BAD_HEADER or H2_HEADERS_TOO_LARGE. Does nothing on a closed stream.
   */
  respond(status: number, headers?: readonly HeaderField[]): void;
  /**
   * Sends bytes. True: all were copied out, the chunk's memory is the caller's again. False: the rest is kept, the chunk must not
   * change, and onDrain says when to go on. After the peer reset the stream bytes are dropped and the answer is true.
   * Throws CulvertError H2_WRITE_AFTER_END.
   */
  write(chunk: Buffer): boolean;
  /** Ends our direction after what was written. */
  end(): void;
  /** Aborts both directions; what was not sent or delivered is dropped. onReset is not called for it, onClose is. */
  reset(code: number): void;
  /** Holds deliveries and the peer's window back; what is on its way is kept, at most one window. */
  pause(): void;
  resume(): void;
}

/** State bits of a stream. Our HEADERS are out: the request of a client, the response of a server. */
export const headersSent = 1 << 0;
/** Client: the final response has come. */
export const headersSeen = 1 << 1;
export const localEndAsked = 1 << 2;
export const localEndSent = 1 << 3;
export const remoteEnded = 1 << 4;
export const endDelivered = 1 << 5;
export const paused = 1 << 6;
/** Server: nothing is delivered before the 2xx. */
export const held = 1 << 7;
export const drainWanted = 1 << 8;
export const delivering = 1 << 9;
/** No longer in the connection's table. */
export const detached = 1 << 10;
/** Nothing more will be called. */
export const finished = 1 << 11;
/** Paused at some time since the last WINDOW_UPDATE: its consumer is not the fastest, so its window does not grow. */
export const pausedLately = 1 << 12;
/** Detached with undelivered bytes: still costs us, though the peer has its slot back. */
export const lingers = 1 << 13;
/** The response was 2xx: from here on the stream carries DATA only. */
export const tunnelled = 1 << 14;

/** What the connection does for its streams. */
export interface StreamHost {
  respond(stream: Stream, status: number, headers: readonly HeaderField[]): void;
  write(stream: Stream, chunk: Buffer): boolean;
  end(stream: Stream): void;
  reset(stream: Stream, code: number): void;
  deliver(stream: Stream): void;
}

const noFields: readonly HeaderField[] = [];

export class Stream implements H2Stream {
  readonly id: number;
  readonly #host: StreamHost;
  handlers: H2StreamHandlers;
  flags: number;
  /** What the peer still lets us send; negative after it shrank its INITIAL_WINDOW_SIZE. */
  sendWindow: number;
  /** What we still let the peer send. */
  receiveWindow: number;
  /** What receiveWindow is filled up to. */
  windowBytes: number;
  /** Taken by the owner and not yet given back to the peer. */
  credit = 0;
  bytesReceived = 0;
  bytesSent = 0;
  sendQueue: ByteQueue | null = null;
  receiveQueue: ByteQueue | null = null;
  /** Wire code of a reset that waits for deliveries, or -1. */
  pendingReset = -1;
  list: StreamList | null = null;
  previous: Stream | null = null;
  next: Stream | null = null;

  constructor(
    host: StreamHost,
    id: number,
    handlers: H2StreamHandlers,
    flags: number,
    sendWindow: number,
    windowBytes: number,
  ) {
    this.id = id;
    this.#host = host;
    this.handlers = handlers;
    this.flags = flags;
    this.sendWindow = sendWindow;
    this.receiveWindow = windowBytes;
    this.windowBytes = windowBytes;
  }

  get closed(): boolean {
    return (this.flags & detached) !== 0;
  }

  get queuedBytes(): number {
    return this.sendQueue === null ? 0 : this.sendQueue.length;
  }

  respond(status: number, headers: readonly HeaderField[] = noFields): void {
    this.#host.respond(this, status, headers);
  }

  write(chunk: Buffer): boolean {
    return this.#host.write(this, chunk);
  }

  end(): void {
    this.#host.end(this);
  }

  reset(code: number): void {
    this.#host.reset(this, code);
  }

  pause(): void {
    this.flags |= paused | pausedLately;
  }

  resume(): void {
    if ((this.flags & paused) === 0) return;
    this.flags &= ~paused;
    this.#host.deliver(this);
  }
}

/** An intrusive first-in first-out list; a stream is in one list at most, and leaves it in constant time. */
export class StreamList {
  first: Stream | null = null;
  #last: Stream | null = null;

  push(stream: Stream): void {
    if (stream.list === this) return;
    stream.list?.remove(stream);
    stream.list = this;
    stream.previous = this.#last;
    if (this.#last === null) this.first = stream;
    else this.#last.next = stream;
    this.#last = stream;
  }

  remove(stream: Stream): void {
    if (stream.list !== this) return;
    if (stream.previous === null) this.first = stream.next;
    else stream.previous.next = stream.next;
    if (stream.next === null) this.#last = stream.previous;
    else stream.next.previous = stream.previous;
    stream.list = null;
    stream.previous = null;
    stream.next = null;
  }
}
