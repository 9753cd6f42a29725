/**
 * HTTP/1.1 of a client: Node's parser in its strict mode, and the checks that it leaves to others (http1-head.ts). What fails
 * them is answered with 400 and the connection ends.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { RequestBody } from './body.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { answer } from './exchange.ts';
import { readHead, tooManyFields } from './http1-head.ts';
import { Http1Request, type Served } from './http1-request.ts';

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
