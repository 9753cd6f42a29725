/**
 * One request from its head to the end of its response: plan, tries, and what is told to logs and metrics.
 *
 * A try is repeated at another endpoint while nothing of a response has been passed on, as long as the body can be sent
 * again: always where no endpoint can have seen it, and as the rule's retry says.
 */
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import type { HttpDecision } from '../model/http-policy.ts';
import { changeHeaders } from '../model/http-filters.ts';
import { headerOf, type HeaderList, type HttpHead } from '../model/http-head.ts';
import { authorise } from './authorise.ts';
import { pickWay, type Way } from './balance.ts';
import { ownIdentity, type WaypointContext } from './context.ts';
import { planOf, type AnswerPlan, type ForwardPlan } from './filters.ts';
import { withContext, type Traced } from './forwarded.ts';
import { GrpcMessages } from '../model/grpc-messages.ts';
import type { Incoming } from './incoming.ts';
import { isGrpc, localAnswer } from './local-answer.ts';
import { matchOf, type Match } from './match.ts';
import { sendMirrors } from './mirror.ts';
import { h2Cancel, type OutgoingCall, type OutgoingError, type OutgoingHandlers } from './outgoing.ts';
import { poolsOf } from './pools.ts';
import { join } from './relay.ts';
import { report } from './report.ts';
import type { Telling } from './telemetry.ts';
import { sendUpgrade } from './upgrade-out.ts';

/** Tries after the first of a request that no endpoint can have seen, without a retry in its rule. */
const defaultRetries = 2;
/** Doing it twice is as doing it once (RFC 9110 §9.2.2). */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export function answer(context: WaypointContext, incoming: Incoming): void {
  new Exchange(context, incoming).start();
}

class Exchange implements OutgoingHandlers {
  readonly #context: WaypointContext;
  readonly #incoming: Incoming;
  readonly #startedAt = performance.now();
  readonly #traced: Traced;
  readonly #tried = new Set<string>();
  readonly #telling: Telling;
  /** Null where it is no gRPC. */
  readonly #messages: GrpcMessages | null;
  #decision: HttpDecision | null = null;
  #match: Match | null = null;
  #plan: ForwardPlan | null = null;
  #call: OutgoingCall | null = null;
  #way: Way | null = null;
  #attempts = 0;
  #status = 0;
  #grpcStatus: string | null = null;
  #down = 0;
  #responded = false;
  #finished = false;
  #requestTimer: NodeJS.Timeout | null = null;
  #tryTimer: NodeJS.Timeout | null = null;

