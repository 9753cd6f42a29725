/**
 * The agent's small HTTP servers (metrics, readiness, admin): exact paths, bounded requests, strict deadlines.
 *
 * They serve operators and scrapers, never traffic; a client that is slow, greedy or hostile costs one bounded
 * connection and is dropped.
 */
import http from 'node:http';
import { isIP, type AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { describeError } from './errors.ts';
import type { Logger } from './log.ts';

export interface HttpRequest {
  readonly query: URLSearchParams;
  /** Body as UTF-8 text, at most `maxBodyBytes`. */
  readonly body: string;
}

export interface HttpReply {
  /** 200 unless given. */
  readonly status?: number;
  /** Content type; plain text unless given. */
  readonly type?: string;
  readonly body: string;
}

/** Handlers by method and exact path, such as `GET /metrics`. HEAD follows from GET. */
export type HttpRoutes = Readonly<Record<string, (request: HttpRequest) => HttpReply | Promise<HttpReply>>>;

export interface HttpServerOptions {
  readonly address: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly routes: HttpRoutes;
  readonly log: Logger;
  /** Answers only requests addressed to a loopback name and made by no web page, so that a browser on this machine can't be led here. */
  readonly localOnly?: boolean;
  /** Request head, milliseconds. */
  readonly headTimeoutMs?: number;
  /** Whole request, milliseconds. */
  readonly requestTimeoutMs?: number;
  readonly maxConnections?: number;
  /** A socket that listens there already, to be served from here on; its owner is the server. */
  readonly fd?: number | null;
}

const maxBodyBytes = 64 * 1024;
const maxHeadBytes = 8 * 1024;
/** A client that reads nothing for this long is dropped. */
const stalledMs = 30_000;
const keepAliveMs = 5_000;
/** Shorter bodies are not worth compressing. */
const gzipFromBytes = 4 * 1024;
const gzip = promisify(zlib.gzip);

/** JSON with two spaces, for people with curl. */
export function jsonReply(value: unknown, status = 200): HttpReply {
  const text = JSON.stringify(
    value,
    (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item),
    2,
  );
  return { status, type: 'application/json', body: `${text}\n` };
}

export class HttpServer implements AsyncDisposable {
  readonly #server: http.Server;

  private constructor(server: http.Server) {
    this.#server = server;
  }

  /** Binds and serves; rejects with the bind error (EADDRINUSE, EACCES, …). */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const headTimeoutMs = options.headTimeoutMs ?? 2_000;
    const server = http.createServer(
      {
        headersTimeout: headTimeoutMs,
        requestTimeout: Math.max(headTimeoutMs, options.requestTimeoutMs ?? 10_000),
        connectionsCheckingInterval: Math.max(50, Math.floor(headTimeoutMs / 2)),
        keepAliveTimeout: keepAliveMs,
        maxHeaderSize: maxHeadBytes,
      },
      (request, response) => void serve(options, request, response),
    );
    server.maxConnections = options.maxConnections ?? 64;
    server.timeout = stalledMs;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const { address: host, port, fd } = options;
      server.listen(typeof fd === 'number' ? { fd } : { host, port }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', error => options.log.error({ err: error.message }, 'http listener failed'));
    return new HttpServer(server);
  }

  get address(): string {
    return (this.#server.address() as AddressInfo).address;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Descriptor of the listening socket; stays the server's. */
  get fd(): number {
    // The one name for it that Node has; there is no public one.
    // oxlint-disable-next-line no-underscore-dangle
    return (
      (this.#server as unknown as { readonly _handle: { readonly fd: number } | null })._handle?.fd ?? -1
    );
  }

  /** Stops listening and drops what is open. */
  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function serve(
  options: HttpServerOptions,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  response.on('error', () => {});
  try {
    const reply = await answer(options, request);
    if (reply !== null) await send(request, response, reply);
  } catch (error) {
    options.log.warn({ path: request.url, err: describeError(error) }, 'http request failed');
    if (response.headersSent) response.destroy();
    else await send(request, response, { status: 500, body: `${describeError(error)}\n` });
  }
}

/** Null when the client has gone. */
async function answer(options: HttpServerOptions, request: http.IncomingMessage): Promise<HttpReply | null> {
  if (options.localOnly === true && !isLocal(request)) {
    return { status: 403, body: 'only for requests to localhost that no web page made\n' };
  }
  const [path = '/', search = ''] = (request.url ?? '/').split('?', 2);
  const asked = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET');
  const key = `${asked} ${path}`;
  const handler = Object.hasOwn(options.routes, key) ? options.routes[key] : undefined;
  if (handler === undefined) {
    const methods = Object.keys(options.routes).filter(route => route.endsWith(` ${path}`));
    if (methods.length > 0) return { status: 405, body: `use ${methods.join(' or ')}\n` };
    return { status: 404, body: `no such path; there are:\n${Object.keys(options.routes).join('\n')}\n` };
  }
  const body = await readBody(request);
  if (body === 'gone') return null;
  if (body === 'too long') return { status: 413, body: `at most ${maxBodyBytes} bytes\n` };
  return handler({ query: new URLSearchParams(search), body: body.toString('utf8') });
}

/** The Host header defeats names that were made to resolve to loopback, Origin defeats pages that post here. */
function isLocal(request: http.IncomingMessage): boolean {
  if (request.headers.origin !== undefined) return false;
  const host = (request.headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (host === 'localhost') return true;
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1';
}

function readBody(request: http.IncomingMessage): Promise<Buffer | 'too long' | 'gone'> {
  return new Promise(resolve => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxBodyBytes) chunks.push(chunk);
      else {
        request.pause();
        resolve('too long');
      }
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    request.on('error', () => resolve('gone'));
    request.on('close', () => resolve('gone'));
  });
}

async function send(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  reply: HttpReply,
): Promise<void> {
  let body: Buffer = Buffer.from(reply.body, 'utf8');
  const headers: http.OutgoingHttpHeaders = {
    'content-type': reply.type ?? 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  };
  if (body.length >= gzipFromBytes) {
    headers.vary = 'accept-encoding';
    if (/\bgzip\b/.test(request.headers['accept-encoding'] ?? '')) {
      body = await gzip(body, { level: 1 });
      headers['content-encoding'] = 'gzip';
    }
  }
  headers['content-length'] = body.length;
  // The rest of a body that nobody read would be taken for the next request.
  if (!request.complete) headers.connection = 'close';
  response.writeHead(reply.status ?? 200, headers);
  response.end(request.method === 'HEAD' ? undefined : body);
}
