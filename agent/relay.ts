/**
 * Carries bytes and ends between the two legs of an open connection, so that both applications see what they would
 * see without a mesh: half-close as half-close, reset as reset, a slow reader holding back its writer.
 *
 * `PairRelay` joins two sockets (same node, or not in the mesh), `TunnelRelay` a socket and a tunnel stream. Handlers
 * are functions of the module that find their relay on the socket: no closures per connection.
 */
import type net from 'node:net';
import { CulvertError } from '../base/errors.ts';
import type { H2Stream, H2StreamHandlers } from '../tunnel/h2/stream.ts';
import { readInto } from '../tunnel/h2/transport-input.ts';
import type { Connection } from './connections.ts';
import { reset } from './socket-handle.ts';

/** RFC 9113 §7: the TCP connection behind a CONNECT was reset (§8.5). */
const CONNECT_ERROR = 0xa;
const NO_ERROR = 0;

interface Relay {
  /** Returns whether the chunk is kept: its memory must not be used again then. */
  data(from: net.Socket, chunk: Buffer): boolean;
  end(from: net.Socket): void;
  drain(at: net.Socket): void;
  broken(at: net.Socket, error: NodeJS.ErrnoException): void;
  gone(at: net.Socket): void;
}

const relayOf = Symbol('relay');
interface RelayedSocket extends net.Socket {
  [relayOf]: Relay;
}

function attach(socket: net.Socket, relay: Relay): void {
  (socket as RelayedSocket)[relayOf] = relay;
  socket.on('end', onEnd).on('drain', onDrain).on('error', onError).on('close', onClose);
  readInto(socket, chunk => relay.data(socket, chunk));
  socket.resume();
}

function onEnd(this: net.Socket): void {
  (this as RelayedSocket)[relayOf].end(this);
}
function onDrain(this: net.Socket): void {
  (this as RelayedSocket)[relayOf].drain(this);
}
function onError(this: net.Socket, error: NodeJS.ErrnoException): void {
  (this as RelayedSocket)[relayOf].broken(this, error);
}
function onClose(this: net.Socket): void {
  (this as RelayedSocket)[relayOf].gone(this);
}

/** Two sockets, back to back. */
export class PairRelay implements Relay {
  readonly #client: net.Socket;
  readonly #server: net.Socket;
  readonly #connection: Connection;
  #open = 2;
  #error: CulvertError | null = null;

  constructor(client: net.Socket, server: net.Socket, connection: Connection) {
    this.#client = client;
    this.#server = server;
    this.#connection = connection;
    connection.cut = error => {
      this.#error ??= error;
      reset(client);
      reset(server);
    };
  }

  start(): void {
    this.#connection.opened();
    attach(this.#server, this);
    attach(this.#client, this);
  }

  data(from: net.Socket, chunk: Buffer): boolean {
    const fromClient = from === this.#client;
    if (fromClient) this.#connection.up += chunk.length;
    else this.#connection.down += chunk.length;
    const to = fromClient ? this.#server : this.#client;
    if (!to.write(chunk)) from.pause();
    return to.writableLength > 0;
  }

  end(from: net.Socket): void {
    (from === this.#client ? this.#server : this.#client).end();
  }

  drain(at: net.Socket): void {
    (at === this.#client ? this.#server : this.#client).resume();
  }

  broken(at: net.Socket, error: NodeJS.ErrnoException): void {
    this.#error ??= resetBy(at === this.#client ? 'client' : 'server', error);
    reset(at === this.#client ? this.#server : this.#client);
  }

  gone(): void {
    this.#open -= 1;
    if (this.#open === 0) this.#connection.closed(this.#error);
  }
}

/** A socket of a pod on this node and the stream of a tunnel. */
export class TunnelRelay implements Relay, H2StreamHandlers {
  readonly #socket: net.Socket;
  readonly #stream: H2Stream;
  readonly #connection: Connection;
  /** True where the application behind the socket is the one that connected. */
  readonly #socketIsClient: boolean;
  #error: CulvertError | null = null;
  #streamReset = false;
  #socketEnded = false;
  #streamEnded = false;
  /** Socket and stream; the connection is over when both are. */
  #open = 2;

  constructor(socket: net.Socket, stream: H2Stream, connection: Connection, socketIsClient: boolean) {
    this.#socket = socket;
    this.#stream = stream;
    this.#connection = connection;
    this.#socketIsClient = socketIsClient;
    connection.cut = error => {
      this.#error ??= error;
      this.#resetStream(CONNECT_ERROR);
      reset(socket);
    };
  }

  start(): void {
    this.#stream.handlers = this;
    this.#connection.opened();
    attach(this.#socket, this);
    this.#stream.resume();
  }

  data(_from: net.Socket, chunk: Buffer): boolean {
    if (this.#streamReset) return false;
    if (this.#socketIsClient) this.#connection.up += chunk.length;
    else this.#connection.down += chunk.length;
    const copied = this.#stream.write(chunk);
    if (!copied) this.#socket.pause();
    return !copied;
  }

  end(): void {
    this.#socketEnded = true;
    if (!this.#streamReset) this.#stream.end();
  }

  drain(): void {
    this.#stream.resume();
  }

  broken(_at: net.Socket, error: NodeJS.ErrnoException): void {
    this.#error ??= resetBy(this.#socketIsClient ? 'client' : 'server', error);
    this.#resetStream(CONNECT_ERROR);
  }

  gone(): void {
    // What the socket gave before its end may still wait for the peer's window; only a socket lost midway is a reset.
    if (!this.#socketEnded || !this.#streamEnded) this.#resetStream(CONNECT_ERROR);
    this.#partClosed();
  }

  /** True: the kernel has all of it, and the memory of the chunk may be read into again. */
  onData(chunk: Buffer): boolean {
    if (this.#socketIsClient) this.#connection.down += chunk.length;
    else this.#connection.up += chunk.length;
    if (!this.#socket.write(chunk)) this.#stream.pause();
    return this.#socket.writableLength === 0;
  }

  onEnd(): void {
    this.#streamEnded = true;
    this.#socket.end();
  }

  onReset(code: number, cause: CulvertError | null): void {
    this.#streamReset = true;
    if (code === NO_ERROR && cause === null) {
      // Other implementations end a finished stream this way.
      this.#streamEnded = true;
      this.#socket.end();
      return;
    }
    const side = this.#socketIsClient ? 'server' : 'client';
    this.#error ??=
      cause ??
      new CulvertError('PEER_RESET', `the ${side} side reset the stream with HTTP/2 error ${code}`, { side });
    reset(this.#socket);
  }

  onClose(): void {
    this.#partClosed();
  }

  onDrain(): void {
    this.#socket.resume();
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

function resetBy(side: 'client' | 'server', cause: NodeJS.ErrnoException): CulvertError {
  return new CulvertError('PEER_RESET', `the ${side} broke the connection: ${cause.code ?? cause.message}`, {
    side,
    cause,
  });
}
