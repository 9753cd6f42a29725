/**
 * How a stream ends: by both its ends, by a reset of either side, or with its connection.
 *
 * It leaves the connection at once, so its place is free, and finishes for its owner when that has taken what
 * arrived before. A stream in between lingers. onClose is the last call an owner gets, exactly once.
 */
import type { CulvertError } from '../../base/errors.ts';
import { ErrorCode } from './errors.ts';
import type { AbuseCounters } from './limits.ts';
import type { Receiver } from './receiver.ts';
import type { Sender } from './sender.ts';
import {
  detached,
  endDelivered,
  finished,
  held,
  lingers,
  localEndSent,
  paused,
  remoteEnded,
} from './stream.ts';
import type { Stream } from './stream.ts';
import type { Streams } from './streams.ts';
import type { FrameWriter } from './writer.ts';

export interface LifecycleParts {
  readonly streams: Streams;
  readonly writer: FrameWriter;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly counters: AbuseCounters;
  /** A stream left the connection. */
  readonly onDetached: () => void;
}

export class Lifecycle {
  readonly #streams: Streams;
  readonly #writer: FrameWriter;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  readonly #counters: AbuseCounters;
  readonly #onDetached: () => void;

  constructor(parts: LifecycleParts) {
    this.#streams = parts.streams;
    this.#writer = parts.writer;
    this.#sender = parts.sender;
    this.#receiver = parts.receiver;
    this.#counters = parts.counters;
    this.#onDetached = parts.onDetached;
  }

  /** Our END_STREAM is out. */
  localEnded(stream: Stream): void {
    if ((stream.flags & remoteEnded) === 0) return;
    this.#detach(stream);
    this.settle(stream);
  }

  /** The peer's END_STREAM is in. */
  remoteEnded(stream: Stream): void {
    stream.flags |= remoteEnded;
    if ((stream.flags & localEndSent) !== 0) this.#detach(stream);
    this.settle(stream);
  }

  /** Tells the owner of an end or reset once it has taken everything before it. */
  settle(stream: Stream): void {
    if ((stream.flags & finished) !== 0) return;
    const holding = stream.receiveQueue !== null || (stream.flags & (paused | held)) !== 0;
    if (holding && (stream.flags & endDelivered) === 0) {
      if ((stream.flags & (detached | lingers)) === detached) {
        stream.flags |= lingers;
        this.#streams.lingering += 1;
      }
      return;
    }
    if ((stream.flags & (remoteEnded | endDelivered)) === remoteEnded) {
      stream.flags |= endDelivered;
      stream.handlers.onEnd();
    }
    if ((stream.flags & (detached | finished)) !== detached) return;
    const code = stream.pendingReset;
    if (code >= 0) stream.handlers.onReset(code, null);
    this.#finish(stream);
  }

  /** The peer reset the stream. What arrived before it is still delivered, as a kernel does before ECONNRESET. */
  peerReset(stream: Stream, code: number): void {
    // Before the answer nobody is there to take early bytes.
    if ((stream.flags & held) !== 0) {
      stream.flags = (stream.flags & ~held) | endDelivered;
      stream.receiveQueue = null;
    }
    if (stream.receiveQueue === null && (stream.flags & remoteEnded) === 0) stream.flags &= ~paused;
    stream.pendingReset = code;
    this.#detach(stream);
    this.settle(stream);
  }

  /** The owner gives the stream up. */
  localReset(stream: Stream, code: number): void {
    if ((stream.flags & finished) !== 0) return;
    this.#sendReset(stream, code);
    this.#finish(stream);
  }

  /** The server's answer is final: nothing is delivered any more, and a client that still sends is told to stop. */
  answered(stream: Stream): void {
    stream.flags = (stream.flags & ~held) | localEndSent;
    if ((stream.flags & remoteEnded) === 0) this.#sendReset(stream, ErrorCode.NO_ERROR);
    this.#detach(stream);
    this.#finish(stream);
  }

  /** The peer broke the rules of this stream: it is reset and counted, and the owner is told. */
  breakStream(stream: Stream, code: number): void {
    this.#counters.provokedResets.take();
    this.#sendReset(stream, code);
    this.#abandon(stream, code, null);
  }

  /** The same for a stream that never came to be. */
  refuseId(id: number, code: number, windowBytes: number): void {
    (code === ErrorCode.REFUSED_STREAM
      ? this.#counters.refusedStreams
      : this.#counters.provokedResets
    ).take();
    this.#writer.reset(id, code);
    this.#streams.rememberReset(id, windowBytes);
  }

  /** The peer never took the stream up; it may be tried on another connection. */
  refused(stream: Stream): void {
    this.#detach(stream);
    this.#abandon(stream, ErrorCode.REFUSED_STREAM, null);
  }

  /** The connection is gone, and all its streams with it. */
  loseAll(code: number, cause: CulvertError | null): void {
    for (const stream of this.#streams.all()) {
      this.#detach(stream);
      this.#abandon(stream, code, cause);
    }
  }

  #abandon(stream: Stream, code: number, cause: CulvertError | null): void {
    if ((stream.flags & finished) !== 0) return;
    stream.receiveQueue = null;
    stream.handlers.onReset(code, cause);
    this.#finish(stream);
  }

  #sendReset(stream: Stream, code: number): void {
    if ((stream.flags & detached) !== 0) return;
    this.#writer.reset(stream.id, code);
    if ((stream.flags & remoteEnded) === 0) this.#streams.rememberReset(stream.id, stream.receiveWindow);
    this.#detach(stream);
  }

  #detach(stream: Stream): void {
    if ((stream.flags & detached) !== 0) return;
    stream.flags |= detached;
    this.#streams.remove(stream);
    this.#sender.drop(stream);
    this.#receiver.release(stream);
    this.#onDetached();
  }

  #finish(stream: Stream): void {
    if ((stream.flags & finished) !== 0) return;
    stream.flags |= finished;
    stream.receiveQueue = null;
    if ((stream.flags & lingers) !== 0) this.#streams.lingering -= 1;
    stream.handlers.onClose?.();
  }
}
