/**
 * Sending DATA: windows, frames and turns (RFC 9113 §5.2, §6.9).
 *
 * A write goes straight into the output while both windows and the transport have room; the rest waits on its stream. Streams
 * that wait take turns of one quantum, so a bulk transfer does not hold up a small answer.
 */
import { CulvertError } from '../../base/errors.ts';
import { ByteQueue } from './byte-queue.ts';
import { flowControlFault } from './errors.ts';
import { FrameFlag, defaultWindowBytes, frameHeaderBytes, maxWindowBytes } from './frames.ts';
import { recordBytes, recordPayloadBytes } from './frames.ts';
import type { Output } from './output.ts';
import { StreamList, headersSent, detached, drainWanted, localEndAsked, localEndSent } from './stream.ts';
import type { Stream } from './stream.ts';
import type { FrameWriter } from './writer.ts';

/** A rest of a record that is not worth a frame of its own. */
const smallestPartBytes = 2048;
/** Bytes that a waiting stream may send before the next one's turn. */
const quantumBytes = recordPayloadBytes;
const nothing = Buffer.alloc(0);

export class Sender {
  readonly #output: Output;
  readonly #writer: FrameWriter;
  readonly #onLocalEnd: (stream: Stream) => void;
  /** Streams with queued bytes or an unsent end, and a window to send them. */
  readonly #ready = new StreamList();
  /** Streams whose owner waits for onDrain, with nothing queued. */
  readonly #waiting = new StreamList();
  #pumping = false;
  /** The connection's window: bytes the peer still takes. */
  window = defaultWindowBytes;
  bytesSent = 0;

  /** @param onLocalEnd runs when a stream's END_STREAM is in the output */
  constructor(output: Output, writer: FrameWriter, onLocalEnd: (stream: Stream) => void) {
    this.#output = output;
    this.#writer = writer;
    this.#onLocalEnd = onLocalEnd;
  }

  write(stream: Stream, chunk: Buffer): boolean {
    if ((stream.flags & detached) !== 0) return true;
    if ((stream.flags & localEndAsked) !== 0) {
      throw new CulvertError(
        'H2_WRITE_AFTER_END',
        `write of ${chunk.length} bytes on stream ${stream.id} after its end`,
      );
    }
    let at = 0;
    if (stream.queuedBytes === 0 && (stream.flags & headersSent) !== 0)
      at = this.#send(stream, chunk, 0, chunk.length, 0);
    if (at < chunk.length) {
      stream.sendQueue ??= new ByteQueue();
      stream.sendQueue.push(at === 0 ? chunk : chunk.subarray(at));
      if (stream.sendWindow > 0) this.#ready.push(stream);
    } else if (stream.sendWindow > 0 && this.window > 0 && this.#output.room > frameHeaderBytes) {
      return true;
    } else {
      this.#waiting.push(stream);
    }
    stream.flags |= drainWanted;
    return false;
  }

  end(stream: Stream): void {
    if ((stream.flags & (detached | localEndAsked)) !== 0) return;
    stream.flags |= localEndAsked;
    if (stream.queuedBytes === 0 && (stream.flags & headersSent) !== 0) this.#sendEnd(stream);
  }

  /** Sends what has a window, turn by turn, then tells the owners that may go on. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#blocked) {
      const ready = this.#ready.first;
      if (ready !== null) {
        this.#ready.remove(ready);
        this.#turn(ready);
        continue;
      }
      const waiting = this.#waiting.first;
      if (waiting === null) break;
      this.#waiting.remove(waiting);
      // A stream without a window is called when the peer opens one.
      if (waiting.sendWindow <= 0) continue;
      waiting.flags &= ~drainWanted;
      waiting.handlers.onDrain();
    }
    this.#pumping = false;
  }

  /** The peer takes `increment` more bytes on the connection. */
  grantConnection(increment: number): void {
    if (this.window + increment > maxWindowBytes) throw flowControlFault('connection window over 2^31-1');
    this.window += increment;
    this.pump();
  }

  /** Adds to a stream's window, which may be less than nothing. False when it would overflow. */
  grant(stream: Stream, increment: number): boolean {
    if (stream.sendWindow + increment > maxWindowBytes) return false;
    stream.sendWindow += increment;
    this.wake(stream);
    return true;
  }

  /** Puts a stream that can go on where pump() finds it. */
  wake(stream: Stream): void {
    if ((stream.flags & headersSent) === 0) return;
    if (stream.queuedBytes > 0) {
      if (stream.sendWindow > 0) this.#ready.push(stream);
    } else if ((stream.flags & localEndAsked) !== 0) {
      this.#sendEnd(stream);
    } else if ((stream.flags & drainWanted) !== 0 && stream.sendWindow > 0) {
      this.#waiting.push(stream);
    }
  }

  /** Forgets a stream and what it had queued. */
  drop(stream: Stream): void {
    stream.list?.remove(stream);
    stream.sendQueue = null;
  }

  get #blocked(): boolean {
    return this.window <= 0 || this.#output.room <= frameHeaderBytes;
  }

  #turn(stream: Stream): void {
    let left = quantumBytes;
    while (stream.sendQueue !== null && left > 0) {
      const queue = stream.sendQueue;
      const chunk = queue.peek();
      const end = Math.min(left, chunk.length);
      const last = end === queue.length && (stream.flags & localEndAsked) !== 0;
      const sent = this.#send(stream, chunk, 0, end, last ? FrameFlag.END_STREAM : 0);
      if (sent === 0) break;
      left -= sent;
      queue.skip(sent);
      if (queue.length === 0) stream.sendQueue = null;
    }
    if (stream.sendQueue !== null) {
      if (stream.sendWindow > 0) this.#ready.push(stream);
      return;
    }
    if ((stream.flags & localEndSent) !== 0) this.#onLocalEnd(stream);
    else this.wake(stream);
  }

  /**
   * Sends chunk[at, end) as far as windows and transport allow; returns where it stopped.
   * @param endFlag set on the frame that carries the last byte
   */
  #send(stream: Stream, chunk: Buffer, at: number, end: number, endFlag: number): number {
    let next = at;
    while (next < end) {
      const allowed = Math.min(stream.sendWindow, this.window, this.#restOfRecord);
      const length = Math.min(end - next, allowed, this.#output.room - frameHeaderBytes);
      if (length <= 0) break;
      stream.sendWindow -= length;
      this.window -= length;
      stream.bytesSent += length;
      this.bytesSent += length;
      const flags = next + length === end ? endFlag : 0;
      if (flags !== 0) stream.flags |= localEndSent;
      this.#writer.data(stream.id, flags, chunk, next, next + length);
      next += length;
    }
    return next;
  }

  /** Payload that ends with the TLS record which the output is in the midst of. Every peer takes frames of a record. */
  get #restOfRecord(): number {
    const rest = recordPayloadBytes - (this.#output.fill % recordBytes);
    return rest < smallestPartBytes ? recordPayloadBytes : rest;
  }

  #sendEnd(stream: Stream): void {
    if ((stream.flags & localEndSent) !== 0) return;
    stream.flags |= localEndSent;
    this.#writer.data(stream.id, FrameFlag.END_STREAM, nothing, 0, 0);
    this.#onLocalEnd(stream);
  }
}
