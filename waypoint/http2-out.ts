/**
 * HTTP/2 to an endpoint: one connection for each that requests share, and further ones when it takes no more streams.
 */
import http2, { type ClientHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { HeaderList } from '../model/http-head.ts';
import { breakOff, full, hasRoom, openSession, type Session, type SessionCall } from './http2-session.ts';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import { fieldsOf } from './incoming.ts';
import {
  h2Cancel,
  h2InternalError,
  type OutgoingCall,
  type OutgoingHandlers,
  type OutgoingRequest,
} from './outgoing.ts';

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_REFUSED_STREAM, NGHTTP2_NO_ERROR } = http2.constants;

interface Endpoint {
  readonly sessions: Session[];
  opening: Promise<Session> | null;
}

const sweepMs = 10_000;

/** The connections to all endpoints. */
export class Http2Pools {
  readonly #context: WaypointContext;
  readonly #dial: (way: Way) => Promise<Duplex>;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #timer: NodeJS.Timeout;

  /** @param dial opens a connection for HTTP/2 */
  constructor(context: WaypointContext, dial: (way: Way) => Promise<Duplex>) {
    this.#context = context;
    this.#dial = dial;
    this.#timer = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  send(way: Way, request: OutgoingRequest, handlers: OutgoingHandlers): OutgoingCall {
    const call = new Http2Call(request, handlers);
    const ready = this.#ready(way.key);
    if (ready !== null) call.start(ready);
    else if (this.#isFull(way)) process.nextTick(() => call.fail(full(way), false, h2InternalError));
    else void this.#startLater(way, call);
    return call;
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { sessions } of this.#endpoints.values()) for (const open of sessions) breakOff(open);
    this.#endpoints.clear();
  }

  async #startLater(way: Way, call: Http2Call): Promise<void> {
    try {
      for (;;) {
        const ready = this.#ready(way.key);
        if (ready !== null) {
          call.start(ready);
          return;
        }
        const opened = await this.#open(way);
        // One that takes no stream at all would be followed by the next, without end.
        if (opened.served === 0 && !hasRoom(opened)) throw full(way);
      }
    } catch (error) {
      call.fail(asCulvertError(error, 'DIAL_FAILED', { side: 'server' }), false, h2InternalError);
    }
  }

  #ready(key: string): Session | null {
    const sessions = this.#endpoints.get(key)?.sessions ?? [];
    return sessions.find(hasRoom) ?? null;
  }

  /** As many connections as the policy permits, and no room in any. */
  #isFull({ key, upstream }: Way): boolean {
    const most = upstream?.policy.limits.connections ?? null;
    const endpoint = this.#endpoints.get(key);
    return (
      most !== null && endpoint !== undefined && endpoint.opening === null && endpoint.sessions.length >= most
    );
  }

  /** Callers that come while a connection is opened wait for that one. */
  #open(way: Way): Promise<Session> {
    let endpoint = this.#endpoints.get(way.key);
    if (endpoint === undefined) this.#endpoints.set(way.key, (endpoint = { sessions: [], opening: null }));
    const { sessions } = endpoint;
    const owner = endpoint;
    owner.opening ??= this.#connect(way)
      .then(opened => {
        sessions.push(opened);
        opened.session.once('close', () => {
          sessions.splice(sessions.indexOf(opened), 1);
          if (sessions.length === 0 && owner.opening === null) this.#endpoints.delete(way.key);
        });
        return opened;
      })
      .finally(() => {
        owner.opening = null;
      });
    return owner.opening;
  }

  async #connect(way: Way): Promise<Session> {
    return openSession(await this.#dial(way), way, this.#context.config.limits);
  }

  #sweep(): void {
    const now = Date.now();
    const { upstreamIdleMs } = this.#context.config.limits;
    for (const { sessions } of this.#endpoints.values()) {
      for (const { session, streams, idleSince, retireAt, limits } of sessions) {
        const idleMs = limits.idleMs ?? upstreamIdleMs;
        const isIdle = idleMs > 0 && streams === 0 && idleSince < now - idleMs;
        if (isIdle || retireAt <= now) session.close();
      }
    }
  }
}

class Http2Call implements OutgoingCall, SessionCall {
  readonly #request: OutgoingRequest;
  readonly #handlers: OutgoingHandlers;
  #stream: ClientHttp2Stream | null = null;
  #responded = false;
  #over = false;

