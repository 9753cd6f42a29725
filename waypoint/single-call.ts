/**
 * A request on a connection of its own, over HTTP/1.1, by Node's own client: for what undici can't do, which is to send
 * trailers and to let an endpoint decline another protocol (it takes any answer but 101 for an error).
 */
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { headerOf } from '../model/http-head.ts';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import { announcement, endToEnd } from './incoming.ts';
import {
  h2InternalError,
  type OutgoingCall,
  type OutgoingHandlers,
  type OutgoingRequest,
} from './outgoing.ts';
import { lateRefusal } from './tls-out.ts';

/** What is asked for besides an answer. */
export interface SingleRequest {
  readonly request: OutgoingRequest;
  /** The protocol to go on with, of a request without a body; null: none, and trailers follow the body. */
  readonly upgrade: string | null;
  /** Opens a connection for HTTP/1.1. */
  readonly dial: (way: Way) => Promise<Duplex>;
}

export function sendAlone(
  context: WaypointContext,
  way: Way,
  single: SingleRequest,
  handlers: OutgoingHandlers,
): OutgoingCall {
  const call = new SingleCall(way, single, handlers, context.config.limits.headBytes);
  single
    .dial(way)
    .then(socket => call.start(socket))
    .catch((error: unknown) => call.fail(asCulvertError(error, 'DIAL_FAILED'), false));
  return call;
}

class SingleCall implements OutgoingCall {
  readonly #way: Way;
  readonly #request: OutgoingRequest;
  readonly #upgrade: string | null;
  readonly #handlers: OutgoingHandlers;
  readonly #headBytes: number;
  #socket: Duplex | null = null;
  #response: IncomingMessage | null = null;
  #over = false;

  constructor(way: Way, { request, upgrade }: SingleRequest, handlers: OutgoingHandlers, headBytes: number) {
    this.#way = way;
    this.#request = request;
    this.#upgrade = upgrade;
    this.#handlers = handlers;
    this.#headBytes = headBytes;
  }

  resume(): void {
    this.#response?.resume();
  }

  abort(): void {
    this.#over = true;
    this.#socket?.destroy();
  }

  fail(error: CulvertError, seen: boolean): void {
    if (this.#over) return;
    this.abort();
    this.#handlers.onError({ error, seen, code: h2InternalError });
  }

  start(socket: Duplex): void {
    this.#socket = socket;
    socket.on('error', () => {});
    if (this.#over) {
      socket.destroy();
      return;
    }
    const { head } = this.#request;
    // What has no body has no trailers to announce, and Node insists on that.
    const fields = this.#upgrade === null ? head.headers : endToEnd(head.headers, announcement);
    const framing =
      this.#upgrade === null
        ? ['connection', 'close', 'transfer-encoding', 'chunked']
        : ['connection', 'upgrade', 'upgrade', this.#upgrade];
    const sent = http.request({
      method: head.method,
      path: head.query === null ? head.path : `${head.path}?${head.query}`,
      headers: ['host', head.authority, ...fields, ...framing],
      setHost: false,
      maxHeaderSize: this.#headBytes,
      createConnection: () => socket,
    });
    sent.on('error', (error: Error) => this.#broken(error));
    sent.on('information', ({ statusCode, rawHeaders }) => {
      if (!this.#over) this.#handlers.onInformation(statusCode, rawHeaders);
    });
    sent.on('response', response => this.#answered(response));
    if (this.#upgrade === null) this.#write(sent);
    else this.#offer(sent);
  }

  /** The body, and what comes behind it. */
  #write(sent: ClientRequest): void {
    const { body, trailers } = this.#request;
    if (body === null) {
      sent.end();
      return;
    }
    body.on('error', () => sent.destroy());
    body.once('end', () => {
      const list = trailers?.() ?? [];
      const pairs: [string, string][] = [];
      for (let at = 0; at < list.length; at += 2) pairs.push([list[at] ?? '', list[at + 1] ?? '']);
      sent.addTrailers(pairs);
      sent.end();
    });
    body.pipe(sent, { end: false });
  }

  #offer(sent: ClientRequest): void {
    sent.on('upgrade', (response, switched, early) => {
      if (this.#over) return;
      this.#over = true;
      if (early.length > 0) switched.unshift(early);
      this.#handlers.onSwitch(response.rawHeaders, switched);
    });
    sent.end();
  }

  #answered(response: IncomingMessage): void {
    if (this.#over) return;
    this.#response = response;
    const { statusCode = 0, rawHeaders } = response;
    const isEmpty =
      statusCode === 204 || statusCode === 304 || headerOf(rawHeaders, 'content-length') === '0';
    this.#handlers.onResponse(statusCode, rawHeaders, !isEmpty && this.#request.head.method !== 'HEAD');
    response.on('data', (chunk: Buffer) => {
      if (!this.#over && !this.#handlers.onData(chunk)) response.pause();
    });
    response.on('error', (error: Error) => this.#broken(error));
    response.on('end', () => {
      if (this.#over) return;
      this.#over = true;
      this.#socket?.destroy();
      this.#handlers.onEnd(response.rawTrailers);
    });
  }

  #broken(cause: Error): void {
    const refusal = lateRefusal(cause, this.#way.tls);
    const message = `the endpoint broke off: ${cause.message}`;
    const error = refusal ?? new CulvertError('UPSTREAM_FAILED', message, { side: 'server', cause });
    this.fail(error, refusal === null);
  }
}