  constructor(context: WaypointContext, incoming: Incoming) {
    this.#context = context;
    this.#incoming = incoming;
    this.#telling = context.telemetry.for(incoming.destination);
    const { tracing } = this.#telling;
    const sampling = tracing === null ? null : { share: tracing.share, random: Math.random };
    this.#traced = withContext(incoming.head, incoming.client, ownIdentity(context) ?? '', sampling);
    this.#messages = isGrpc(incoming.head) ? new GrpcMessages() : null;
    if (this.#messages !== null && incoming.body !== null) incoming.body.messages = new GrpcMessages();
    incoming.onClose = () => this.#clientGone();
    incoming.onDrain = () => this.#call?.resume();
  }

  start(): void {
    const verdict = authorise(this.#context, this.#incoming, this.#traced.head);
    this.#decision = verdict.decision;
    if (verdict.kind === 'refused') this.#answer(verdict.answer, verdict.error);
    else this.#go(verdict.head);
  }

  /** The request may pass, with this head. */
  #go(head: HttpHead): void {
    const { destination, client } = this.#incoming;
    this.#match = matchOf(this.#context, { destination, client, head });
    const plan = planOf(this.#context, { head, destination }, this.#match, Math.random);
    if (plan.kind === 'answer') {
      this.#answer(plan);
      return;
    }
    this.#plan = plan;
    const { requestMs } = plan.timeouts;
    if (requestMs !== null) this.#requestTimer = setTimeout(() => this.#timedOut(requestMs), requestMs);
    this.#try(plan);
  }

  #try(plan: ForwardPlan): void {
    if (this.#finished) return;
    const { body, upgrade, version } = this.#incoming;
    let way: Way;
    try {
      way = pickWay(this.#context, plan.destination, this.#tried);
    } catch (thrown) {
      // All have been tried: another round is better than no answer.
      if (this.#tried.size > 0) {
        this.#tried.clear();
        this.#try(plan);
      } else this.#fail(asCulvertError(thrown, 'NO_HEALTHY_ENDPOINT'), 503);
      return;
    }
    this.#way = way;
    this.#attempts += 1;
    const { backendRequestMs } = plan.timeouts;
    if (backendRequestMs !== null)
      this.#tryTimer = setTimeout(() => this.#tryTimedOut(backendRequestMs), backendRequestMs);
    const request = { head: plan.head, body: body?.open() ?? null };
    if (upgrade !== null) {
      this.#call = sendUpgrade(this.#context, way, request, upgrade, this);
      return;
    }
    const speaksHttp2 = way.protocol === 'HTTP2' || way.protocol === 'GRPC' || version === 2;
    const { http1, http2 } = poolsOf(this.#context);
    this.#call = (speaksHttp2 ? http2 : http1).send(way, request, this);
  }

  onInformation(status: number, headers: HeaderList): void {
    // 100 was answered when the client asked for it.
    if (!this.#responded && !this.#finished && status !== 100) this.#incoming.inform(status, headers);
  }

  onResponse(status: number, headers: HeaderList, hasBody: boolean): void {
    const { plan, way } = this.#under();
    this.#context.health.succeeded(way.workload.uid);
    if (plan.retry?.codes.includes(status) === true && this.#mayRetry(plan.retry.attempts)) {
      this.#call?.abort();
      this.#again(plan, way);
      return;
    }
    this.#responded = true;
    this.#status = status;
    this.#grpcStatus = headerOf(headers, 'grpc-status');
    let list = headers;
    for (const change of plan.changes) list = changeHeaders(list, change);
    this.#incoming.respond(status, list, hasBody);
  }

  onData(chunk: Buffer): boolean {
    this.#down += chunk.length;
    this.#messages?.take(chunk);
    return this.#incoming.write(chunk);
  }

  onEnd(trailers: HeaderList): void {
    this.#grpcStatus ??= headerOf(trailers, 'grpc-status');
    this.#incoming.end(trailers);
    this.#finish(null);
  }

  onSwitch(headers: HeaderList, server: Duplex): void {
    this.#responded = true;
    this.#status = 101;
    this.#clearTimers();
    join(this.#incoming.switchTo(withoutConnection(headers)), server, (error, _up, down) => {
      this.#down = down;
      this.#finish(error);
    });
  }

  onError({ error, seen, code }: OutgoingError): void {
    const { plan, way } = this.#under();
    this.#context.health.failed(way.workload.uid);
    if (this.#responded) {
      this.#incoming.abort(code);
      this.#finish(error);
      return;
    }
    const safe = !seen || plan.retry !== null || idempotent.has(this.#incoming.head.method);
    if (safe && this.#mayRetry(plan.retry?.attempts ?? defaultRetries)) this.#again(plan, way);
    else this.#fail(error, 503);
  }

  #under(): { readonly plan: ForwardPlan; readonly way: Way } {
    const [plan, way] = [this.#plan, this.#way];
    if (plan === null || way === null) throw new Error('an answer to nothing');
    return { plan, way };
  }

  #mayRetry(attempts: number): boolean {
    const { body } = this.#incoming;
    return !this.#finished && this.#attempts <= attempts && (body === null || body.canReplay);
  }

  #again(plan: ForwardPlan, way: Way): void {
    if (this.#tryTimer !== null) clearTimeout(this.#tryTimer);
    this.#call = null;
    this.#tried.add(way.workload.uid);
    this.#context.metrics.retried();
    const pauseMs = plan.retry?.backoffMs ?? 0;
    if (pauseMs === 0) this.#try(plan);
    else setTimeout(() => this.#try(plan), pauseMs);
  }

  #tryTimedOut(limitMs: number): void {
    const { plan, way } = this.#under();
    this.#call?.abort();
    const error = new CulvertError('BACKEND_TIMEOUT', `no response within ${limitMs} ms`, { side: 'server' });
    if (this.#responded) {
      this.#incoming.abort(h2Cancel);
      this.#finish(error);
    } else if (plan.retry !== null && this.#mayRetry(plan.retry.attempts)) this.#again(plan, way);
    else this.#fail(error, 504);
  }

  #timedOut(limitMs: number): void {
    this.#call?.abort();
    const error = new CulvertError('REQUEST_TIMEOUT', `not over within ${limitMs} ms`, { side: 'server' });
    if (this.#responded) {
      this.#incoming.abort(h2Cancel);
      this.#finish(error);
    } else this.#fail(error, 504);
  }

  #clientGone(): void {
    if (this.#finished) return;
    this.#call?.abort();
    this.#finish(
      new CulvertError('CLIENT_GONE', 'the client closed before the response was over', { side: 'client' }),
    );
  }

  #fail(error: CulvertError, status: number): void {
    this.#answer({ kind: 'answer', status, headers: [], code: error.code, reason: error.message }, error);
  }

  #answer(plan: AnswerPlan, error: CulvertError | null = null): void {
    this.#responded = true;
    const { status, headers, body, grpcStatus } = localAnswer(plan, this.#incoming.head);
    this.#status = status;
    this.#grpcStatus = grpcStatus;
    this.#incoming.respond(status, headers, body !== null);
    if (body !== null) this.#incoming.write(body);
    this.#incoming.end([]);
    const told = plan.code === null ? null : new CulvertError(plan.code, plan.reason, { side: 'server' });
    this.#finish(error ?? told);
  }

  #clearTimers(): void {
    if (this.#requestTimer !== null) clearTimeout(this.#requestTimer);
    if (this.#tryTimer !== null) clearTimeout(this.#tryTimer);
  }

  #finish(error: CulvertError | null): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#clearTimers();
    const { client, destination, version, head, body } = this.#incoming;
    if (this.#plan !== null && this.#plan.mirrors.length > 0) sendMirrors(this.#context, this.#plan, body);
    const record = {
      client,
      destination,
      version,
      head,
      hit: this.#match?.kind === 'rule' ? this.#match.hit : null,
      decision: this.#decision,
      way: this.#way,
      status: this.#status,
      grpcStatus: isGrpc(head) ? (this.#grpcStatus ?? '') : null,
      attempts: this.#attempts,
      up: body?.bytes ?? 0,
      down: this.#down,
      ms: performance.now() - this.#startedAt,
      error,
      traceId: this.#traced.traceId,
      requestId: this.#traced.requestId,
      requestMessages: body?.messages?.count ?? 0,
      responseMessages: this.#messages?.count ?? 0,
    };
    report(this.#context, record, this.#telling, this.#traced.span);
  }
}

function withoutConnection(headers: HeaderList): HeaderList {
  return changeHeaders(headers, { set: [], add: [], remove: ['connection', 'upgrade'] });
}
