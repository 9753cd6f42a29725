/**
 * One HTTP/2 connection of CONNECT tunnels over a transport (in practice a TLSSocket): RFC 9113 without what HBONE has no
 * use for. Both ends of every tunnel between nodes are one of these.
 *
 * This file is the face: what owners call, what the transport tells, and how a connection ends. session.ts is the inside.
 */
import type { Duplex } from 'node:stream';
import { CulvertError } from '../../base/errors.ts';
import { ErrorCode, Fault, errorCodeName, handlerFailed } from './errors.ts';
import type { ConnectHeaders } from './header-rules.ts';
import type { HeaderField } from './header-table.ts';
import { readInto } from './transport-input.ts';
import { defaultTiming, realClock } from './keepalive.ts';
import type { H2Clock, H2Timing } from './keepalive.ts';
import { defaultLimits } from './limits.ts';
import type { H2Limits } from './limits.ts';
import { Session } from './session.ts';
import { defaultSettings } from './settings.ts';
import type { H2Settings } from './settings.ts';
import type { H2Stream, H2StreamHandlers } from './stream.ts';

/** What the owner of a connection is told. Callbacks do not throw. */
export interface H2ConnectionHandlers {
  /** Server: a well-formed request. Set stream.handlers before returning; answer with stream.respond(), at once or later. */
  onRequest?(stream: H2Stream, request: ConnectHeaders): void;
  /** The peer takes no more streams; those that it refused were told so, the others go on. */
  onGoaway?(): void;
  /** Client: connect() is possible again after it was not. */
  onCapacity?(): void;
  /** Once: null after a goodbye, or when the peer left between requests, else why. Streams that were open are told before. */
  onClose(error: CulvertError | null): void;
}

export interface H2ConnectionOptions {
  /** Owned by the connection from here on. May still be connecting. */
  readonly transport: Duplex;
  readonly role: 'client' | 'server';
  readonly handlers: H2ConnectionHandlers;
  readonly settings?: Partial<H2Settings>;
  readonly limits?: Partial<H2Limits>;
  readonly timing?: Partial<H2Timing>;
  readonly clock?: H2Clock;
}

export class H2Connection {
  readonly role: 'client' | 'server';
  /** Bytes come into a buffer that is used again, not as 'data' events (transport-input.ts). */
  readonly readsDirectly: boolean;
  readonly #transport: Duplex;
  readonly #handlers: H2ConnectionHandlers;
  readonly #session: Session;
  readonly #timing: H2Timing;
  readonly #clock: H2Clock;
  #closed = false;
  #closeTimer: unknown = null;

