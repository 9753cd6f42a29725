/**
 * TCP sockets that live inside one pod's network namespace, made ahead in small batches.
 *
 * Entering a namespace happens on the addon's own thread; asking for eight sockets and more at a time leaves one
 * hand-over in as many connections. A socket stays in the namespace that it was made in, whoever connects it.
 */
import net from 'node:net';
import * as native from '../native/native.ts';
import { CulvertError } from '../base/errors.ts';
import type { Leg } from './leg.ts';
import { dialError, dialLeg, dialTimeout } from './leg-dial.ts';
import type { LegLoop } from './leg-loop.ts';

const firstBatch = 8;
/** Where they are used up as fast as they are made. */
const largestBatch = 64;
/** Unused sockets are given back after this. */
const idleMs = 10_000;
/** Seconds before the first probe and between the others. */
const keepAlive = { idle: 180, interval: 1, probes: 10 } as const;

export interface ConnectOptions {
  readonly timeoutMs: number;
  /** Called with the descriptor before the connection is started. */
  readonly prepare?: (fd: number) => void;
  readonly keepAlive?: boolean;
}

export type DialResult = (error: CulvertError | null, socket: net.Socket | null) => void;
export type ConnectResult = (error: CulvertError | null, leg: Leg | null) => void;

export class PodSockets {
  readonly #netnsFd: number;
  readonly #legs: LegLoop;
  readonly #stock: Record<4 | 6, number[]> = { 4: [], 6: [] };
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #batch = firstBatch;

  /** @param netnsFd namespace descriptor; stays the caller's */
  constructor(netnsFd: number, legs: LegLoop) {
    this.#netnsFd = netnsFd;
    this.#legs = legs;
  }

  /** A fresh, unconnected, non-blocking TCP socket. Throws NativeError when the namespace gives none. */
  take(family: 4 | 6): number {
    const stock = this.#stock[family];
    const spare = stock.pop();
    if (spare !== undefined) return spare;
    const [first, ...rest] = native.tcpSockets(this.#netnsFd, family, this.#batch);
    if (first === undefined)
      throw new CulvertError('SOCKET_UNAVAILABLE', 'the kernel made no socket in the pod namespace');
    stock.push(...rest);
    if (this.#timer !== null) this.#batch = Math.min(this.#batch * 2, largestBatch);
    this.#timer ??= setTimeout(() => this.#release(), idleMs).unref();
    return first;
  }

  /**
   * Connects to an application, or to whatever is not in the mesh. `done` runs once, maybe before this returns: with a leg, or
   * with DIAL_REFUSED, DIAL_TIMEOUT or DIAL_FAILED. Returns what aborts the attempt.
   */
  connect(address: string, port: number, options: ConnectOptions, done: ConnectResult): () => void {
    let fd: number;
    try {
      fd = this.#prepared(address, options.prepare);
      if (options.keepAlive === true)
        native.setKeepalive(fd, keepAlive.idle, keepAlive.interval, keepAlive.probes);
    } catch (error) {
      done(unavailable(address, port, error), null);
      return () => {};
    }
    return dialLeg(this.#legs, fd, { address, port }, options.timeoutMs, done);
  }

  /**
   * The same for the socket of a tunnel. `done` runs later, with a socket whose 'error' event the caller must handle from then
   * on.
   */
  dial(address: string, port: number, timeoutMs: number, done: DialResult): () => void {
    let socket: net.Socket;
    try {
      socket = new net.Socket({
        fd: this.#prepared(address),
        allowHalfOpen: true,
        readable: true,
        writable: true,
        manualStart: true,
      } as net.SocketConstructorOpts);
    } catch (error) {
      process.nextTick(done, unavailable(address, port, error), null);
      return () => {};
    }
    return startDial(socket, address, port, timeoutMs, done);
  }

  #prepared(address: string, prepare?: (fd: number) => void): number {
    if (this.#closed) throw new CulvertError('POD_GONE', 'the pod has left the mesh');
    const fd = this.take(net.isIPv6(address) ? 6 : 4);
    try {
      prepare?.(fd);
    } catch (error) {
      native.close(fd);
      throw error;
    }
    return fd;
  }

  close(): void {
    this.#closed = true;
    this.#release();
  }

  #release(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#batch = firstBatch;
    for (const family of [4, 6] as const) {
      for (const fd of this.#stock[family].splice(0)) native.close(fd);
    }
  }
}

function unavailable(address: string, port: number, error: unknown): CulvertError {
  return error instanceof CulvertError
    ? error
    : new CulvertError('DIAL_FAILED', `no socket towards ${address}:${port}`, { cause: error });
}

function startDial(
  socket: net.Socket,
  address: string,
  port: number,
  timeoutMs: number,
  done: DialResult,
): () => void {
  const timer = setTimeout(() => finish(dialTimeout(address, port, timeoutMs)), timeoutMs);
  const onError = (cause: NodeJS.ErrnoException): void =>
    finish(dialError(address, port, cause.code ?? cause.message));
  const onConnect = (): void => finish(null);
  const finish = (error: CulvertError | null): void => {
    clearTimeout(timer);
    socket.off('connect', onConnect);
    socket.off('error', onError);
    if (error === null) {
      done(null, socket);
      return;
    }
    socket.on('error', () => {});
    socket.destroy();
    done(error, null);
  };
  socket.once('connect', onConnect);
  socket.once('error', onError);
  socket.connect({ host: address, port });
  return () => {
    clearTimeout(timer);
    socket.off('connect', onConnect);
    socket.off('error', onError);
    socket.on('error', () => {});
    socket.destroy();
  };
}
