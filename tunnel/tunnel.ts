/**
 * One HBONE tunnel as the pool holds it: an HTTP/2 connection over mutual TLS, whose peer has been verified, with the
 * moment after which it takes no more streams.
 */
import type { CulvertError } from '../base/errors.ts';
import type { H2Connection } from './h2/connection.ts';

export class Tunnel {
  readonly connection: H2Connection;
  /** Verified SPIFFE ID of the other end. */
  readonly peerIdentity: string;
  readonly #streamLimit: number;
  /** Milliseconds since the epoch; no stream is opened later. */
  readonly #retireAt: number;
  #retired = false;
  idleSince = Date.now();

  constructor(connection: H2Connection, peerIdentity: string, streamLimit: number, retireAt: number) {
    this.connection = connection;
    this.peerIdentity = peerIdentity;
    this.#streamLimit = streamLimit;
    this.#retireAt = retireAt;
  }

  get streams(): number {
    return this.connection.openStreams;
  }

  /** True if a stream may be opened on it now. */
  hasRoom(now: number): boolean {
    return (
      !this.#retired &&
      now < this.#retireAt &&
      this.connection.usable &&
      this.connection.openStreams < Math.min(this.#streamLimit, this.connection.maxStreams)
    );
  }

  /** True once it will never take a stream again. */
  isSpent(now: number): boolean {
    return this.#retired || now >= this.#retireAt || !this.connection.usable;
  }

  /** No new streams; closes when the last one ends. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.connection.goaway();
  }

  destroy(error?: CulvertError): void {
    this.#retired = true;
    this.connection.destroy(error);
  }
}
