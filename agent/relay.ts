/**
 * Carries bytes and ends between the two legs of an open connection, so that both applications see what they would
 * see without a mesh: half-close as half-close, reset as reset, a slow reader holding back its writer.
 *
 * `PairRelay` joins two sockets (same node, or not in the mesh), `TunnelRelay` a socket and a tunnel stream. A relay is the
 * handler of its legs: no closures per connection.
 */
import { CulvertError } from '../base/errors.ts';
import type { H2Stream, H2StreamHandlers } from '../tunnel/h2/stream.ts';
import type { Connection } from './connections.ts';
import type { Leg, LegHandlers } from './leg.ts';

/** RFC 9113 §7: the TCP connection behind a CONNECT was reset (§8.5). */
const CONNECT_ERROR = 0xa;
const NO_ERROR = 0;

/** Two sockets, back to back. */
export class PairRelay implements LegHandlers {
  readonly #client: Leg;
  readonly #server: Leg;
  readonly #connection: Connection;
  #open = 2;
  #error: CulvertError | null = null;

  constructor(client: Leg, server: Leg, connection: Connection) {
    this.#client = client;
    this.#server = server;
    this.#connection = connection;
    connection.cut = error => {
      this.#error ??= error;
      client.reset();
      server.reset();
    };
  }

  start(): void {
    this.#connection.opened();
    this.#server.start(this, false);
    this.#client.start(this, true);
  }

  data(from: Leg, chunk: Buffer): boolean {
    const fromClient = from === this.#client;
    if (fromClient) this.#connection.up += chunk.length;
    else this.#connection.down += chunk.length;
    const to = fromClient ? this.#server : this.#client;
    const kept = !to.write(chunk);
    if (kept) from.pause();
    return kept;
  }

  end(from: Leg): void {
    (from === this.#client ? this.#server : this.#client).end();
  }

  drain(at: Leg): void {
    (at === this.#client ? this.#server : this.#client).resume();
  }

  broken(at: Leg, code: string): void {
    this.#error ??= resetBy(at === this.#client ? 'client' : 'server', code);
    const other = at === this.#client ? this.#server : this.#client;
    other.push();
    other.reset();
  }

  gone(): void {
    this.#open -= 1;
    if (this.#open === 0) this.#connection.closed(this.#error);
  }
}

/** A socket of a pod on this node and the stream of a tunnel. */
export class TunnelRelay implements LegHandlers, H2StreamHandlers {
  readonly #leg: Leg;
  readonly #stream: H2Stream;
  readonly #connection: Connection;
  /** True where the application behind the leg is the one that connected. */
  readonly #legIsClient: boolean;
  #error: CulvertError | null = null;
  #streamReset = false;
  #legEnded = false;
  #streamEnded = false;
  /** Leg and stream; the connection is over when both are. */
  #open = 2;

  constructor(leg: Leg, stream: H2Stream, connection: Connection, legIsClient: boolean) {
    this.#leg = leg;
    this.#stream = stream;
    this.#connection = connection;
    this.#legIsClient = legIsClient;
    connection.cut = error => {
      this.#error ??= error;
      this.#resetStream(CONNECT_ERROR);
      leg.reset();
    };
  }

  start(): void {
    this.#stream.handlers = this;
    this.#connection.opened();
    // A client has often said something by now.
    this.#leg.start(this, this.#legIsClient);
    this.#stream.resume();
  }

  data(_from: Leg, chunk: Buffer): boolean {
    if (this.#streamReset) return false;
    if (this.#legIsClient) this.#connection.up += chunk.length;
    else this.#connection.down += chunk.length;
    const copied = this.#stream.write(chunk);
    if (!copied) this.#leg.pause();
    return !copied;
  }

  end(): void {
    this.#legEnded = true;
    if (!this.#streamReset) this.#stream.end();
  }

  drain(): void {
    this.#stream.resume();
  }

  broken(_at: Leg, code: string): void {
    this.#error ??= resetBy(this.#legIsClient ? 'client' : 'server', code);
    this.#resetStream(CONNECT_ERROR);
  }

  gone(): void {
    // What the leg gave before its end may still wait for the peer's window; only a leg lost midway is a reset.
    if (!this.#legEnded || !this.#streamEnded) this.#resetStream(CONNECT_ERROR);
    this.#partClosed();
  }

  /** True: the kernel has all of it, and the memory of the chunk may be read into again. */
  onData(chunk: Buffer): boolean {
    if (this.#legIsClient) this.#connection.down += chunk.length;
    else this.#connection.up += chunk.length;
    const taken = this.#leg.write(chunk);
    if (!taken) this.#stream.pause();
    return taken;
  }

  onEnd(): void {
    this.#streamEnded = true;
    this.#leg.end();
  }

  onReset(code: number, cause: CulvertError | null): void {
    this.#streamReset = true;
    if (code === NO_ERROR && cause === null) {
      // Other implementations end a finished stream this way.
      this.#streamEnded = true;
      this.#leg.end();
      return;
    }
    const side = this.#legIsClient ? 'server' : 'client';
    this.#error ??=
      cause ??
      new CulvertError('PEER_RESET', `the ${side} side reset the stream with HTTP/2 error ${code}`, { side });
    // What came before it is still the application's.
    this.#leg.push();
    this.#leg.reset();
  }

  onClose(): void {
    this.#partClosed();
  }

  onDrain(): void {
    this.#leg.resume();
  }

  #partClosed(): void {
    this.#open -= 1;
    if (this.#open === 0) this.#connection.closed(this.#error);
  }

  #resetStream(code: number): void {
    if (this.#streamReset) return;
    this.#streamReset = true;
    this.#stream.reset(code);
  }
}

function resetBy(side: 'client' | 'server', code: string): CulvertError {
  return new CulvertError('PEER_RESET', `the ${side} broke the connection: ${code}`, { side });
}
