/**
 * A server's header blocks: each opens a stream, is refused, or breaks one (RFC 9113 §5.1.1, §5.1.2, §8.1.1).
 */
import { ErrorCode, Fault, protocolFault } from './errors.ts';
import type { HeaderIntake } from './header-block.ts';
import { requestReader } from './header-reader.ts';
import type { HeaderReader } from './header-reader.ts';
import type { ConnectHeaders } from './header-rules.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { AbuseCounters, H2Limits } from './limits.ts';
import type { Receiver } from './receiver.ts';
import { remoteEnded } from './stream.ts';
import type { Stream } from './stream.ts';
import type { Streams } from './streams.ts';

export interface RequestIntakeParts {
  readonly streams: Streams;
  readonly lifecycle: Lifecycle;
  readonly counters: AbuseCounters;
  readonly receiver: Receiver;
  /** Streams open at once, with those that linger. */
  readonly maxStreams: number;
  readonly limits: H2Limits;
  /** Makes the stream of a request, in the table and not yet told to anybody. */
  readonly open: (id: number) => Stream;
  readonly onRequest: (stream: Stream, request: ConnectHeaders) => void;
}

export class RequestIntake implements HeaderIntake {
  readonly #parts: RequestIntakeParts;
  readonly #reader: HeaderReader<ConnectHeaders>;
  /** Requests above this id are refused: our final GOAWAY has said so. */
  lastAcceptedId = Number.MAX_SAFE_INTEGER;

  constructor(parts: RequestIntakeParts) {
    this.#parts = parts;
    this.#reader = requestReader(parts.limits);
  }

  onBlock(id: number, endStream: boolean, source: Buffer, start: number, end: number): void {
    const { streams, lifecycle, receiver } = this.#parts;
    // Read first, whatever becomes of it: the block may change the dynamic table.
    const request = this.#reader.read(source, start, end);
    const existing = streams.get(id);
    if (existing !== undefined) {
      // A tunnel has no trailers (§8.5).
      const ended = (existing.flags & remoteEnded) !== 0;
      lifecycle.breakStream(existing, ended ? ErrorCode.STREAM_CLOSED : ErrorCode.PROTOCOL_ERROR);
      return;
    }
    if (streams.absence(id) !== 'idle') {
      this.#late(id);
      return;
    }
    if (id % 2 === 0) throw protocolFault(`request on stream ${id}, which a client may not open`);
    streams.lastPeerId = id;
    const window = endStream ? 0 : receiver.initialWindowBytes;
    if (request === null) {
      lifecycle.refuseId(id, ErrorCode.PROTOCOL_ERROR, window);
    } else if (id > this.lastAcceptedId || streams.open + streams.lingering >= this.#parts.maxStreams) {
      lifecycle.refuseId(id, ErrorCode.REFUSED_STREAM, window);
    } else {
      const stream = this.#parts.open(id);
      this.#parts.onRequest(stream, request);
      if (endStream && !stream.closed) lifecycle.remoteEnded(stream);
    }
  }

  #late(id: number): void {
    if (this.#parts.streams.absence(id) === 'closed') {
      throw new Fault('H2_STREAM_CLOSED', ErrorCode.STREAM_CLOSED, `HEADERS on closed stream ${id}`);
    }
    this.#parts.counters.ignoredFrames.take();
  }
}
