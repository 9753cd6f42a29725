/**
 * One request from its head to the end of its response: plan, tries, and what is told to logs and metrics.
 */
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { GrpcMessages } from '../model/grpc-messages.ts';
import { changeHeaders } from '../model/http-filters.ts';
import { headerOf, type HeaderList, type HttpHead } from '../model/http-head.ts';
import type { HttpDecision } from '../model/http-policy.ts';
import type { HeaderChange } from '../model/http-route.ts';
import { askRateLimit } from './ask-rate-limit.ts';
import { authorise, type Verdict } from './authorise.ts';
import { ownIdentity, type WaypointContext } from './context.ts';
import { planOf, rateLimited, type AnswerPlan, type ForwardPlan, type Planned } from './filters.ts';
import { withContext, type Traced } from './forwarded.ts';
import { Idle } from './idle.ts';
import type { Incoming } from './incoming.ts';
import { grpcStatusOf, isGrpc, localAnswer } from './local-answer.ts';
import { matchOf, type Match } from './match.ts';
import { sendMirrors } from './mirror.ts';
import { h2Cancel, h2InternalError } from './outgoing.ts';
import { join } from './relay.ts';
import { report } from './report.ts';
import { sessionHeader } from './session.ts';
import type { Telling } from './telemetry.ts';
import { Tries, type TriesOwner } from './tries.ts';

export function answer(context: WaypointContext, incoming: Incoming): void {
  new Exchange(context, incoming).start();
}

