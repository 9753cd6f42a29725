/**
 * A client's header blocks: responses to its own requests (RFC 9113 §8.1).
 */
import { ErrorCode, Fault, protocolFault } from './errors.ts';
import type { HeaderIntake } from './header-block.ts';
import { responseReader } from './header-reader.ts';
import type { HeaderReader } from './header-reader.ts';
import type { ResponseHeaders } from './header-rules.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { AbuseCounters, H2Limits } from './limits.ts';
import { headersSeen, remoteEnded, tunnelled } from './stream.ts';
import type { Stream } from './stream.ts';
import type { Streams } from './streams.ts';

export interface ResponseIntakeParts {
  readonly streams: Streams;
  readonly lifecycle: Lifecycle;
  readonly counters: AbuseCounters;
  readonly limits: H2Limits;
}

export class ResponseIntake implements HeaderIntake {
  readonly #parts: ResponseIntakeParts;
  readonly #reader: HeaderReader<ResponseHeaders>;

  constructor(parts: ResponseIntakeParts) {
    this.#parts = parts;
    this.#reader = responseReader(parts.limits);
  }

  onBlock(id: number, endStream: boolean, source: Buffer, start: number, end: number): void {
    // Read first, whatever becomes of it: the block may change the dynamic table.
    const response = this.#reader.read(source, start, end);
    const stream = this.#parts.streams.get(id);
    if (stream === undefined) this.#absent(id);
    else if ((stream.flags & remoteEnded) !== 0)
      this.#parts.lifecycle.breakStream(stream, ErrorCode.STREAM_CLOSED);
    else if ((stream.flags & headersSeen) !== 0) this.#trailers(stream, endStream);
    else if (response === null || (response.status < 200 && endStream)) {
      this.#parts.lifecycle.breakStream(stream, ErrorCode.PROTOCOL_ERROR);
    } else if (response.status < 200) this.#parts.counters.ignoredFrames.take();
    else this.#final(stream, response, endStream);
  }

  #final(stream: Stream, response: ResponseHeaders, endStream: boolean): void {
    stream.flags |= response.status < 300 ? headersSeen | tunnelled : headersSeen;
    stream.handlers.onHeaders?.(response.status, response.headers);
    if (endStream && !stream.closed) this.#parts.lifecycle.remoteEnded(stream);
  }

  /** A refusal may have a body and trailers, a tunnel may not (§8.5). */
  #trailers(stream: Stream, endStream: boolean): void {
    if (endStream && (stream.flags & tunnelled) === 0) this.#parts.lifecycle.remoteEnded(stream);
    else this.#parts.lifecycle.breakStream(stream, ErrorCode.PROTOCOL_ERROR);
  }

  #absent(id: number): void {
    const absence = this.#parts.streams.absence(id);
    if (absence === 'idle') throw protocolFault(`response on stream ${id}, which nobody opened`);
    if (absence === 'closed') {
      throw new Fault('H2_STREAM_CLOSED', ErrorCode.STREAM_CLOSED, `HEADERS on closed stream ${id}`);
    }
    this.#parts.counters.ignoredFrames.take();
  }
}
