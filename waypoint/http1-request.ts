/** One request of HTTP/1.1 and what its client gets, on a connection that others follow it on. */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { HeaderList, HttpHead } from '../model/http-head.ts';
import type { RequestBody } from './body.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { announcement, endToEnd, type Incoming } from './incoming.ts';
import { StreamSocket } from './stream-socket.ts';

/** A connection of a client. */
export interface Served {
  readonly context: WaypointContext;
  readonly client: Client;
  readonly destination: Destination;
  /** Requests that are not answered yet. */
  open: number;
  /** Refused: what comes is not looked at. */
  refused: boolean;
}

export class Http1Request implements Incoming {
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
