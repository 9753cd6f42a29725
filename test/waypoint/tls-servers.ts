/** Endpoints that speak TLS for tests of waypoints, and the objects by which a waypoint knows their authority. */
import type http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { TLSSocket } from 'node:tls';
import tls from 'node:tls';
import { makeOddCertificate, type Name, type TestCertificate, type TestRoot } from '../tunnel/pki.ts';
import type { World } from './world.ts';

export const webName = 'web.shop.svc.cluster.local';

/** A certificate for names of DNS, or of other kinds. */
export function certificateFor(root: TestRoot, ...names: readonly (string | Name)[]): TestCertificate {
  return makeOddCertificate(root, {
    names: names.map(name => (typeof name === 'string' ? [2, name] : name)),
  });
}

export interface TlsServer {
  /** Of all handshakes so far, the last one last. */
  readonly seen: {
    readonly sni: string | false | null;
    readonly alpn: string | false | null;
    readonly resumed: boolean;
    readonly client: string | null;
  }[];
  /** How many requests came by which version of HTTP. */
  readonly requests: { h1: number; h2: number };
  /** Another certificate for those who come from now on. */
  use(certificate: TestCertificate): void;
}

export interface TlsServerOptions {
  readonly certificate: TestCertificate;
  readonly speaks?: 'both' | 'http/1.1' | 'h2';
  /** PEM; clients need a certificate of it. */
  readonly clientsOf?: string;
}

/** A server of HTTP over TLS at the port of a pod, which says by which version and scheme it was asked. */
export async function serveTls(world: World, pod: string, options: TlsServerOptions): Promise<TlsServer> {
  const { speaks = 'both', clientsOf } = options;
  const server: TlsServer = {
    seen: [],
    requests: { h1: 0, h2: 0 },
    use: certificate => secured.setSecureContext(contextOf(certificate)),
  };
  const contextOf = ({ certificatePem, privateKeyPem }: TestCertificate): tls.SecureContextOptions => ({
    cert: certificatePem,
    key: privateKeyPem,
    ...(clientsOf === undefined ? {} : { ca: clientsOf }),
  });
  const settings = {
    ...contextOf(options.certificate),
    ...(clientsOf === undefined ? {} : { requestCert: true, rejectUnauthorized: true }),
  };
  const secured: tls.Server =
    speaks === 'http/1.1'
      ? https.createServer(settings)
      : http2.createSecureServer({ ...settings, allowHTTP1: speaks === 'both' });
  secured.on('sessionError', () => {}).on('tlsClientError', () => {});
  secured.on('secureConnection', (socket: TLSSocket) => {
    const { subjectaltname = null } = clientsOf === undefined ? {} : socket.getPeerCertificate();
    server.seen.push({
      sni: (socket as TLSSocket & { servername?: string | false }).servername ?? null,
      alpn: socket.alpnProtocol,
      resumed: socket.isSessionReused(),
      client: subjectaltname,
    });
  });
  secured.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
    if (request.httpVersionMajor === 2) server.requests.h2 += 1;
    else server.requests.h1 += 1;
    const scheme = String(request.headers[':scheme'] ?? '-');
    response.setHeader('x-version', String(request.httpVersionMajor));
    response.setHeader('x-scheme', scheme);
    let body = '';
    request.on('data', chunk => (body += String(chunk)));
    request.on('end', () => response.end(`${pod} ${body}`));
  });
  await world.serve(pod, socket => secured.emit('connection', socket));
  return server;
}

/** A server that speaks TLS and gives back what comes. */
export async function serveTlsEcho(world: World, pod: string, certificate: TestCertificate): Promise<void> {
  const server = tls.createServer({ cert: certificate.certificatePem, key: certificate.privateKeyPem });
  server.on('secureConnection', socket => socket.on('error', () => {}).pipe(socket));
  server.on('tlsClientError', () => {});
  await world.serve(pod, socket => server.emit('connection', socket));
}

/** A Secret with these texts. */
export function secret(name: string, texts: Readonly<Record<string, string>>, namespace = 'shop'): string {
  const data = Object.fromEntries(
    Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
  );
  const object = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, data };
  return `${JSON.stringify(object)}\n---\n`;
}