class Exchange implements TriesOwner {
  readonly #context: WaypointContext;
  readonly #incoming: Incoming;
  readonly #startedAt = performance.now();
  readonly #traced: Traced;
  readonly #telling: Telling;
  /** Null where it is no gRPC. */
  readonly #messages: GrpcMessages | null;
  #decision: HttpDecision | null = null;
  #match: Match | null = null;
  #plan: ForwardPlan | null = null;
  #tries: Tries | null = null;
  /** What services that count want in the response. */
  readonly #told: HeaderChange[] = [];
  #status = 0;
  #grpcStatus: string | null = null;
  #down = 0;
  #responded = false;
  #finished = false;
  #requestTimer: NodeJS.Timeout | null = null;
  #idle: Idle | null = null;

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
    incoming.onDrain = () => this.#tries?.resume();
  }

  start(): void {
    try {
      const verdict = authorise(this.#context, this.#incoming, this.#traced.head);
      if (!(verdict instanceof Promise)) this.#judged(verdict);
      else verdict.then(later => this.#judged(later)).catch((thrown: unknown) => this.#mistaken(thrown));
    } catch (thrown) {
      this.#mistaken(thrown);
    }
  }

  /** A mistake of ours ends the request that it was made with, and nobody else's. */
  #mistaken(thrown: unknown): void {
    const error = asCulvertError(thrown, 'WAYPOINT_INTERNAL_ERROR', { side: 'us' });
    const { code, message: err } = error;
    this.#context.metrics.refused(code);
    this.#context.log.error({ code, err, request_id: this.#traced.requestId }, 'request given up');
    if (this.#finished) return;
    this.#tries?.abort();
    this.onBroken(error, h2InternalError);
  }

  #judged(verdict: Verdict): void {
    if (this.#finished) return;
    this.#decision = verdict.decision;
    if (verdict.kind === 'refused') this.#answer(verdict.answer, verdict.error);
    else {
      this.#told.push(...verdict.told);
      this.#go(verdict.head);
    }
  }

  /** The request may pass, with this head. */
  #go(head: HttpHead): void {
    const { destination, client } = this.#incoming;
    this.#match = matchOf(this.#context, { destination, client, head });
    const planned = planOf(this.#context, { head, destination, client }, this.#match, Math.random);
    const { plan, delayMs, asks } = planned;
    if (plan.kind === 'answer' && delayMs === 0 && asks.length === 0) this.#answer(plan);
    else if (plan.kind === 'forward') this.#forward(plan, planned);
    else void this.#before(planned, () => this.#answer(plan));
  }

  #forward(plan: ForwardPlan, planned: Planned): void {
    this.#plan = plan;
    const { requestMs } = plan.timeouts;
    if (requestMs !== null) this.#requestTimer = setTimeout(() => this.#timedOut(requestMs), requestMs);
    this.#idle = new Idle(
      this.#context.config.limits.streamIdleMs,
      () => this.#down + (this.#incoming.body?.bytes ?? 0),
      limitMs => this.#wasIdle(limitMs),
    );
    const tries = new Tries(this.#context, this.#incoming, plan, this);
    this.#tries = tries;
    if (planned.delayMs === 0 && planned.asks.length === 0) tries.start();
    else void this.#before(planned, () => tries.start());
  }

  /** What has to happen first; nothing of a body is read meanwhile. */
  async #before({ delayMs, asks }: Planned, then: () => void): Promise<void> {
    if (delayMs > 0) await new Promise(resolve => setTimeout(resolve, delayMs).unref());
    for (const ask of asks) {
      if (this.#finished) return;
      const { refusal, change } = await askRateLimit(this.#context, ask);
      this.#told.push(change);
      if (refusal === null) continue;
      const { code, message } = refusal;
      const headers = changeHeaders([], change);
      if (code === 'RATE_LIMITED') this.#refuse(rateLimited(headers, message), refusal);
      else this.#refuse({ kind: 'answer', status: 500, headers, code, reason: message }, refusal);
      return;
    }
    if (!this.#finished) then();
  }

  #refuse(plan: AnswerPlan, error: CulvertError): void {
    if (!this.#finished) this.#answer(plan, error);
  }

  onInformation(status: number, headers: HeaderList): void {
    try {
      this.#incoming.inform(status, headers);
    } catch (thrown) {
      this.#mistaken(thrown);
    }
  }

  onResponse(status: number, headers: HeaderList, hasBody: boolean): void {
    this.#responded = true;
    this.#status = status;
    this.#grpcStatus = headerOf(headers, 'grpc-status');
    let list = headers;
    for (const change of [...(this.#plan?.changes ?? []), ...this.#told]) list = changeHeaders(list, change);
    // What an endpoint says is written by Node, which throws where it would not say such a thing itself.
    try {
      this.#incoming.respond(status, [...list, ...this.#ties()], hasBody);
    } catch (thrown) {
      this.#mistaken(thrown);
    }
  }

  onData(chunk: Buffer): boolean {
    this.#down += chunk.length;
    this.#messages?.take(chunk);
    return this.#incoming.write(chunk);
  }

  onEnd(trailers: HeaderList): void {
    this.#grpcStatus ??= headerOf(trailers, 'grpc-status');
    try {
      this.#incoming.end(trailers);
      this.#finish(null);
    } catch (thrown) {
      this.#mistaken(thrown);
    }
  }

  onSwitch(headers: HeaderList, server: Duplex): void {
    this.#responded = true;
    this.#status = 101;
    this.#clearTimers();
    const { upstream = null } = this.#tries?.way ?? {};
    const idleMs = upstream?.policy.limits.tcpIdleMs ?? this.#context.config.limits.streamIdleMs;
    const client = this.#incoming.switchTo([...withoutConnection(headers), ...this.#ties()]);
    join(client, server, idleMs, (error, _up, down) => {
      this.#down = down;
      this.#finish(error);
    });
  }

  onFailed(error: CulvertError, status: number): void {
    this.#answer({ kind: 'answer', status, headers: [], code: error.code, reason: error.message }, error);
  }

  onBroken(error: CulvertError, code: number): void {
    this.#incoming.abort(code);
    this.#finish(error);
  }

  /** What ties the client to the endpoint that answered: a cookie, or the header of its session. */
  #ties(): HeaderList {
    const [plan, tries] = [this.#plan, this.#tries];
    const way = tries?.way ?? null;
    if (plan === null || tries === null || way === null) return [];
    return [
      ...(tries.cookie === null ? [] : ['set-cookie', tries.cookie]),
      ...(plan.session === null ? [] : sessionHeader(plan.session, way, Date.now())),
    ];
  }

  #timedOut(limitMs: number): void {
    const error = new CulvertError('REQUEST_TIMEOUT', `not over within ${limitMs} ms`, { side: 'server' });
    this.#giveUp(error);
  }

  #wasIdle(limitMs: number): void {
    const error = new CulvertError('STREAM_IDLE', `nothing moved for ${limitMs} ms`, { side: 'server' });
    this.#giveUp(error);
  }

  #giveUp(error: CulvertError): void {
    this.#tries?.abort();
    if (this.#responded) this.onBroken(error, h2Cancel);
    else this.onFailed(error, 504);
  }

  #clientGone(): void {
    if (this.#finished) return;
    this.#tries?.abort();
    this.#finish(
      new CulvertError('CLIENT_GONE', 'the client closed before the response was over', { side: 'client' }),
    );
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
    this.#idle?.stop();
  }

  #finish(error: CulvertError | null): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#clearTimers();
    const { client, destination, version, head, body } = this.#incoming;
    if (this.#plan !== null && this.#plan.mirrors.length > 0)
      sendMirrors(this.#context, client, this.#plan, body);
    const record = {
      client,
      destination,
      version,
      head,
      hit: this.#match?.kind === 'rule' ? this.#match.hit : null,
      decision: this.#decision,
      way: this.#tries?.way ?? null,
      status: this.#status,
      grpcStatus: isGrpc(head) ? grpcStatusOf(this.#grpcStatus) : null,
      attempts: this.#tries?.attempts ?? 0,
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
