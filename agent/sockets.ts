/**
 * TCP sockets that live inside one pod's network namespace, made ahead in small batches.
 *
 * Entering a namespace happens on the addon's own thread; asking for eight sockets at a time leaves one hand-over in
 * eight connections. A socket stays in the namespace that it was made in, whoever connects it.
 */
import net from 'node:net';
import * as native from '../native/native.ts';
import { CulvertError } from '../base/errors.ts';

const batch = 8;
/** Unused sockets are given back after this. */
const idleMs = 10_000;

export interface DialOptions {
  readonly timeoutMs: number;
  /** Called with the descriptor before the connection is started. */
  readonly prepare?: (fd: number) => void;
  readonly keepAlive?: boolean;
}

export type DialResult = (error: CulvertError | null, socket: net.Socket | null) => void;

export class PodSockets {
  readonly #netnsFd: number;
  readonly #stock: Record<4 | 6, number[]> = { 4: [], 6: [] };
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  /** @param netnsFd namespace descriptor; stays the caller's */
  constructor(netnsFd: number) {
    this.#netnsFd = netnsFd;
  }

  /** A fresh, unconnected, non-blocking TCP socket. Throws NativeError when the namespace gives none. */
  take(family: 4 | 6): number {
    const stock = this.#stock[family];
    const spare = stock.pop();
    if (spare !== undefined) return spare;
    const [first, ...rest] = native.tcpSockets(this.#netnsFd, family, batch);
    if (first === undefined)
      throw new CulvertError('SOCKET_UNAVAILABLE', 'the kernel made no socket in the pod namespace');
    stock.push(...rest);
    this.#timer ??= setTimeout(() => this.#release(), idleMs).unref();
    return first;
  }

  /**
   * Connects to an address from inside the pod's namespace. `done` runs once: with a socket whose 'error' event the
   * caller must handle from then on, or with DIAL_REFUSED, DIAL_TIMEOUT or DIAL_FAILED. Returns what aborts the attempt.
   */
  dial(address: string, port: number, options: DialOptions, done: DialResult): () => void {
    let socket: net.Socket;
    try {
      if (this.#closed) throw new CulvertError('POD_GONE', 'the pod has left the mesh');
      const fd = this.take(net.isIPv6(address) ? 6 : 4);
      try {
        options.prepare?.(fd);
      } catch (error) {
        native.close(fd);
        throw error;
      }
      socket = new net.Socket({
        fd,
        allowHalfOpen: true,
        readable: true,
        writable: true,
        manualStart: true,
      } as net.SocketConstructorOpts);
    } catch (error) {
      const wrapped =
        error instanceof CulvertError
          ? error
          : new CulvertError('DIAL_FAILED', `no socket towards ${address}:${port}`, { cause: error });
      process.nextTick(done, wrapped, null);
      return () => {};
    }
    return startDial(socket, address, port, options, done);
  }

  close(): void {
    this.#closed = true;
    this.#release();
  }

  #release(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const family of [4, 6] as const) {
      for (const fd of this.#stock[family].splice(0)) native.close(fd);
    }
  }
}

function startDial(
  socket: net.Socket,
  address: string,
  port: number,
  options: DialOptions,
  done: DialResult,
): () => void {
  const timer = setTimeout(() => {
    finish(
      new CulvertError('DIAL_TIMEOUT', `no answer from ${address}:${port} within ${options.timeoutMs} ms`, {
        side: 'server',
        fix: 'look for a NetworkPolicy or a route that drops these packets',
      }),
    );
  }, options.timeoutMs);
  const onError = (cause: NodeJS.ErrnoException): void => finish(dialError(address, port, cause));
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
  socket.setNoDelay(true);
  if (options.keepAlive === true) socket.setKeepAlive(true, 180_000);
  socket.connect({ host: address, port });
  return () => {
    clearTimeout(timer);
    socket.off('connect', onConnect);
    socket.off('error', onError);
    socket.on('error', () => {});
    socket.destroy();
  };
}

function dialError(address: string, port: number, cause: NodeJS.ErrnoException): CulvertError {
  const refused = cause.code === 'ECONNREFUSED';
  return new CulvertError(
    refused ? 'DIAL_REFUSED' : 'DIAL_FAILED',
    `${address}:${port}: ${cause.code ?? cause.message}`,
    {
      side: 'server',
      fix: refused ? 'nothing listens there' : null,
      cause,
    },
  );
}
