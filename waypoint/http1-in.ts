/**
 * HTTP/1.1 of a client: Node's parser in its strict mode, and the checks that it leaves to others, so that no two programs
 * can read one request as different ones. What fails them is answered with 400 and the connection ends.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { HeaderList, HttpHead } from '../model/http-head.ts';
import { RequestBody } from './body.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { answer } from './exchange.ts';
import { announcement, endToEnd, type Incoming } from './incoming.ts';
import { StreamSocket } from './stream-socket.ts';
import { isAuthority, splitTarget } from './target.ts';

interface Served {
  readonly context: WaypointContext;
  readonly client: Client;
  readonly destination: Destination;
  /** Requests that are not answered yet. */
  open: number;
  /** Refused: what comes is not looked at. */
  refused: boolean;
}

interface Door {
  readonly server: http.Server;
  readonly open: Map<Duplex, Served>;
}

const servedOf = new WeakMap<Duplex, Served>();
const doors = new WeakMap<WaypointContext, Door>();

/** Takes a connection; requests on it follow one another until it ends. */
export function serveHttp1(
  context: WaypointContext,
  client: Client,
  destination: Destination,
  socket: Duplex,
): void {
  const served: Served = { context, client, destination, open: 0, refused: false };
  servedOf.set(socket, served);
  let door = doors.get(context);
  if (door === undefined) doors.set(context, (door = { server: makeServer(context), open: new Map() }));
  const { open, server } = door;
  open.set(socket, served);
  socket.once('close', () => open.delete(socket));
  server.emit('connection', socket);
  // Paused while it was looked at, which Node takes for somebody's wish.
  socket.resume();
}

/** Ends connections on which nothing is under way; in a waypoint that drains the others end with their next response. */
export function drainHttp1(context: WaypointContext): void {
  for (const [socket, { open }] of doors.get(context)?.open ?? []) if (open === 0) socket.end();
}

function makeServer(context: WaypointContext): http.Server {
  const { limits } = context.config;
  const server = http.createServer({
    insecureHTTPParser: false,
    maxHeaderSize: limits.headBytes,
    headersTimeout: limits.requestHeadMs,
    // A body may take as long as it takes: uploads and streams have no length in time.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.max(100, Math.floor(limits.requestHeadMs / 4)),
    keepAliveTimeout: 0,
    requireHostHeader: false,
    highWaterMark: 64 * 1024,
    // What has no body has no stream of one, either.
    optimizeEmptyRequests: true,
    // Not h2c, which clients of some languages ask for with every request and do without.
    shouldUpgradeCallback: request => isUpgrade(request),
  });
  // Node cuts the list of fields without a word by default; limits.headFields answers with 431 instead.
  server.maxHeadersCount = 0;
  // A client that has said all it will say may still be answered.
  (server as unknown as { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  server.on('request', (request: IncomingMessage, response: ServerResponse) =>
    accept(request, response, null),
  );
  // Answered here, as the endpoint is another hop: it gets the body as it comes.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    // What was answered at once (a policy denies it) has had its last word.
    if (accept(request, response, null) && !response.headersSent) response.writeContinue();
  });
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    refuse(response, 417, 'expectation that is not known');
  });
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
    const served = servedOf.get(socket);
    if (served === undefined || served.open > 0 || served.refused) socket.destroy();
    else endWith(socket, 405, 'Method Not Allowed');
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (head.length > 0) socket.unshift(head);
    const response = new http.ServerResponse(request);
    response.assignSocket(socket as Socket);
    accept(request, response, socket);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const served = servedOf.get(socket);
    served?.context.metrics.refused(error.code ?? 'BAD_REQUEST');
    served?.context.log.info(
      { code: error.code, src: served.client.address, err: error.message },
      'bad request',
    );
    // What is on its way belongs to a request before: words of ours in the midst of it would be taken for its own.
    if (served === undefined || served.open > 0) socket.destroy();
    else if (served.refused) socket.end();
    else if (error.code === 'HPE_HEADER_OVERFLOW') endWith(socket, 431, 'Request Header Fields Too Large');
    else if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') endWith(socket, 408, 'Request Timeout');
    else endWith(socket, 400, 'Bad Request');
  });
  // What starts the check of headersTimeout; this server has no listening socket of its own.
  server.emit('listening');
  return server;
}

/**
 * A request that asks for another protocol, and is one that may: without a body, whose end would be in doubt, and with every
 * request before it answered, since their answers would be in the midst of the other protocol.
 */
