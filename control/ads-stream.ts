/**
 * One client's stream: its subscriptions, and what is sent to it when.
 *
 * A policy is told before the workloads that name it. A client that does not answer, or does not read, is let go; one
 * that is slow gets the newest state when it is ready. Its memory here is one response of each type, whatever happens.
 */
import { CulvertError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Clock } from '../tunnel/clock.ts';
import { partsFeature } from '../xds/parts.ts';
import { type AdsRequest, encodeNothing, encodeResponse, requestOf } from './ads-messages.ts';
import { type ServedType, servedTypes } from './ads-types.ts';
import type { Caller } from './authenticate.ts';
import type { ControlMetrics } from './control-metrics.ts';
import { Rate, type RateLimit } from './rate.ts';
import type { ResourceStore } from './resources.ts';
import { Subscription, type Update } from './subscription.ts';
import type { Turns } from './turns.ts';

export interface AdsLimits {
  /** Streams of one caller at once; a client that comes back may still have its old one. */
  readonly streamsPerCaller: number;
  /** Names a client may ask for, of each type. */
  readonly namesPerType: number;
  readonly requests: RateLimit;
  /** A response is cut after the resource that makes it larger. Large: clients take the first one for the whole. */
  readonly maxResponseBytes: number;
  /** The same for a client that takes a state in parts; see xds/parts.ts. */
  readonly partBytes: number;
  /** Responses beyond this size take turns. */
  readonly largeBytes: number;
  /** How long a client may take to read and answer a response, milliseconds. */
  readonly answerMs: number;
  /** How long a client may take to say what it wants, milliseconds. */
  readonly firstRequestMs: number;
}

/** The call as the stream sees it. */
export interface AdsCall {
  /** `done` follows when the bytes have left for the client. */
  write(response: Buffer, done: () => void): void;
  /** Stops reading, so that the client has to wait. */
  pause(): void;
  resume(): void;
  end(error: CulvertError): void;
}

export interface AdsStreamParts {
  readonly store: ResourceStore;
  /** The waypoint that the client is a pod of, `namespace/name`; null: it is an agent. */
  readonly waypoint: string | null;
  readonly limits: AdsLimits;
  readonly turns: Turns;
  readonly log: Logger;
  readonly metrics: ControlMetrics;
  readonly clock: Clock;
  /** Says once for every type that it is not served. */
  readonly onUnknownType: (typeUrl: string) => void;
}

interface Sub {
  readonly type: ServedType;
  readonly subscription: Subscription;
  /** Of the response under way, ms since the epoch. */
  sentAt: number;
  /** How the gauge counts it; null before it does. */
  mode: 'wildcard' | 'on-demand' | null;
  /** Ends the turn that its response has. */
  endTurn: () => void;
  /** Asks for the turn it waits for. */
  readonly again: () => void;
}

/** Answers under way to types that are not served: a client that asks for more at once reads none. */
const maxUnknown = 16;

export class AdsStream {
  readonly caller: Caller;
  readonly #call: AdsCall;
  readonly #parts: AdsStreamParts;
  readonly #rate: Rate;
  readonly #openedAt: number;
  /** In the order of `servedTypes`. */
  #subs: readonly Sub[] = [];
  #cancelPause: () => void = () => {};
  /** When what waits for this client changed first; null when nothing does. */
  #changedAt: number | null = null;
  /** Types that are not served and whose answers have not left yet. */
  readonly #unknown = new Set<string>();
  #takesParts = false;
  #ended = false;

  constructor(caller: Caller, call: AdsCall, parts: AdsStreamParts) {
    this.caller = caller;
    this.#call = call;
    this.#parts = parts;
    this.#openedAt = parts.clock.now();
    this.#rate = new Rate(parts.limits.requests, this.#openedAt);
  }

