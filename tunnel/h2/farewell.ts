/**
 * GOAWAY in both directions (RFC 9113 §6.8): no new streams, the old ones run to their end, then the connection closes.
 *
 * A server says it twice: first with the highest id there is, so that requests under way are still taken, and one
 * round trip later with the last id that it took. What a client had sent above that was refused and may be tried elsewhere.
 */
import { ErrorCode, protocolFault } from './errors.ts';
import { maxStreamId } from './frames.ts';
import type { H2Clock } from './keepalive.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Pings } from './pings.ts';
import type { RequestIntake } from './request-intake.ts';
import type { Streams } from './streams.ts';
import type { FrameWriter } from './writer.ts';

export interface FarewellParts {
  readonly streams: Streams;
  readonly lifecycle: Lifecycle;
  readonly writer: FrameWriter;
  readonly pings: Pings;
  /** Null on a client. */
  readonly requests: RequestIntake | null;
  readonly clock: H2Clock;
  /** The final GOAWAY does not wait longer for the round trip. */
  readonly roundTripTimeoutMs: number;
  /** One side has said goodbye and the last stream has ended. */
  readonly onDone: () => void;
}

export class Farewell {
  readonly #parts: FarewellParts;
  #started = false;
  #final = false;
  #peerLastId = Number.MAX_SAFE_INTEGER;
  #timer: unknown = null;
  /** Wire code of the peer's GOAWAY, or null while it sent none. */
  peerCode: number | null = null;

  constructor(parts: FarewellParts) {
    this.#parts = parts;
  }

  /** No new stream may be opened by us. */
  get draining(): boolean {
    return this.#started || this.peerCode !== null;
  }

  start(): void {
    if (this.#started) return;
    this.#started = true;
    const { writer, pings, requests, clock, roundTripTimeoutMs } = this.#parts;
    if (requests === null) {
      this.#say();
      return;
    }
    writer.goaway(maxStreamId, ErrorCode.NO_ERROR);
    this.#timer = clock.setTimeout(() => this.#say(), roundTripTimeoutMs);
    pings.send(rttMs => {
      if (rttMs !== null) this.#say();
    });
  }

  /** The peer's GOAWAY. Throws a Fault where it takes back what an earlier one had refused. */
  received(lastStreamId: number, code: number): void {
    if (lastStreamId > this.#peerLastId) throw protocolFault('GOAWAY with a higher last stream than before');
    this.#peerLastId = lastStreamId;
    this.peerCode = code;
    if (this.#parts.requests === null) {
      const refused = [...this.#parts.streams.all()].filter(stream => stream.id > lastStreamId);
      for (const stream of refused) this.#parts.lifecycle.refused(stream);
    }
    this.check();
  }

  /** To be called whenever a stream left. */
  check(): void {
    if ((this.#final || this.peerCode !== null) && this.#parts.streams.open === 0) this.#parts.onDone();
  }

  stop(): void {
    if (this.#timer !== null) this.#parts.clock.clearTimeout(this.#timer);
  }

  #say(): void {
    if (this.#final) return;
    this.#final = true;
    this.stop();
    const { streams, requests, writer } = this.#parts;
    if (requests !== null) requests.lastAcceptedId = streams.lastPeerId;
    writer.goaway(streams.lastPeerId, ErrorCode.NO_ERROR);
    this.check();
  }
}