function isUpgrade({ headers, httpVersionMinor, socket }: IncomingMessage): boolean {
  const served = servedOf.get(socket);
  if (served === undefined || served.open > 0 || served.refused) return false;
  const wanted = headers.upgrade?.toLowerCase();
  if (wanted === undefined || wanted.startsWith('h2') || wanted.startsWith('http/')) return false;
  const { 'transfer-encoding': coding, 'content-length': length = '0' } = headers;
  return (
    httpVersionMinor === 1 && coding === undefined && length === '0' && /^[\w.-]+(\/[\w.-]+)?$/.test(wanted)
  );
}

/** Ends a connection on which nothing more can be read for sure. */
function endWith(socket: Duplex, status: number, phrase: string): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(`HTTP/1.1 ${status} ${phrase}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`, () =>
    socket.destroy(),
  );
}

function refuse(response: ServerResponse, status: number, why: string): false {
  const served = servedOf.get(response.req.socket);
  if (served !== undefined) served.refused = true;
  response.shouldKeepAlive = false;
  response.writeHead(status, {
    connection: 'close',
    'content-type': 'text/plain',
    'content-length': why.length + 1,
  });
  response.end(`${why}\n`);
  return false;
}

/** True where the request was taken. */
function accept(request: IncomingMessage, response: ServerResponse, upgraded: Duplex | null): boolean {
  const served = servedOf.get(request.socket);
  if (served === undefined) {
    request.socket.destroy();
    return false;
  }
  if (served.refused) return false;
  const { context, client } = served;
  const head = readHead(request, context.config.limits.headFields);
  if (typeof head === 'string') {
    context.metrics.refused('BAD_REQUEST');
    context.log.info({ code: 'BAD_REQUEST', src: client.address, err: head }, 'bad request');
    return refuse(response, head === tooManyFields ? 431 : 400, head);
  }
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
  const hasBody = coding !== undefined || (length !== undefined && length !== '0');
  const body = hasBody
    ? new RequestBody(
        request,
        context.config.limits.replayBytes,
        () => request.complete,
        () => request.rawTrailers,
      )
    : null;
  if (!hasBody && upgraded === null && !request.readableEnded) request.resume();
  answer(context, new Http1Request(served, request, response, head, body, upgraded));
  return true;
}

const tooManyFields = 'too many header fields';

/** The head of a request, or why it is none. */
export function readHead(
  request: Pick<IncomingMessage, 'rawHeaders' | 'url' | 'method' | 'httpVersionMinor'>,
  maxFields: number,
): HttpHead | string {
  const { rawHeaders, url = '', method = '', httpVersionMinor } = request;
  if (rawHeaders.length > 2 * maxFields) return tooManyFields;
  let host: string | null = null;
  let lengths = 0;
  let codings = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const value = rawHeaders[at + 1] ?? '';
    const name = rawHeaders[at] ?? '';
    switch (name.length === 4 || name.length >= 14 ? name.toLowerCase() : '') {
      case 'host':
        if (host !== null) return 'more than one Host';
        host = value;
        break;
      case 'content-length':
        lengths += 1;
        if (!/^\d{1,15}$/.test(value)) return 'Content-Length is no number';
        break;
      case 'transfer-encoding':
        codings += 1;
        if (value.toLowerCase() !== 'chunked') return 'Transfer-Encoding other than chunked';
        break;
    }
    if (value.includes('\r') || value.includes('\n')) return 'folded header field';
  }
  if (lengths + codings > 1) return 'more than one length';
  if (codings > 0 && httpVersionMinor === 0) return 'Transfer-Encoding in HTTP/1.0';
  if (host === null && httpVersionMinor > 0) return 'no Host';
  const target = readTarget(url, host ?? '');
  if (typeof target === 'string') return target;
  return { method, scheme: 'http', headers: endToEnd(rawHeaders, made), ...target };
}

const made: ReadonlySet<string> = new Set(['host', 'expect']);

