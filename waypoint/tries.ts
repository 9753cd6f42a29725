/**
 * The tries of one request: each at an endpoint of its own while there are others, until one is answered or no further one
 * is worth it, possible or permitted.
 *
 * A try is repeated only while nothing of a response has been passed on, and the body can be sent again.
 */
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { headerOf, type HeaderList } from '../model/http-head.ts';
import { backoffMs, defaultRetry, isWorthRetry, type TryResult } from '../model/retries.ts';
import { pickWay, type Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import type { ForwardPlan } from './filters.ts';
import type { Incoming } from './incoming.ts';
import { isGrpc } from './local-answer.ts';
import type { Slot } from './load.ts';
import {
  h2Cancel,
  h2InternalError,
  type OutgoingCall,
  type OutgoingError,
  type OutgoingHandlers,
} from './outgoing.ts';
import { outcomeOf } from './outcome.ts';
import { versionFor } from './outgoing-version.ts';
import { send } from './pools.ts';
import { dial } from './tunnel-out.ts';
import { sendAlone } from './single-call.ts';

/** Doing it twice is as doing it once (RFC 9110 §9.2.2). */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** Who gets what came of it; nothing more is called after onEnd, onSwitch, onFailed or onBroken. */
export interface TriesOwner extends Omit<OutgoingHandlers, 'onError'> {
  /** Nothing was passed on. */
  onFailed(error: CulvertError, status: number): void;
  /** In the midst of the response; `code` is of HTTP/2. */
  onBroken(error: CulvertError, code: number): void;
}

export class Tries implements OutgoingHandlers {
  readonly #context: WaypointContext;
  readonly #incoming: Incoming;
  readonly #plan: ForwardPlan;
  readonly #owner: TriesOwner;
  readonly #tried = new Set<string>();
  #call: OutgoingCall | null = null;
  #way: Way | null = null;
  /** Of the try that comes. */
  #next: Way | null = null;
  #slot: Slot | null = null;
  #further: Slot | null = null;
  #leave: () => void = () => {};
  #attempts = 0;
  #cookie: string | null = null;
  /** The try that runs has not ended. */
  #running = false;
  #responded = false;
  #over = false;
  #timer: NodeJS.Timeout | null = null;
  #pause: NodeJS.Timeout | null = null;

  constructor(context: WaypointContext, incoming: Incoming, plan: ForwardPlan, owner: TriesOwner) {
    this.#context = context;
    this.#incoming = incoming;
    this.#plan = plan;
    this.#owner = owner;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** Of the last try. */
  get way(): Way | null {
    return this.#way;
  }

  /** By which the client comes to this endpoint again; null: none. */
  get cookie(): string | null {
    return this.#cookie;
  }

  start(): void {
    if (this.#over) return;
    const way = this.#next ?? this.#pick();
    this.#next = null;
    if (way instanceof CulvertError) {
      this.#fail(way, 503);
      return;
    }
    this.#way = way;
    this.#attempts += 1;
    this.#running = true;
    if (way.upstream === null) {
      this.#send(way);
      return;
    }
    const slot = way.upstream.load.enter(versionFor(this.#incoming, way) !== 'http2', () => this.#send(way));
    if (slot instanceof CulvertError) this.#fail(slot, 503);
    else if (this.#running) this.#slot = slot;
    else slot.release();
  }

  resume(): void {
    this.#call?.resume();
  }

  /** Nothing is called any more. */
  abort(): void {
    this.#call?.abort();
    this.#finish();
  }

  onInformation(status: number, headers: HeaderList): void {
    // 100 was answered when the client asked for it.
    if (!this.#responded && !this.#over && status !== 100) this.#owner.onInformation(status, headers);
  }

  onResponse(status: number, headers: HeaderList, hasBody: boolean): void {
    const way = this.#under();
    if (!(status >= 200 && status <= 999)) {
      this.#call?.abort();
      const error = new CulvertError('UPSTREAM_FAILED', `the endpoint answers with status ${status}`, {
        side: 'server',
      });
      this.onError({ error, seen: true, code: h2InternalError });
      return;
    }
    this.#context.health.succeeded(way.workload.uid);
    const grpcStatus = this.#grpcStatus(headers);
    // What gRPC came to may be said at its end only.
    if (!this.#isGrpc() || grpcStatus !== null || !hasBody) this.#tell(way, outcomeOf(status, grpcStatus));
    if (this.#again({ type: 'status', status, grpcStatus })) return;
    this.#responded = true;
    this.#owner.onResponse(status, headers, hasBody);
  }

  onData(chunk: Buffer): boolean {
    return this.#owner.onData(chunk);
  }

  onEnd(trailers: HeaderList): void {
    const grpcStatus = this.#grpcStatus(trailers);
    if (grpcStatus !== null) this.#tell(this.#under(), outcomeOf(200, grpcStatus));
    this.#finish();
    this.#owner.onEnd(trailers);
  }

  onSwitch(headers: HeaderList, socket: Duplex): void {
    this.#responded = true;
    this.#clearTimers();
    // The connection counts for as long as it is carried.
    socket.once('close', () => this.#finish());
    this.#owner.onSwitch(headers, socket);
  }

  onError({ error, seen, code }: OutgoingError): void {
    const way = this.#under();
    this.#context.health.failed(way.workload.uid);
    this.#tell(way, 'local');
    if (this.#responded) {
      this.#finish();
      this.#owner.onBroken(error, code);
      return;
    }
    const broken = error.code === 'UPSTREAM_RESET' || error.code === 'UPSTREAM_FAILED';
    if (!this.#again(broken ? { type: 'reset', seen } : { type: 'connect' })) this.#fail(error, 503);
  }

  #timedOut(limitMs: number): void {
    const error = new CulvertError('BACKEND_TIMEOUT', `no response within ${limitMs} ms`, { side: 'server' });
    this.#tell(this.#under(), 'local');
    if (this.#responded) {
      this.abort();
      this.#owner.onBroken(error, h2Cancel);
    } else if (!this.#again({ type: 'timeout' })) this.#fail(error, 504);
  }

  /** The way of the next try, or why there is none. */
  #pick(): Way | CulvertError {
    const { destination, retry, session } = this.#plan;
    const { client } = this.#incoming;
    const elsewhere = retry?.remoteLocalities === true ? (this.#way?.workload ?? null) : null;
    for (;;) {
      try {
        const asker = { client, head: this.#plan.head, exclude: this.#tried, elsewhere };
        const uid = session?.endpoint ?? null;
        const { way, cookie } = pickWay(this.#context, destination, { ...asker, session: uid });
        this.#cookie ??= cookie;
        return way;
      } catch (thrown) {
        // All have been tried: another round is better than no answer.
        if (this.#tried.size === 0) return asCulvertError(thrown, 'NO_HEALTHY_ENDPOINT');
        this.#tried.clear();
      }
    }
  }

  #send(way: Way): void {
    const { body, upgrade } = this.#incoming;
    const { backendRequestMs } = this.#plan.timeouts;
    this.#leave = way.upstream?.begin(way.workload.uid) ?? this.#leave;
    if (backendRequestMs !== null)
      this.#timer = setTimeout(() => this.#timedOut(backendRequestMs), backendRequestMs);
    const request = {
      head: this.#plan.head,
      body: body?.open() ?? null,
      trailers: () => body?.trailers ?? [],
    };
    if (upgrade !== null) {
      const dialled = (to: Way) => dial(this.#context, null, to, ['http/1.1']);
      this.#call = sendAlone(this.#context, way, { request, upgrade, dial: dialled }, this);
      return;
    }
    this.#call = send(this.#context, versionFor(this.#incoming, way), way, request, this);
  }

  /** True where there is another try. */
  #again(result: TryResult): boolean {
    const way = this.#under();
    const retry = this.#plan.retry ?? defaultRetry;
    const { body, head } = this.#incoming;
    const isSafe = this.#plan.retry === null && result.type === 'reset' && idempotent.has(head.method);
    if (this.#attempts > retry.attempts || !(isSafe || isWorthRetry(retry, result))) return false;
    if (body !== null && !body.canReplay) return false;
    if (way.upstream !== null && this.#further === null) {
      this.#further = way.upstream.load.retry();
      if (this.#further === null) return false;
    }
    this.#tried.add(way.workload.uid);
    const next = this.#pick();
    // Any answer is better than none.
    if (next instanceof CulvertError) return false;
    this.#next = next;
    this.#call?.abort();
    this.#endTry();
    this.#context.metrics.retried();
    const pause = backoffMs(retry, this.#attempts, Math.random());
    if (pause === 0) process.nextTick(() => this.start());
    else this.#pause = setTimeout(() => this.start(), pause);
    return true;
  }

  #tell({ upstream, workload }: Way, outcome: number | 'local'): void {
    if (upstream?.report(workload.uid, outcome) !== true) return;
    this.#context.metrics.ejected();
    const { uid } = workload;
    this.#context.log.info({ code: 'ENDPOINT_EJECTED', endpoint: uid, last: outcome }, 'endpoint left out');
  }

  #isGrpc(): boolean {
    return isGrpc(this.#incoming.head);
  }

  #grpcStatus(headers: HeaderList): string | null {
    return this.#isGrpc() ? headerOf(headers, 'grpc-status') : null;
  }

  #under(): Way {
    if (this.#way === null) throw new Error('an answer to nothing');
    return this.#way;
  }

  #fail(error: CulvertError, status: number): void {
    this.abort();
    this.#owner.onFailed(error, status);
  }

  #endTry(): void {
    this.#clearTimers();
    this.#running = false;
    this.#call = null;
    this.#leave();
    this.#leave = () => {};
    this.#slot?.release();
    this.#slot = null;
  }

  #finish(): void {
    this.#over = true;
    this.#endTry();
    this.#further?.release();
    this.#further = null;
  }

  #clearTimers(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#pause !== null) clearTimeout(this.#pause);
  }
}
