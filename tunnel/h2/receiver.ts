/**
 * Receiving DATA: windows, delivery and what is kept for an owner that paused (RFC 9113 §5.2, §6.9).
 *
 * A stream's window is given back as its owner takes bytes, so a slow application holds back its sender and costs at most one
 * window of memory. The connection's window is given back as bytes arrive: one slow stream never stalls its neighbours,
 * and the sum of the streams' windows bounds them all. A stream whose owner keeps up earns a larger window.
 */
import { ByteQueue } from './byte-queue.ts';
import { flowControlFault } from './errors.ts';
import { defaultWindowBytes } from './frames.ts';
import type { H2Settings } from './settings.ts';
import { delivering, detached, finished, held, paused, pausedLately, remoteEnded } from './stream.ts';
import type { Stream } from './stream.ts';
import type { FrameWriter } from './writer.ts';

export class Receiver {
  readonly #writer: FrameWriter;
  readonly #settings: H2Settings;
  readonly #settle: (stream: Stream) => void;
  #window = defaultWindowBytes;
  #credit = 0;
  /** Bytes that windows may still grow by. */
  #growthLeft: number;
  /** What a new stream may send: until the peer has acknowledged our SETTINGS, it may go by the RFC's 65 535. */
  initialWindowBytes: number;
  bytesReceived = 0;
  /** Set when somebody keeps a chunk that was received: its memory is theirs. */
  chunkKept = false;

  /** @param settle runs when a stream's owner may have taken all there is */
  constructor(writer: FrameWriter, settings: H2Settings, settle: (stream: Stream) => void) {
    this.#writer = writer;
    this.#settings = settings;
    this.#settle = settle;
    this.#growthLeft = settings.connectionWindowBytes;
    this.initialWindowBytes = Math.max(defaultWindowBytes, settings.streamWindowBytes);
  }

  /** The peer goes by our SETTINGS from here on; its open streams shrink with them. */
  acknowledged(streams: Iterable<Stream>): void {
    const excess = this.initialWindowBytes - this.#settings.streamWindowBytes;
    this.initialWindowBytes -= excess;
    if (excess === 0) return;
    for (const stream of streams) {
      stream.receiveWindow -= excess;
      stream.windowBytes -= excess;
      // What was little of the large window may be all of the small one.
      if (stream.credit * 2 >= stream.windowBytes) this.#giveBack(stream);
    }
  }

  /** Opens the connection's window beyond what every connection begins with. */
  start(): void {
    const more = this.#settings.connectionWindowBytes - this.#window;
    if (more <= 0) return;
    this.#window += more;
    this.#writer.windowUpdate(0, more);
  }

  /** A DATA frame of `bytes` uses up the connection's window, whatever becomes of it. */
  takeConnection(bytes: number): void {
    this.#window -= bytes;
    if (this.#window < 0) throw flowControlFault('more DATA than the connection window allows');
    this.#credit += bytes;
    if (this.#credit * 2 < this.#settings.connectionWindowBytes) return;
    this.#writer.windowUpdate(0, this.#credit);
    this.#window += this.#credit;
    this.#credit = 0;
  }

  /** A DATA frame of `bytes` uses up the stream's window; false where that is too small. Padding is nobody's to take. */
  take(stream: Stream, bytes: number, padding: number): boolean {
    if (bytes > stream.receiveWindow) return false;
    stream.receiveWindow -= bytes;
    stream.credit += padding;
    return true;
  }

  data(stream: Stream, chunk: Buffer): void {
    stream.bytesReceived += chunk.length;
    this.bytesReceived += chunk.length;
    if (stream.receiveQueue !== null || (stream.flags & (paused | held | delivering)) !== 0) {
      stream.receiveQueue ??= new ByteQueue();
      if (stream.receiveQueue.push(chunk)) this.chunkKept = true;
      return;
    }
    stream.credit += chunk.length;
    if (stream.handlers.onData(chunk) !== true) this.chunkKept = true;
    if (stream.credit * 2 >= stream.windowBytes) this.#giveBack(stream);
  }

  /** Hands on what was kept, until the owner pauses again. */
  deliver(stream: Stream): void {
    if ((stream.flags & (delivering | held | finished)) !== 0) return;
    stream.flags |= delivering;
    try {
      while (stream.receiveQueue !== null && (stream.flags & (paused | finished)) === 0) {
        const chunk = stream.receiveQueue.peek();
        stream.receiveQueue.skip(chunk.length);
        if (stream.receiveQueue.length === 0) stream.receiveQueue = null;
        stream.credit += chunk.length;
        stream.handlers.onData(chunk);
      }
    } finally {
      stream.flags &= ~delivering;
    }
    if (stream.credit * 2 >= stream.windowBytes) this.#giveBack(stream);
    this.#settle(stream);
  }

  /** Takes back what a stream's window had grown by. */
  release(stream: Stream): void {
    this.#growthLeft += stream.windowBytes - this.initialWindowBytes;
    stream.windowBytes = this.initialWindowBytes;
  }

  #giveBack(stream: Stream): void {
    if ((stream.flags & (paused | remoteEnded | detached)) !== 0) return;
    let increment = stream.credit;
    if ((stream.flags & pausedLately) === 0) increment += this.#grow(stream);
    stream.flags &= ~pausedLately;
    stream.credit = 0;
    stream.receiveWindow += increment;
    this.#writer.windowUpdate(stream.id, increment);
  }

  /** Doubles the window of a stream that spends it as fast as it comes, within what all may have. */
  #grow(stream: Stream): number {
    const wanted = Math.min(stream.windowBytes, this.#settings.maxStreamWindowBytes - stream.windowBytes);
    const growth = Math.max(0, Math.min(wanted, this.#growthLeft));
    stream.windowBytes += growth;
    this.#growthLeft -= growth;
    return growth;
  }
}
