/**
 * Two sockets of the agent meet inside a pod's namespace: what the self-test of redirection connects, and to what.
 */
import net from 'node:net';
import { CulvertError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import type { Endpoint } from './redirect-abi.ts';

/** Nothing in here leaves the namespace, so what has not arrived by then never will. */
const timeoutMs = 2_000;

/** The peer of a socket, as the application that has it sees it. */
export function peerOf(socket: net.Socket): Endpoint {
  return { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
}

/** The descriptor of a socket that this process accepted; -1 once it is closed. */
export function fdOf(socket: net.Socket): number {
  return (Reflect.get(socket, '_handle') as { readonly fd: number } | null)?.fd ?? -1;
}

/** A listener in a pod's namespace, on a port that the kernel chose. */
export class Listener implements AsyncDisposable {
  readonly port: number;
  readonly #server: net.Server;

  private constructor(server: net.Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async open(netnsFd: number, family: 4 | 6): Promise<Listener> {
    const address = family === 6 ? '::' : '0.0.0.0';
    const fd = native.tcpListener(netnsFd, { address, port: 0, backlog: 4, reusePort: false, v6Only: true });
    const { port } = native.socketAddress(fd);
    const server = net.createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ fd }, resolve);
    });
    return new Listener(server, port);
  }

  /** Connects `fd` and waits until both ends are there. */
  async meet(fd: number, to: Endpoint): Promise<{ accepted: net.Socket; dialled: net.Socket }> {
    const dialled = new net.Socket({ fd, manualStart: true } as net.SocketConstructorOpts);
    const signal = AbortSignal.timeout(timeoutMs);
    const accepted = new Promise<net.Socket>((resolve, reject) => {
      this.#server.once('connection', resolve);
      dialled.once('error', reject);
      signal.addEventListener(
        'abort',
        () => reject(new CulvertError('SELF_TEST_TIMEOUT', `nothing arrived within ${timeoutMs} ms`)),
        { once: true },
      );
    });
    const connected = new Promise<void>((resolve, reject) => {
      dialled.once('connect', resolve);
      dialled.once('error', reject);
    });
    dialled.connect({ host: to.address, port: to.port });
    try {
      const [server] = await Promise.all([accepted, connected]);
      server.on('error', () => {});
      return { accepted: server, dialled };
    } catch (error) {
      this.#server.removeAllListeners('connection');
      dialled.destroy();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>(resolve => this.#server.close(() => resolve()));
  }
}
