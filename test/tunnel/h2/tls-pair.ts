/**
 * Connections over real TLS sockets on loopback, for the tests that set ours against node:http2, and what they share.
 */
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2ConnectionOptions } from '../../../tunnel/h2/connection.ts';
import { selfSigned } from './self-signed.ts';
import type { SelfSigned } from './self-signed.ts';

const certificate: SelfSigned = selfSigned();
const tlsOptions = { ...certificate, ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' as const };

export interface Listening {
  readonly port: number;
  close(): Promise<void>;
}

async function listening(server: tls.Server | http2.Http2SecureServer): Promise<Listening> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

/** A TLS server that hands over every socket. */
export function listenTls(onSocket: (socket: tls.TLSSocket) => void): Promise<Listening> {
  return listening(tls.createServer({ ...tlsOptions, noDelay: true }, onSocket));
}

/** A node:http2 server that speaks CONNECT. */
export function listenNode(
  settings: http2.Settings,
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  onSession: (session: http2.ServerHttp2Session) => void = () => {},
): Promise<Listening> {
  const server = http2.createSecureServer({ ...certificate, settings });
  server.on('session', onSession);
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    onStream(stream as http2.ServerHttp2Stream, headers);
  });
  return listening(server);
}

export async function dialTls(port: number): Promise<tls.TLSSocket> {
  const socket = tls.connect({ ...tlsOptions, host: '127.0.0.1', port, rejectUnauthorized: false });
  socket.setNoDelay(true);
  await once(socket, 'secureConnect');
  return socket;
}

/** Our client, connected. */
export async function dialOurs(
  port: number,
  options: Partial<H2ConnectionOptions> = {},
): Promise<H2Connection> {
  const transport = await dialTls(port);
  return new H2Connection({ transport, role: 'client', handlers: { onClose: () => {} }, ...options });
}

/** A node:http2 client, connected and with its errors noted by whoever closes it. */
export async function dialNode(
  port: number,
  settings: http2.Settings = {},
): Promise<http2.ClientHttp2Session> {
  const session = http2.connect('https://127.0.0.1', {
    settings: { enablePush: false, ...settings },
    createConnection: () =>
      tls.connect({ ...tlsOptions, host: '127.0.0.1', port, rejectUnauthorized: false }),
  });
  session.on('error', () => {});
  await once(session, 'remoteSettings');
  return session;
}