/** RFC 9112 §3.2: path or absolute URL, whose authority must be what Host says. */
function readTarget(url: string, host: string): Pick<HttpHead, 'path' | 'query' | 'authority'> | string {
  let rest = url;
  if (!isAuthority(host)) return 'Host is no host';
  if (!url.startsWith('/')) {
    const [, authority, path] = /^http:\/\/([^/?#]*)([^#]*)$/i.exec(url) ?? [];
    if (authority === undefined || path === undefined) return 'request target is neither path nor http URL';
    if (authority.toLowerCase() !== host.toLowerCase()) return 'request target and Host differ';
    rest = path.startsWith('/') ? path : `/${path}`;
  }
  return splitTarget(rest, host);
}

class Http1Request implements Incoming {
  readonly client: Client;
  readonly destination: Destination;
  readonly version = 1;
  readonly head: HttpHead;
  readonly body: RequestBody | null;
  readonly upgrade: string | null;
  readonly #served: Served;
  readonly #response: ServerResponse;
  readonly #socket: Duplex;
  readonly #upgraded: Duplex | null;
  /** HTTP/1.0 knows of no response before the final one, and of no chunks. */
  readonly #isCurrent: boolean;
  #closed = false;
  onDrain: () => void = () => {};
  onClose: () => void = () => {};

  constructor(
    served: Served,
    request: IncomingMessage,
    response: ServerResponse,
    head: HttpHead,
    body: RequestBody | null,
    upgraded: Duplex | null,
  ) {
    this.#served = served;
    this.client = served.client;
    this.destination = served.destination;
    this.head = head;
    this.body = body;
    this.upgrade = upgraded === null ? null : (request.headers.upgrade ?? null);
    this.#response = response;
    this.#socket = request.socket;
    this.#upgraded = upgraded;
    this.#isCurrent = request.httpVersionMinor > 0;
    response.sendDate = false;
    response.on('drain', () => this.onDrain()).on('error', () => {});
    served.open += 1;
    if (served.open === served.context.config.limits.streamsPerConnection) holdOf(request.socket)?.hold();
    response.once('close', () => this.#gone());
    upgraded?.once('close', () => this.#gone()).on('error', () => {});
  }

  inform(status: number, headers: HeaderList): void {
    if (this.#response.headersSent || this.#closed || status === 101 || !this.#isCurrent) return;
    // While a response to an earlier request is under way, this would be in the midst of it.
    if (this.#response.socket === null) return;
    const lines = endToEnd(headers).map((text, at) => (at % 2 === 0 ? `${text}: ` : `${text}\r\n`));
    this.#socket.write(
      `HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? 'Information'}\r\n${lines.join('')}\r\n`,
      'latin1',
    );
  }

  respond(status: number, headers: HeaderList, hasBody: boolean): void {
    // After a request to switch that was not followed, what comes is not certain to be another request.
    if (this.#upgraded !== null || this.#served.context.draining) this.#response.shouldKeepAlive = false;
    const hasEnd = hasLength(headers);
    const mayHave = mayHaveBody(this.head.method, status);
    // Only after chunks there are trailers to announce.
    const hasChunks = hasBody && mayHave && !hasEnd && this.#isCurrent;
    const list = endToEnd(headers, hasChunks ? undefined : announcement);
    if (!hasBody && !hasEnd && mayHave) list.push('content-length', '0');
    this.#response.writeHead(status, list);
    // What arrives together leaves together; a body that is still to come does not hold up the head.
    if (hasBody) process.nextTick(flush, this.#response);
  }

  write(chunk: Buffer): boolean {
    return this.#closed || this.#response.write(chunk);
  }

  end(trailers: HeaderList): void {
    if (trailers.length > 0) this.#response.addTrailers(pairsOf(endToEnd(trailers)));
    this.#response.end();
    this.body?.abandon();
    this.#upgraded?.end();
  }

  abort(): void {
    this.#socket.destroy();
  }

  switchTo(headers: HeaderList): Duplex {
    const lines = headers.map((text, at) => (at % 2 === 0 ? `${text}: ` : `${text}\r\n`));
    const socket = this.#upgraded ?? this.#socket;
    this.#response.detachSocket(socket as Socket);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${this.upgrade}\r\n${lines.join('')}\r\n`,
      'latin1',
    );
    return socket;
  }

  #gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#served.open -= 1;
    if (this.#served.open < this.#served.context.config.limits.streamsPerConnection)
      holdOf(this.#socket)?.release();
    this.onClose();
  }
}

/** What keeps a client from sending more requests than are answered; null where nothing does. */
function holdOf(socket: Duplex): StreamSocket | null {
  return socket instanceof StreamSocket ? socket : null;
}

function flush(response: ServerResponse): void {
  if (!response.writableEnded) response.flushHeaders();
}

function pairsOf(headers: HeaderList): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at < headers.length; at += 2) pairs.push([headers[at] ?? '', headers[at + 1] ?? '']);
  return pairs;
}

function hasLength(headers: HeaderList): boolean {
  for (let at = 0; at < headers.length; at += 2)
    if (headers[at]?.length === 14 && headers[at]?.toLowerCase() === 'content-length') return true;
  return false;
}

function mayHaveBody(method: string, status: number): boolean {
  return method !== 'HEAD' && status !== 204 && status !== 304;
}
