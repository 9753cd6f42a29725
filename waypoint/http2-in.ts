/**
 * HTTP/2 of a client, with prior knowledge (RFC 9113 §3.3): gRPC above all. Node's implementation keeps to the rules of
 * frames and fields and bounds floods; what it leaves open is checked as for HTTP/1.1.
 */
import http2, { type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { HeaderList, HttpHead } from '../model/http-head.ts';
import { RequestBody } from './body.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { answer } from './exchange.ts';
import { endToEnd, fieldsOf, type Incoming } from './incoming.ts';
import { isAuthority, isMethod, splitTarget } from './target.ts';

const { NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM } = http2.constants;

interface Served {
  readonly client: Client;
  readonly destination: Destination;
}

const servedOf = new WeakMap<Duplex, Served>();
interface Door {
  readonly server: http2.Http2Server;
  readonly sessions: Set<http2.ServerHttp2Session>;
}

const doors = new WeakMap<WaypointContext, Door>();

/** Takes a connection whose client has sent the preface. */
export function serveHttp2(
  context: WaypointContext,
  client: Client,
  destination: Destination,
  socket: Duplex,
): void {
  servedOf.set(socket, { client, destination });
  let door = doors.get(context);
  if (door === undefined) doors.set(context, (door = openDoor(context)));
  door.server.emit('connection', socket);
}

/** Bytes that may be under way to us, per stream: what a connection of a few milliseconds needs to be full. */
const windowBytes = 1024 * 1024;
/** In a GOAWAY: none is refused yet. */
const maxStreamId = 2 ** 31 - 1;

/** No requests any more; those that are under way end. */
export function drainHttp2(context: WaypointContext): void {
  for (const session of doors.get(context)?.sessions ?? []) session.close();
}

/** Asks clients to send no more; what they have sent meanwhile is answered (RFC 9113 §6.8). */
export function warnHttp2(context: WaypointContext): void {
  for (const session of doors.get(context)?.sessions ?? []) session.goaway(NGHTTP2_NO_ERROR, maxStreamId);
}

function openDoor(context: WaypointContext): Door {
  const { limits } = context.config;
  const server = http2.createServer({
    settings: {
      maxConcurrentStreams: limits.streamsPerConnection,
      maxHeaderListSize: limits.headBytes,
      initialWindowSize: windowBytes,
      enablePush: false,
    },
    maxHeaderListPairs: limits.headFields,
    maxSessionInvalidFrames: 10,
    // Endpoints send `date` twice, say; HTTP/1.1 passes it on as well.
    strictSingleValueFields: false,
    unknownProtocolTimeout: limits.requestHeadMs,
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', session => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.setLocalWindowSize(4 * windowBytes);
    session.on('error', () => {});
  });
  server.on('sessionError', error =>
    context.metrics.refused((error as NodeJS.ErrnoException).code ?? 'H2_ERROR'),
  );
  server.on('stream', (given, headers, flags, rawHeaders) => {
    // Of a server, whatever the type says.
    const stream = given as ServerHttp2Stream;
    stream.on('error', () => {});
    const { session } = stream;
    const served = session === undefined ? undefined : servedBy(session);
    const hasBody = (flags & NGHTTP2_FLAG_END_STREAM) === 0;
    const head = readHead(headers, rawHeaders);
    if (served === undefined || typeof head === 'string') {
      context.metrics.refused('BAD_REQUEST');
      context.log.info({ code: 'BAD_REQUEST', src: served?.client.address, err: head }, 'bad request');
      stream.close(NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    const isWhole = (): boolean => !stream.aborted && (stream.rstCode ?? 0) === 0;
    let trailers: HeaderList = [];
    stream.once('trailers', (_headers: unknown, _flags: unknown, raw: HeaderList) => (trailers = raw));
    const body = hasBody ? new RequestBody(stream, limits.replayBytes, isWhole, () => trailers) : null;
    if (!hasBody) stream.resume();
    answer(context, new Http2Request(served, stream, head, body));
  });
  return { server, sessions };
}

const servedBySession = new WeakMap<object, Served>();

/** Node wraps what is no socket; the one it wraps is what we know. */
function servedBy(session: http2.Http2Session): Served | undefined {
  const known = servedBySession.get(session);
  if (known !== undefined) return known;
  const socket = session.socket as unknown as { stream?: Duplex };
  const served = servedOf.get(socket.stream ?? (session.socket as Duplex));
  if (served !== undefined) servedBySession.set(session, served);
  return served;
}

const made: ReadonlySet<string> = new Set(['host', 'expect']);

/** The head of a request, or why it is none. */
function readHead(headers: IncomingHttpHeaders, raw: HeaderList): HttpHead | string {
  const { ':method': method, ':path': target, ':scheme': scheme, ':authority': authority, host } = headers;
  if (method === undefined || method === 'CONNECT') return 'CONNECT is not possible here';
  if (!isMethod(method)) return 'method that can not be';
  if (scheme !== 'http' && scheme !== 'https') return 'scheme that is not known';
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase())
    return ':authority and Host differ';
  const name = authority ?? host ?? '';
  if (!isAuthority(name)) return 'Host is no host';
  if (target?.startsWith('/') !== true) return 'path that can not be';
  const parts = splitTarget(target, name);
  if (typeof parts === 'string') return parts;
  const fields: string[] = [];
  const cookies: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const field = raw[at] ?? '';
    if (field.startsWith(':')) continue;
    // RFC 9113 §8.2.3: crumbs are one field again for whoever is not HTTP/2.
    if (field === 'cookie') cookies.push(raw[at + 1] ?? '');
    else fields.push(field, raw[at + 1] ?? '');
  }
  if (cookies.length > 0) fields.push('cookie', cookies.join('; '));
  return { method, scheme: 'http', headers: endToEnd(fields, made), ...parts };
}

class Http2Request implements Incoming {
  readonly client: Client;
  readonly destination: Destination;
  readonly version = 2;
  readonly head: HttpHead;
  readonly body: RequestBody | null;
  readonly upgrade = null;
  readonly #stream: ServerHttp2Stream;
  #trailers: HeaderList = [];
  #aborted = false;
  onDrain: () => void = () => {};
  onClose: () => void = () => {};

  constructor(
    { client, destination }: Served,
    stream: ServerHttp2Stream,
    head: HttpHead,
    body: RequestBody | null,
  ) {
    this.client = client;
    this.destination = destination;
    this.#stream = stream;
    this.head = head;
    this.body = body;
    stream.on('drain', () => this.onDrain());
    stream.once('close', () => this.onClose());
  }

  /** A client may reset a stream with the frame that opens it: it is closed then, and only a moment later destroyed. */
  get #isGone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  inform(status: number, headers: HeaderList): void {
    if (this.#stream.headersSent || this.#isGone) return;
    this.#stream.additionalHeaders({ ':status': status, ...fieldsOf(headers) });
  }

  respond(status: number, headers: HeaderList, hasBody: boolean): void {
    if (this.#isGone) return;
    // What is no class of status is an error of the server (RFC 9110 §15), and can not be said by Node.
    this.#stream.respond(
      { ':status': status > 599 ? 500 : status, ...fieldsOf(headers) },
      { endStream: !hasBody, waitForTrailers: hasBody },
    );
    // Also without trailers: only so does a reset not get an end of the body put before it by Node.
    if (hasBody)
      this.#stream.once('wantTrailers', () => {
        if (!this.#aborted && !this.#isGone) this.#stream.sendTrailers(fieldsOf(this.#trailers));
      });
  }

  write(chunk: Buffer): boolean {
    return this.#stream.destroyed || this.#stream.write(chunk);
  }

  end(trailers: HeaderList): void {
    this.#trailers = trailers;
    this.#stream.end();
    this.body?.abandon();
  }

  abort(code: number): void {
    this.#aborted = true;
    if (!this.#stream.destroyed) this.#stream.close(code);
  }

  switchTo(): Duplex {
    this.abort(NGHTTP2_CANCEL);
    return this.#stream;
  }
}
