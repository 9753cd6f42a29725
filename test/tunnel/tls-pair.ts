/** Loopback connections for tests of TLS: raw sockets, and both ends of a handshake. */
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { acceptTls } from '../../tunnel/tls.ts';
import type { SecureConnection, ServerContext } from '../../tunnel/tls.ts';

/** Of a tap test, what is needed here. */
interface Test {
  teardown(callback: () => void): void;
}

export interface Listener {
  readonly port: number;
  /** A connected client socket, whose errors don't matter. */
  connect(): Promise<Socket>;
}

/** Closes itself, and what it accepted, at the end of the test. Sockets come half-open, as the agent's do. */
export async function listen(t: Test, onConnection: (raw: Socket) => void): Promise<Listener> {
  const open = new Set<Socket>();
  const track = (socket: Socket): void => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  };
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, raw => {
    track(raw);
    onConnection(raw);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  t.teardown(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return {
    port,
    connect: async () => {
      const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
      track(socket);
      socket.on('error', () => {});
      await once(socket, 'connect');
      return socket;
    },
  };
}

/** What became of the next connection to a listener that accepts TLS. */
export interface TlsListener extends Listener {
  next(): Promise<SecureConnection>;
}

export async function listenTls(
  t: Test,
  context: ServerContext,
  options: { trustDomain: string; timeoutMs: number },
): Promise<TlsListener> {
  const results: Promise<SecureConnection>[] = [];
  const waiting: ((result: Promise<SecureConnection>) => void)[] = [];
  const listener = await listen(t, raw => {
    const result = acceptTls(raw, context, options);
    result.catch(() => {});
    const taker = waiting.shift();
    if (taker === undefined) results.push(result);
    else taker(result);
  });
  return { ...listener, next: async () => results.shift() ?? new Promise(resolve => waiting.push(resolve)) };
}