  constructor(request: OutgoingRequest, handlers: OutgoingHandlers) {
    this.#request = request;
    this.#handlers = handlers;
  }

  resume(): void {
    this.#stream?.resume();
  }

  abort(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream?.close(h2Cancel);
  }

  fail(error: CulvertError, seen: boolean, code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#handlers.onError({ error, seen, code });
  }

  lost(): void {
    const stream = this.#stream;
    if (this.#over || stream === null) return;
    // One that has come to its end is only to be taken by the client.
    const isWhole = stream.closed ? stream.rstCode === NGHTTP2_NO_ERROR : stream.state.remoteClose === 1;
    if (isWhole) return;
    const error = new CulvertError('UPSTREAM_RESET', 'the connection to the endpoint ended', {
      side: 'server',
    });
    this.fail(error, true, h2InternalError);
    stream.close(h2Cancel);
  }

  start(owner: Session): void {
    if (this.#over) return;
    const { head, body, trailers: after } = this.#request;
    const stream = owner.session.request(
      {
        ':method': head.method,
        ':scheme': owner.scheme ?? head.scheme,
        ':authority': head.authority,
        ':path': head.query === null ? head.path : `${head.path}?${head.query}`,
        ...fieldsOf(head.headers),
        // gRPC wants to hear that trailers are taken; it is of one hop, and so was left out above.
        te: 'trailers',
      },
      { endStream: body === null, waitForTrailers: body !== null },
    );
    this.#stream = stream;
    owner.calls.add(this);
    owner.streams += 1;
    owner.served += 1;
    let trailers: HeaderList = [];
    // Through a tunnel Node may tell of the body before the head, when both come in one piece.
    let early: Buffer[] = [];
    const take = (chunk: Buffer): void => {
      if (!this.#over && !this.#handlers.onData(chunk)) stream.pause();
    };
    stream.on('headers', (headers, _flags, raw) => {
      if (!this.#over) this.#handlers.onInformation(Number(headers[':status']), regular(raw));
    });
    stream.on('response', (headers, flags, raw) => {
      if (this.#over) return;
      this.#responded = true;
      const hasBody = (flags & NGHTTP2_FLAG_END_STREAM) === 0;
      this.#handlers.onResponse(Number(headers[':status']), regular(raw), hasBody);
      for (const chunk of early) take(chunk);
      early = [];
    });
    stream.on('trailers', (_headers, _flags, raw) => {
      trailers = regular(raw);
    });
    stream.on('data', (chunk: Buffer) => {
      if (this.#responded) take(chunk);
      else early.push(chunk);
    });
    stream.on('end', () => {
      // A stream that was reset ends as well: what came then is not the whole, and 'close' tells.
      if (this.#over || !this.#responded || stream.aborted || (stream.rstCode ?? 0) !== 0) return;
      this.#over = true;
      this.#handlers.onEnd(trailers);
    });
    stream.on('error', () => {});
    stream.once('close', () => {
      owner.calls.delete(this);
      owner.streams -= 1;
      owner.idleSince = Date.now();
      // One that has had its share of requests ends with the last of them.
      if (owner.served >= (owner.limits.requestsPerConnection ?? Number.POSITIVE_INFINITY))
        owner.session.close();
      const code = stream.rstCode ?? h2InternalError;
      const error = new CulvertError(
        'UPSTREAM_RESET',
        `the endpoint reset the stream with HTTP/2 error ${code}`,
        {
          side: 'server',
        },
      );
      this.fail(error, code !== NGHTTP2_REFUSED_STREAM, code === NGHTTP2_NO_ERROR ? h2InternalError : code);
    });
    if (body !== null) {
      // As for responses: the end is sent by hand, so that none is put before a reset.
      let broken = false;
      stream.on('wantTrailers', () => {
        if (!broken && !stream.aborted && !stream.closed) stream.sendTrailers(fieldsOf(after?.() ?? []));
      });
      body.on('error', () => {
        broken = true;
        stream.close(h2Cancel);
      });
      body.pipe(stream);
    }
  }
}

/** Without pseudo headers. */
function regular(raw: unknown): HeaderList {
  if (!Array.isArray(raw)) return [];
  const list: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const name = String(raw[at]);
    if (!name.startsWith(':')) list.push(name, String(raw[at + 1]));
  }
  return list;
}