  constructor(options: H2ConnectionOptions) {
    const { transport, role, handlers } = options;
    this.role = role;
    this.#transport = transport;
    this.#handlers = handlers;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#clock = options.clock ?? realClock;
    this.#session = new Session({
      transport,
      role,
      settings: { ...defaultSettings, ...options.settings },
      limits: { ...defaultLimits(role), ...options.limits },
      timing: this.#timing,
      clock: this.#clock,
      events: {
        onRequest: (stream, request) => this.#onRequest(stream, request),
        onGoaway: () => handlers.onGoaway?.(),
        onCapacity: () => handlers.onCapacity?.(),
        onOver: error => this.#over(error),
      },
    });
    this.readsDirectly = readInto(transport, chunk => this.#onData(chunk));
    transport.on('end', () => this.#lost(null));
    transport.on('close', () => this.#onTransportClose());
    // Stays for good: an error after the end must not become an uncaught exception.
    transport.on('error', error => this.#lost(error));
  }

  /** Streams open now, of both sides' making. */
  get openStreams(): number {
    return this.#session.streams.open;
  }

  /** The peer's MAX_CONCURRENT_STREAMS; 100 until it is known. */
  get maxStreams(): number {
    return this.#session.peer.maxStreams;
  }

  /** Client: streams that connect() may open now; 0 when closed or draining. */
  get availableStreams(): number {
    return this.#closed ? 0 : this.#session.available;
  }

  /** Either side has sent GOAWAY. */
  get draining(): boolean {
    return this.#session.farewell.draining;
  }

  /** Neither closed nor draining. */
  get usable(): boolean {
    return !this.#closed && !this.draining;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The peer's SETTINGS have arrived. */
  get ready(): boolean {
    return this.#session.peer.known;
  }

  /** Bytes of the transport, framing included. */
  get bytesReceived(): number {
    return this.#session.bytesReceived;
  }

  get bytesSent(): number {
    return this.#session.output.bytesWritten;
  }

  /** Bytes of all streams' payloads. */
  get payloadReceived(): number {
    return this.#session.payloadReceived;
  }

  get payloadSent(): number {
    return this.#session.sender.bytesSent;
  }

  /**
   * Client: opens a tunnel to `authority`. Its DATA may be written at once, though it is wiser to wait for onHeaders with 2xx.
   * Throws CulvertError H2_NO_CAPACITY (also while closed or draining), H2_BAD_HEADER, H2_HEADERS_TOO_LARGE.
   */
  connect(authority: string, headers: readonly HeaderField[], handlers: H2StreamHandlers): H2Stream {
    if (this.role !== 'client') throw new CulvertError('H2_NO_CAPACITY', 'a server opens no streams');
    if (this.availableStreams === 0) {
      const why = this.#closed
        ? 'closed'
        : this.draining
          ? 'draining'
          : `full with ${this.openStreams} streams`;
      throw new CulvertError('H2_NO_CAPACITY', `no stream to ${authority}: the connection is ${why}`);
    }
    return this.#session.connect(authority, headers, handlers);
  }

  /** Takes no more streams and closes when the last has ended. */
  goaway(): void {
    if (!this.#closed) this.#session.farewell.start();
  }

  /** @param done with the round trip in milliseconds, or null when the connection ends before */
  ping(done: (rttMs: number | null) => void): void {
    if (this.#closed) done(null);
    else this.#session.ping(done);
  }

  /** Ends the connection now. Streams are told CONNECT_ERROR with `error` as cause. */
  destroy(error: CulvertError | null = null): void {
    const cause = error ?? new CulvertError('H2_DESTROYED', 'the connection was destroyed by its owner');
    this.#close(cause, error, new Fault(cause.code, ErrorCode.NO_ERROR, cause.message));
  }

  #onData(chunk: Buffer): boolean {
    if (this.#closed) return false;
    try {
      return this.#session.read(chunk);
    } catch (error) {
      this.#over(error instanceof Fault ? error : handlerFailed(error));
      return true;
    }
  }

  get #peerSide(): 'client' | 'server' {
    return this.role === 'server' ? 'client' : 'server';
  }

  #onRequest(stream: H2Stream, request: ConnectHeaders): void {
    if (this.#handlers.onRequest === undefined) stream.reset(ErrorCode.REFUSED_STREAM);
    else this.#handlers.onRequest(stream, request);
  }

  #over(error: Fault | CulvertError | null): void {
    if (error === null) this.#close(null, this.#peerComplaint(), null);
    else if (error instanceof Fault) {
      const blame = this.#blame(error);
      this.#close(blame, blame, error);
    } else this.#close(error, error, new Fault(error.code, ErrorCode.INTERNAL_ERROR, error.message));
  }

  /** What the peer did, for the operator. */
  #blame(fault: Fault): CulvertError {
    const message = `${fault.message} (${errorCodeName(fault.wireCode)})`;
    return new CulvertError(fault.code, message, { side: this.#peerSide });
  }

  /** The transport ended or failed before we did. */
  #lost(error: Error | null): void {
    if (this.#closed) return;
    const what = error === null ? 'the peer closed the connection' : `the connection broke: ${error.message}`;
    const options = { side: this.#peerSide, cause: error ?? undefined };
    const cause = this.#peerComplaint() ?? new CulvertError('H2_TRANSPORT_LOST', what, options);
    const quiet = error === null && cause.code === 'H2_TRANSPORT_LOST' && this.openStreams === 0;
    this.#close(cause, quiet ? null : cause, null);
  }

  /** What the peer held against us in its GOAWAY, or null. */
  #peerComplaint(): CulvertError | null {
    const code = this.#session.farewell.peerCode;
    if (code === null || code === ErrorCode.NO_ERROR) return null;
    const message = `the peer ended the connection with ${errorCodeName(code)}`;
    return new CulvertError('H2_PEER_GOAWAY', message, { side: this.#peerSide });
  }

  /**
   * @param cause for the streams; null when there are none
   * @param error for the owner
   * @param fault to say in a GOAWAY, or null
   */
  #close(cause: CulvertError | null, error: CulvertError | null, fault: Fault | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.stop(fault);
    this.#session.output.finish();
    this.#closeTimer = this.#clock.setTimeout(() => this.#transport.destroy(), this.#timing.closeTimeoutMs);
    this.#session.lifecycle.loseAll(ErrorCode.CONNECT_ERROR, cause);
    this.#handlers.onClose(error);
  }

  #onTransportClose(): void {
    this.#lost(null);
    if (this.#closeTimer !== null) this.#clock.clearTimeout(this.#closeTimer);
  }
}
