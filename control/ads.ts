/**
 * The delta discovery service: tells every client what it wants to know as it changes. The serve part of watch → build →
 * serve.
 *
 * Changes are gathered for a moment and told to all who must hear them; see subscription.ts and ads-stream.ts for what
 * happens to one client. Replicas need not know of each other: versions are those of the content.
 */
import { setImmediate as yieldTurn } from 'node:timers/promises';
import { type Metadata, type ServerDuplexStream, status } from '@grpc/grpc-js';
import { CulvertError, describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { systemClock, type Clock } from '../tunnel/clock.ts';
import { resourceTypes } from '../xds/codec.ts';
import { type AdsRequest, discoveryService } from './ads-messages.ts';
import { type AdsLimits, AdsStream } from './ads-stream.ts';
import { servedTypes } from './ads-types.ts';
import type { Caller } from './authenticate.ts';
import type { ControlMetrics } from './control-metrics.ts';
import { Debounce } from './debounce.ts';
import type { ResourceStore } from './resources.ts';
import { Turns } from './turns.ts';

export interface AdsOptions {
  readonly store: ResourceStore;
  /** Who makes a call; see guard.ts. */
  readonly callerOf: (metadata: Metadata) => Caller;
  /** The waypoint that a caller is a pod of, `namespace/name`; null: it is an agent. */
  readonly waypointOf: (caller: Caller) => string | null;
  /** Ends the connection with a peer: what is sent to one that does not read can't be taken back otherwise. */
  readonly cut: (peer: string) => void;
  readonly log: Logger;
  readonly metrics: ControlMetrics;
  readonly limits: Partial<AdsLimits>;
  /** Silence that ends a burst of changes, and the longest that one waits, milliseconds. */
  readonly quietMs: number;
  readonly maxWaitMs: number;
  /** Large responses at the same time. */
  readonly largeAtOnce: number;
  readonly clock: Clock;
}

const adsLimits: AdsLimits = {
  streamsPerCaller: 4,
  namesPerType: 50_000,
  // Each of some twenty pushes a second has an answer for each type.
  requests: { perSecond: 400, burst: 2_000 },
  maxResponseBytes: 64 << 20,
  // TLS writes through a buffer that keeps its largest size, and each part takes a tenth of a millisecond, whatever is in it.
  partBytes: 28 << 10,
  largeBytes: 24 << 10,
  answerMs: 60_000,
  firstRequestMs: 30_000,
};

type Call = ServerDuplexStream<AdsRequest, Buffer>;

const sweepMs = 5_000;
/** A response that is not read for so long does not keep others waiting. */
const maxTurnMs = 10_000;
/** Clients that say at the same time what they have; one that does not say so soon lets others go on. */
const arrivalsAtOnce = 16;
const maxArrivalMs = 1_000;
/** Clients told between two looks at whatever else there is to do. */
const flushSlice = 32;
/** Type URLs that are not served are named once, so many of them. */
const maxUnknownTypes = 100;

export class AdsService {
  readonly definition = discoveryService();
  readonly handlers = { DeltaAggregatedResources: (call: Call): void => this.#open(call) };
  readonly #options: AdsOptions;
  readonly #limits: AdsLimits;
  readonly #streams = new Map<AdsStream, Call>();
  readonly #turns: Turns;
  readonly #arrivals: Turns;
  readonly #debounce: Debounce;
  readonly #stopListening: () => void;
  readonly #unknownTypes = new Set<string>();
  #cancelSweep: () => void = () => {};
  /** When the oldest change that nobody has been told of came; null when there is none. */
  #changedAt: number | null = null;
  #flushing = false;
  #closed = false;

  constructor(given: Pick<AdsOptions, 'store' | 'callerOf' | 'log' | 'metrics'> & Partial<AdsOptions>) {
    this.#options = {
      cut: () => {},
      waypointOf: () => null,
      limits: {},
      quietMs: 20,
      maxWaitMs: 100,
      largeAtOnce: 4,
      clock: systemClock,
      ...given,
    };
    const { store, clock, quietMs, maxWaitMs, largeAtOnce } = this.#options;
    this.#limits = { ...adsLimits, ...this.#options.limits };
    this.#turns = new Turns({ atOnce: largeAtOnce, maxMs: maxTurnMs, clock });
    this.#arrivals = new Turns({ atOnce: arrivalsAtOnce, maxMs: maxArrivalMs, clock });
    this.#debounce = new Debounce({ quietMs, maxMs: maxWaitMs, clock }, () => void this.#flush());
    this.#stopListening = store.onChange(() => {
      this.#changedAt ??= clock.now();
      this.#debounce.add();
      this.#countResources();
    });
    this.#countResources();
    this.#sweep();
  }

  /** Streams that are open. */
  get size(): number {
    return this.#streams.size;
  }

  /** Ends every stream, so that clients go to another replica, and takes no more. */
  close(): void {
    this.#closed = true;
    this.#stopListening();
    this.#debounce.close();
    this.#cancelSweep();
    for (const [stream, call] of this.#streams) this.#end(stream, call, stopping());
  }

  #open(call: Call): void {
    const caller = this.#options.callerOf(call.metadata);
    const { metrics, clock, log, store, waypointOf } = this.#options;
    const refusal = this.#closed ? stopping() : this.#refusal(caller);
    // Without a listener an error of the transport would end the process; 'close' or 'cancelled' follows it.
    call.on('error', () => {});
    if (refusal !== null) {
      metrics.streamsEnded.inc({ service: 'ads', reason: refusal.code });
      finish(call, refusal);
      return;
    }
    const stream = new AdsStream(
      caller,
      {
        write: (response, done) => call.write(response, () => done()),
        pause: () => call.pause(),
        resume: () => call.resume(),
        end: error => this.#end(stream, call, error),
      },
      {
        store,
        waypoint: waypointOf(caller),
        limits: this.#limits,
        turns: this.#turns,
        log,
        metrics,
        clock,
        onUnknownType: typeUrl => this.#noteUnknown(typeUrl, caller),
      },
    );
    this.#streams.set(stream, call);
    metrics.streams.inc({ service: 'ads' });
    log.info(who(caller), 'a client came');
    call.on('end', () => this.#end(stream, call, null));
    call.on('cancelled', () => this.#end(stream, call, null));
    this.#listen(stream, call);
  }

  /** Hears the client when it is its turn: after a restart a thousand say at once what they have, megabytes each. */
  #listen(stream: AdsStream, call: Call): void {
    if (!this.#streams.has(stream)) return;
    const endTurn = this.#arrivals.take(() => this.#listen(stream, call));
    if (endTurn === null) return;
    call.on('data', (request: AdsRequest) => {
      stream.request(request);
      if (request.typeUrl === resourceTypes.address) endTurn();
    });
  }

  #refusal({ podUid, serviceAccount, node }: Caller): CulvertError | null {
    const { streamsPerCaller } = this.#limits;
    const same = [...this.#streams.keys()].filter(
      ({ caller }) =>
        caller.podUid === podUid && caller.serviceAccount === serviceAccount && caller.node === node,
    );
    if (same.length < streamsPerCaller) return null;
    return new CulvertError('ADS_TOO_MANY_STREAMS', `the client has ${same.length} streams already`, {
      side: 'client',
    });
  }

  /** @param error null when the client has ended the stream */
  #end(stream: AdsStream, call: Call, error: CulvertError | null): void {
    if (!this.#streams.delete(stream)) return;
    const { metrics, log } = this.#options;
    stream.close();
    metrics.streams.dec({ service: 'ads' });
    metrics.streamsEnded.inc({ service: 'ads', reason: error?.code ?? 'client' });
    if (error === null) {
      log.info(who(stream.caller), 'a client has gone');
      call.end();
      return;
    }
    log.warn({ code: error.code, ...who(stream.caller) }, `a client was let go: ${describeError(error)}`);
    finish(call, error);
  }

  /** Tells everybody what has changed, a few clients at a time. */
  async #flush(): Promise<void> {
    if (this.#flushing) {
      // Those who have been told already must hear of the rest, too.
      this.#debounce.add();
      return;
    }
    this.#flushing = true;
    const changedAt = this.#changedAt ?? this.#options.clock.now();
    this.#changedAt = null;
    let told = 0;
    for (const stream of this.#streams.keys()) {
      stream.flush(changedAt);
      if (++told % flushSlice === 0) await yieldTurn();
    }
    this.#flushing = false;
  }

  /** Lets those go who don't answer. */
  #sweep(): void {
    this.#cancelSweep = this.#options.clock.after(sweepMs, () => {
      const now = this.#options.clock.now();
      for (const [stream, call] of this.#streams) {
        const problem = stream.problem(now);
        if (problem === null) continue;
        this.#end(stream, call, problem);
        this.#options.cut(call.getPeer());
      }
      this.#sweep();
    });
  }

  #noteUnknown(typeUrl: string, caller: Caller): void {
    if (this.#unknownTypes.has(typeUrl) || this.#unknownTypes.size >= maxUnknownTypes) return;
    this.#unknownTypes.add(typeUrl);
    const type = JSON.stringify(typeUrl.slice(0, 200));
    this.#options.log.info({ ...who(caller), type }, 'a client asks for a type that there is nothing of');
  }

  #countResources(): void {
    const { store, metrics } = this.#options;
    for (const { typeUrl, label } of servedTypes) {
      const collection = store.collection(typeUrl);
      if (collection !== null) metrics.resources.set({ type: label }, collection.size);
    }
  }
}

function who({ serviceAccount, node, podName }: Caller): Record<string, string | null> {
  return { client: serviceAccount, node, pod: podName };
}

function stopping(): CulvertError {
  return new CulvertError('CONTROL_STOPPING', 'this control plane stops', { side: 'us' });
}

function finish(call: Call, error: CulvertError): void {
  const code = error.side === 'us' ? status.UNAVAILABLE : status.RESOURCE_EXHAUSTED;
  call.emit('error', Object.assign(new Error(error.message), { code, details: error.message }));
}