  /** Takes a request of the client. */
  request(wire: AdsRequest): void {
    if (this.#ended) return;
    this.#slowDown();
    try {
      this.#take(wire);
    } catch (thrown) {
      if (!(thrown instanceof CulvertError)) throw thrown;
      this.#call.end(thrown);
    }
  }

  /** What has changed up to now is to be told; `changedAt` is when that began, ms since the epoch. */
  flush(changedAt: number): void {
    if (this.#ended) return;
    this.#changedAt ??= changedAt;
    for (const { subscription } of this.#subs) subscription.markDue();
    this.#push();
  }

  /** Why the client should be let go, if it should: it says nothing, or answers nothing. */
  problem(now: number): CulvertError | null {
    const { answerMs, firstRequestMs } = this.#parts.limits;
    if (this.#subs.length === 0 && now - this.#openedAt > firstRequestMs) {
      return new CulvertError('ADS_IDLE', `the client asked for nothing within ${firstRequestMs} ms`, {
        side: 'client',
      });
    }
    const late = this.#subs.find(
      ({ subscription, sentAt }) => subscription.isUnderWay && now - sentAt > answerMs,
    );
    if (late === undefined) return null;
    return new CulvertError('ADS_NO_ANSWER', `no answer to ${late.type.label} within ${answerMs} ms`, {
      side: 'client',
    });
  }

  /** The stream is over; nothing is sent or kept any more. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelPause();
    for (const sub of this.#subs) {
      sub.subscription.close();
      sub.endTurn();
      this.#parts.turns.leave(sub.again);
      if (sub.mode !== null) this.#parts.metrics.subscriptions.dec({ type: sub.type.label, mode: sub.mode });
    }
    this.#subs = [];
  }

  #take(wire: AdsRequest): void {
    const { metrics } = this.#parts;
    const { typeUrl } = wire;
    const type = servedTypes.find(served => served.typeUrl === typeUrl);
    const sub = type === undefined ? null : this.#subscriptionOf(type);
    if (sub === null) {
      this.#answerUnknown(wire);
      return;
    }
    const { subscription } = sub;
    const { label } = sub.type;
    metrics.requests.inc({ type: label });
    if (wire.node?.clientFeatures.includes(partsFeature) === true) this.#takesParts = true;
    const answer = subscription.request(requestOf(wire));
    if (answer !== null) {
      metrics.ackSeconds.observe({ type: label }, (this.#parts.clock.now() - sub.sentAt) / 1_000);
      if (!answer.accepted) this.#refused(label, wire.errorDetail?.message ?? '');
    }
    if (sub.mode !== subscription.mode) {
      if (sub.mode !== null) metrics.subscriptions.dec({ type: label, mode: sub.mode });
      sub.mode = subscription.mode;
      metrics.subscriptions.inc({ type: label, mode: sub.mode });
    }
    this.#push();
  }

  /** Sends whatever may be sent now. */
  #push(): void {
    for (const sub of this.#subs) {
      if (this.#ended) return;
      const { isDue, isUnderWay } = sub.subscription;
      if (isDue && !isUnderWay && !this.#mustWait(sub)) this.#send(sub);
    }
    if (!this.#subs.some(({ subscription }) => subscription.isDue)) this.#changedAt = null;
  }

  #mustWait({ type }: Sub): boolean {
    return this.#subs.some(
      ({ type: { typeUrl }, subscription }) => type.after.includes(typeUrl) && subscription.isDue,
    );
  }

  #send(sub: Sub): void {
    const { limits, turns } = this.#parts;
    let endTurn = (): void => {};
    if (sub.subscription.exceeds(limits.largeBytes)) {
      const turn = turns.take(sub.again);
      if (turn === null) return;
      endTurn = turn;
    }
    const update = sub.subscription.take(this.#takesParts ? limits.partBytes : limits.maxResponseBytes);
    if (update === null) {
      endTurn();
      return;
    }
    sub.endTurn = endTurn;
    sub.sentAt = this.#parts.clock.now();
    const response = encodeResponse(sub.type.typeUrl, update, this.#takesParts && !update.complete);
    this.#count(sub.type.label, update, response.length);
    this.#call.write(response, endTurn);
  }

  #count(type: string, { frames, removed }: Update, bytes: number): void {
    const { metrics, clock } = this.#parts;
    metrics.pushes.inc({ type });
    metrics.pushedResources.inc({ type }, frames.length + removed.length);
    metrics.pushedBytes.inc({ type }, bytes);
    if (this.#changedAt !== null)
      metrics.pushSeconds.observe({ type }, (clock.now() - this.#changedAt) / 1_000);
  }

  /** The client goes on with what it had of the resources it named; they are not sent again before they change. */
  #refused(type: string, why: string): void {
    const { metrics, log } = this.#parts;
    metrics.nacks.inc({ type });
    const { serviceAccount, node, podName } = this.caller;
    log.warn(
      { code: 'ADS_REFUSED', type, client: serviceAccount, node, pod: podName, why: readable(why) },
      'a client refused what it was told',
    );
  }

  #answerUnknown({ typeUrl, responseNonce, resourceNamesSubscribe }: AdsRequest): void {
    const { metrics, onUnknownType } = this.#parts;
    metrics.requests.inc({ type: 'unknown' });
    onUnknownType(typeUrl);
    // Not its answers, or the two would never stop answering each other; and not more than it reads.
    if (responseNonce !== '' || this.#unknown.has(typeUrl) || this.#unknown.size >= maxUnknown) return;
    this.#unknown.add(typeUrl);
    const names = resourceNamesSubscribe.filter(name => name !== '*');
    this.#call.write(encodeNothing(typeUrl, names), () => this.#unknown.delete(typeUrl));
  }

  #subscriptionOf(type: ServedType): Sub | null {
    const known = this.#subs.find(sub => sub.type === type);
    if (known !== undefined) return known;
    const { store, limits, waypoint } = this.#parts;
    const reader = waypoint === null ? 'agents' : 'waypoints';
    if (type.readers !== 'all' && type.readers !== reader) return null;
    const collection = store.collection(type.typeUrl);
    if (collection === null) return null;
    const subscription = new Subscription(collection, {
      node: type.confined === 'waypoint' ? waypoint : this.caller.node,
      confined: type.confined !== null,
      maxNames: limits.namesPerType,
    });
    const again = (): void => this.#push();
    const sub: Sub = { type, subscription, sentAt: 0, mode: null, endTurn: () => {}, again };
    const order = servedTypes.map(({ typeUrl }) => typeUrl);
    this.#subs = [...this.#subs, sub].sort(
      (a, b) => order.indexOf(a.type.typeUrl) - order.indexOf(b.type.typeUrl),
    );
    return sub;
  }

  /** Reads on later when requests come too fast. */
  #slowDown(): void {
    const { clock, metrics } = this.#parts;
    const early = this.#rate.take(clock.now());
    if (early === 0) return;
    metrics.requestsDelayed.inc();
    this.#call.pause();
    this.#cancelPause();
    this.#cancelPause = clock.after(early, () => this.#call.resume());
  }
}

/** Fit for a log line, whatever the client wrote. */
function readable(text: string): string {
  const plain = text.replace(/[^\x20-\x7e]/g, '?');
  return plain.length > 500 ? `${plain.slice(0, 500)}…` : plain;
}
