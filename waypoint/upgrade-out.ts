/**
 * A request to go on with another protocol (WebSocket), on a connection of its own. Node's own client: undici takes any answer
 * but 101 for an error, and an endpoint may well decline.
 */
import http, { type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import {
  h2InternalError,
  type OutgoingCall,
  type OutgoingHandlers,
  type OutgoingRequest,
} from './outgoing.ts';
import { dial } from './tunnel-out.ts';

/** @param upgrade the protocol asked for */
export function sendUpgrade(
  context: WaypointContext,
  way: Way,
  request: OutgoingRequest,
  upgrade: string,
  handlers: OutgoingHandlers,
): OutgoingCall {
  const call = new UpgradeCall(request, upgrade, handlers, context.config.limits.headBytes);
  dial(context, null, way, ['http/1.1']).then(
    socket => call.start(socket),
    (error: unknown) => call.fail(asCulvertError(error, 'DIAL_FAILED'), false),
  );
  return call;
}

class UpgradeCall implements OutgoingCall {
  readonly #request: OutgoingRequest;
  readonly #upgrade: string;
  readonly #handlers: OutgoingHandlers;
  readonly #headBytes: number;
  #socket: Duplex | null = null;
  #response: IncomingMessage | null = null;
  #over = false;

  constructor(request: OutgoingRequest, upgrade: string, handlers: OutgoingHandlers, headBytes: number) {
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
    const sent = http.request({
      method: head.method,
      path: head.query === null ? head.path : `${head.path}?${head.query}`,
      headers: ['host', head.authority, ...head.headers, 'connection', 'upgrade', 'upgrade', this.#upgrade],
      setHost: false,
      maxHeaderSize: this.#headBytes,
      createConnection: () => socket,
    });
    sent.on('error', (error: Error) => this.#broken(error));
    sent.on('information', ({ statusCode, rawHeaders }) => {
      if (!this.#over) this.#handlers.onInformation(statusCode, rawHeaders);
    });
    sent.on('upgrade', (response, switched, early) => {
      if (this.#over) return;
      this.#over = true;
      if (early.length > 0) switched.unshift(early);
      this.#handlers.onSwitch(response.rawHeaders, switched);
    });
    sent.on('response', response => this.#declined(response));
    sent.end();
  }

  #declined(response: IncomingMessage): void {
    if (this.#over) return;
    this.#response = response;
    this.#handlers.onResponse(response.statusCode ?? 0, response.rawHeaders, true);
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
    const message = `the endpoint broke off: ${cause.message}`;
    this.fail(new CulvertError('UPSTREAM_FAILED', message, { side: 'server', cause }), true);
  }
}
