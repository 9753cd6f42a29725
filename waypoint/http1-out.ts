/**
 * HTTP/1.1 to an endpoint: undici's dispatcher, a pool of connections for each endpoint. (Of the clients there are for Node
 * it has the least to do for a request: measured against node:http in bench/waypoint.ts.)
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Pool, type Dispatcher } from 'undici';
import { CulvertError, asCulvertError } from '../base/errors.ts';
import type { HeaderList, HttpHead } from '../model/http-head.ts';
import { noLimits } from '../model/traffic-policy.ts';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import {
  h2InternalError,
  type OutgoingCall,
  type OutgoingError,
  type OutgoingHandlers,
  type OutgoingRequest,
} from './outgoing.ts';
import { lateRefusal } from './tls-out.ts';
import type { Upstream } from './upstream.ts';

interface Held {
  readonly pool: Pool;
  /** Null: endpoints that are nobody's in particular. */
  readonly upstream: Upstream | null;
  readonly idleMs: number;
  /** No request is given to it after this. */
  readonly retireAt: number;
  running: number;
  /** Connections. */
  open: number;
  idleSince: number;
}

/** Where a policy has no limit of its own to a connection's rest. */
const neverIdleMs = 24 * 3_600_000;

const sweepMs = 10_000;

/** The connections to all endpoints. */
export class Http1Pools {
  readonly #context: WaypointContext;
  readonly #dial: (way: Way) => Promise<Duplex>;
  readonly #pools = new Map<string, Held>();
  readonly #timer: NodeJS.Timeout;

  /** @param dial opens a connection for HTTP/1.1 */
  constructor(context: WaypointContext, dial: (way: Way) => Promise<Duplex>) {
    this.#context = context;
    this.#dial = dial;
    this.#timer = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  send(way: Way, request: OutgoingRequest, handlers: OutgoingHandlers): OutgoingCall {
    let held = this.#pools.get(way.key);
    if (held !== undefined && held.retireAt <= Date.now()) {
      void held.pool.close();
      held = undefined;
    }
    if (held === undefined) this.#pools.set(way.key, (held = this.#open(way)));
    const owner = held;
    owner.running += 1;
    const call = new Http1Call(way, request, handlers, () => {
      owner.running -= 1;
      owner.idleSince = Date.now();
    });
    const { head, body } = request;
    owner.pool.dispatch(
      {
        method: head.method,
        path: head.query === null ? head.path : `${head.path}?${head.query}`,
        headers: requestHeaders(head),
        body,
      },
      call,
    );
    return call;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    const all = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(all.map(({ pool }) => pool.destroy()));
  }

  #open(way: Way): Held {
    const { limits } = this.#context.config;
    const { upstream } = way;
    const own = upstream?.policy.limits ?? noLimits;
    const idleMs = own.idleMs === 0 ? neverIdleMs : (own.idleMs ?? limits.upstreamIdleMs);
    const pool = new Pool('http://endpoint.invalid', {
      connections: own.connections,
      ...(own.requestsPerConnection === null ? {} : { maxRequestsPerClient: own.requestsPerConnection }),
      pipelining: 1,
      keepAliveTimeout: idleMs,
      keepAliveMaxTimeout: idleMs,
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: limits.headBytes,
      connect: (_options, done) => {
        if (own.connections !== null) this.#makeRoom(held, own.connections);
        const dialled = async (): Promise<void> => {
          const socket = await this.#dial(way);
          held.open += 1;
          socket.once('close', () => (held.open -= 1));
          // Typed for sockets; undici uses what every Duplex has.
          done(null, socket as unknown as Socket);
        };
        dialled().catch((error: unknown) => done(asCulvertError(error, 'DIAL_FAILED'), null));
      },
    });
    const now = Date.now();
    const retireAt = own.connectionAgeMs === null ? Number.POSITIVE_INFINITY : now + own.connectionAgeMs;
    const held: Held = { pool, upstream, idleMs, retireAt, running: 0, open: 0, idleSince: now };
    return held;
  }

  /** Requests are counted before they come here: what is too much are connections to other endpoints that rest. */
  #makeRoom(wanted: Held, most: number): void {
    const siblings = [...this.#pools].filter(
      ([, held]) => held !== wanted && held.upstream === wanted.upstream,
    );
    let open = siblings.reduce((sum, [, held]) => sum + held.open, wanted.open);
    for (const [key, held] of siblings) {
      if (open < most) return;
      if (held.running > 0) continue;
      this.#pools.delete(key);
      open -= held.open;
      void held.pool.close();
    }
  }

  #sweep(): void {
    const now = Date.now();
    for (const [key, held] of this.#pools) {
      if (held.running > 0 || (held.idleSince > now - held.idleMs && held.retireAt > now)) continue;
      this.#pools.delete(key);
      void held.pool.close();
    }
  }
}

function requestHeaders({ authority, headers }: HttpHead): string[] {
  return ['host', authority, ...headers];
}

class Http1Call implements OutgoingCall, Dispatcher.DispatchHandler {
  readonly #way: Way;
  readonly #handlers: OutgoingHandlers;
  readonly #method: string;
  readonly #done: () => void;
  #controller: Dispatcher.DispatchController | null = null;
  #sent = false;
  #over = false;
  #aborted = false;

  constructor(way: Way, request: OutgoingRequest, handlers: OutgoingHandlers, done: () => void) {
    this.#way = way;
    this.#method = request.head.method;
    this.#handlers = handlers;
    this.#done = done;
  }

  resume(): void {
    this.#controller?.resume();
  }

  abort(): void {
    if (this.#over) return;
    this.#finish();
    this.#aborted = true;
    this.#controller?.abort(new CulvertError('ABORTED', 'no longer wanted'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#sent = true;
    if (this.#aborted) controller.abort(new CulvertError('ABORTED', 'no longer wanted'));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#over) return;
    const headers = listOf(controller.rawHeaders);
    if (status >= 100 && status < 200) this.#handlers.onInformation(status, headers);
    else this.#handlers.onResponse(status, headers, hasBody(this.#method, status, headers));
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#over && !this.#handlers.onData(chunk)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#over) return;
    this.#finish();
    this.#handlers.onEnd(listOf(controller.rawTrailers));
  }

  onResponseError(_controller: Dispatcher.DispatchController, thrown: Error): void {
    if (this.#over) return;
    this.#finish();
    const refusal = lateRefusal(thrown, this.#way.tls);
    this.#handlers.onError(refusal === null ? failure(thrown, this.#sent) : failure(refusal, false));
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#done();
  }
}

function failure(thrown: Error, sent: boolean): OutgoingError {
  if (thrown instanceof CulvertError) return { error: thrown, seen: false, code: h2InternalError };
  const error = new CulvertError('UPSTREAM_FAILED', `the endpoint broke off: ${thrown.message}`, {
    side: 'server',
    cause: thrown,
  });
  return { error, seen: sent, code: h2InternalError };
}

function hasBody(method: string, status: number, headers: HeaderList): boolean {
  if (method === 'HEAD' || status === 204 || status === 304) return false;
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at]?.length === 14 && headers[at]?.toLowerCase() === 'content-length')
      return headers[at + 1] !== '0';
  }
  return true;
}

function listOf(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map(part => (typeof part === 'string' ? part : part.toString('latin1')));
}
