/**
 * A server of ours over TLS with a client of node:http2 (nghttp2) on it, and what tests do with that client.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2ConnectionHandlers, H2ConnectionOptions } from '../../../tunnel/h2/connection.ts';
import type { H2Stream, H2StreamHandlers } from '../../../tunnel/h2/stream.ts';
import { dialNode, listenTls } from './tls-pair.ts';

export interface Served {
  readonly session: ClientHttp2Session;
  /** Our end; there is one as soon as the client is connected. */
  readonly connection: H2Connection;
  /** Resolves with how our end closed. */
  readonly closed: Promise<string>;
  readonly stop: () => Promise<void>;
}

export async function serve(
  onRequest: H2ConnectionHandlers['onRequest'],
  options: Partial<H2ConnectionOptions> = {},
): Promise<Served> {
  const connected = Promise.withResolvers<H2Connection>();
  const closed = Promise.withResolvers<string>();
  const server = await listenTls(transport => {
    const onClose: H2ConnectionHandlers['onClose'] = error => closed.resolve(error?.code ?? 'clean');
    const handlers = { onClose, ...(onRequest === undefined ? {} : { onRequest }) };
    connected.resolve(new H2Connection({ transport, role: 'server', ...options, handlers }));
  });
  const session = await dialNode(server.port);
  const stop = async (): Promise<void> => {
    session.destroy();
    await Promise.all([closed.promise, server.close()]);
  };
  return { session, connection: await connected.promise, closed: closed.promise, stop };
}

/** Sends back what comes, and its end. */
export function echo(stream: H2Stream): H2StreamHandlers {
  return {
    onData: chunk => {
      if (!stream.write(chunk)) stream.pause();
    },
    onDrain: () => stream.resume(),
    onEnd: () => stream.end(),
    onReset: () => {},
  };
}

export function connect(session: ClientHttp2Session, authority = '10.0.0.1:80'): ClientHttp2Stream {
  const stream = session.request(
    { ':method': 'CONNECT', ':authority': authority, baggage: 'a=b' },
    { endStream: false },
  );
  stream.on('error', () => {});
  return stream;
}

export function gone(stream: ClientHttp2Stream): Promise<unknown> {
  return new Promise(resolve => stream.once('close', resolve));
}

export async function response(stream: ClientHttp2Stream): Promise<IncomingHttpHeaders> {
  const [headers] = await once(stream, 'response');
  return headers as IncomingHttpHeaders;
}

/** Sends chunks heeding back-pressure, ends, and returns the digests of what was sent and of what came back. */
export async function exchange(
  stream: ClientHttp2Stream,
  sizes: readonly number[],
): Promise<[sent: string, received: string]> {
  const [sent, received] = [createHash('sha256'), createHash('sha256')];
  const ended = once(
    stream.on('data', (chunk: Buffer) => received.update(chunk)),
    'end',
  );
  for (const size of sizes) {
    const chunk = randomBytes(size);
    sent.update(chunk);
    if (!stream.write(chunk)) await once(stream, 'drain');
  }
  stream.end();
  await ended;
  return [sent.digest('hex'), received.digest('hex')];
}
