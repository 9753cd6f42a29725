/**
 * Keeps an agent told: one discovery stream to the control plane, and its state kept while there is none.
 *
 * Speaks the delta variant of Envoy's aggregated discovery, to a control plane of ours or to Istio's. A lost stream is made
 * anew with growing pauses, and asks only for what changed meanwhile; until then the last state holds, however old. Every
 * response is one update, followed by its ACK, or by a NACK that names what could not be used.
 */
import { CulvertError, describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { WireDeltaResponse, WireNode } from '../proto/messages.ts';
import { systemClock } from '../tunnel/clock.ts';
import type { Clock } from '../tunnel/clock.ts';
import { maxPauseMs, reconnectPauseMs } from './backoff.ts';
import { ControlChannel } from './channel.ts';
import type { ControlEndpoint } from './channel.ts';
import { resourceTypes } from './codec.ts';
import type { ResourceType } from './codec.ts';
import { Knowledge } from './knowledge.ts';
import { describeRefusals, readResponse } from './reading.ts';
import type { XdsUpdate } from './reading.ts';
import { newCounters } from './state.ts';
import type { XdsCounters, XdsState } from './state.ts';
import { OnDemand } from './on-demand.ts';
import { partMark } from './parts.ts';
import { DiscoveryStream } from './stream.ts';
import type { Answer } from './wanted-names.ts';

export interface XdsClientOptions {
  readonly endpoint: ControlEndpoint;
  /** See node.ts. */
  readonly node: WireNode;
  /** Types to be told of. One that the server does not know never becomes synced, and disturbs no other. */
  readonly subscriptions: readonly ResourceType[];
  /** Of type `address` only what `want` asks for, and what the server thinks this node needs. */
  readonly onDemand: boolean;
  /** On demand: names that are asked for from the beginning, and never given up. */
  readonly always: readonly string[];
  readonly log: Logger;
  /** One call per response. If it throws the response is refused, and asked for again on the next stream. */
  readonly onUpdate: (update: XdsUpdate) => void;
  /** After every change of what `state` says. */
  readonly onState: (state: XdsState) => void;
  readonly connectTimeoutMs: number;
  /** On demand: names that nothing has, which are kept. */
  readonly maxMissingNames: number;
  /** On demand: from so many names on everything is asked for; servers allow 50 000. */
  readonly maxNames: number;
  /** On demand: names that were answered `missing`, and of which no news will come any more. */
  readonly onGivenUp: (names: readonly string[]) => void;
  readonly clock: Clock;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

type DeltaRequest = Parameters<DiscoveryStream['send']>[0];

const acceptedAfterMs = 1_000;

export class XdsClient {
  readonly #options: XdsClientOptions;
  readonly #channel: ControlChannel;
  readonly #knowledge: ReadonlyMap<ResourceType, Knowledge>;
  readonly #onDemand: OnDemand | null;
  readonly #counters = newCounters();
  #stream: DiscoveryStream | null = null;
  #connected = false;
  #since: number;
  #lastError: CulvertError | null = null;
  #failures = 0;
  /** The trouble that a warning was about. */
  #warnedOf: string | null = null;
  #cancelTimer: () => void = () => {};
  #isStarted = false;

  constructor(
    given: Pick<XdsClientOptions, 'endpoint' | 'node' | 'subscriptions' | 'log' | 'onUpdate'> &
      Partial<XdsClientOptions>,
  ) {
    this.#options = {
      onDemand: false,
      always: [],
      onState: () => {},
      connectTimeoutMs: 10_000,
      maxMissingNames: 10_000,
      maxNames: 40_000,
      onGivenUp: () => {},
      clock: systemClock,
      random: Math.random,
      ...given,
    };
    this.#channel = new ControlChannel(this.#options.endpoint);
    this.#knowledge = new Map(this.#options.subscriptions.map(type => [type, new Knowledge()]));
    this.#onDemand = this.#options.onDemand
      ? new OnDemand({ ...this.#options, reopen: () => this.#reopen() })
      : null;
    this.#since = this.#options.clock.now();
  }

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#connect();
  }

  /** For good. */
  close(): void {
    this.#isStarted = true;
    this.#cancelTimer();
    this.#stream?.close();
    this.#stream = null;
    this.#connected = false;
  }

  /** For other calls to the same control plane; ended with each stream, and made anew with the next call. */
  get channel(): ControlChannel {
    return this.#channel;
  }

  state(): XdsState {
    const types = Object.fromEntries([...this.#knowledge].map(([type, known]) => [type, known.state()]));
    return {
      connected: this.#connected,
      since: this.#since,
      lastError: this.#lastError,
      types,
      synced: [...this.#knowledge].every(([type, known]) => known.synced || this.#onDemandOf(type) !== null),
    };
  }

  counters(): XdsCounters {
    return structuredClone(this.#counters);
  }

  /**
   * On demand: asks for the resource of this name, `<network>/<ip>`, a uid or a service key, and resolves once what the
   * server says of it is in force. Its later changes come too. Waits as long as there is no stream; rejects with the
   * signal's reason.
   */
  want(name: string, signal: AbortSignal): Promise<Answer> {
    if (this.#onDemand === null) return Promise.reject(new Error('this client has everything already'));
    return this.#onDemand.want(name, signal);
  }

  /** On demand: how many names were asked for, by their answer; null for a client that has everything. */
  wanted(): ReturnType<OnDemand['counts']> | null {
    return this.#onDemand?.counts() ?? null;
  }

  /** Another stream in place of the one that is there, at once. */
  #reopen(): void {
    const { log, endpoint, maxNames } = this.#options;
    log.info(
      { address: endpoint.address },
      `more than ${maxNames} names were asked for: from now on everything is`,
    );
    this.#stream?.close();
    this.#stream = null;
    this.#onDemand?.ended();
    this.#cancelTimer();
    this.#connect();
  }

  #connect(): void {
    this.#counters.connections += 1;
    let openedAt: number | null = null;
    const { clock, connectTimeoutMs } = this.#options;
    const stream = new DiscoveryStream(this.#channel, {
      onOpen: () => {
        openedAt = clock.now();
        this.#opened(stream);
      },
      onAccepted: () => this.#accepted(),
      onResponse: (response, size) => this.#received(stream, response, size),
      onEnd: error => this.#ended(error, openedAt),
    });
    this.#stream = stream;
    stream.open(clock, connectTimeoutMs);
  }

  #opened(stream: DiscoveryStream): void {
    for (const [type, known] of this.#knowledge) stream.send(this.#firstRequest(stream, type, known));
    // With nothing new for us a server may have nothing to say; one that does not want us says so soon.
    this.#cancelTimer = this.#options.clock.after(acceptedAfterMs, () => this.#accepted());
  }

  #accepted(): void {
    const { clock, endpoint, log } = this.#options;
    if (this.#connected) return;
    this.#cancelTimer();
    this.#warnedOf = null;
    log.info({ address: endpoint.address }, 'connected to the control plane');
    this.#setState(true, clock.now(), null);
  }

  #firstRequest(stream: DiscoveryStream, type: ResourceType, { versions }: Knowledge): DeltaRequest {
    const { node } = this.#options;
    const typeUrl = resourceTypes[type];
    const onDemand = this.#onDemandOf(type);
    return onDemand === null
      ? { node, typeUrl, initialResourceVersions: Object.fromEntries(versions) }
      : { node, typeUrl, ...onDemand.opened(versions, names => stream.send({ typeUrl, ...names })) };
  }

  #received(stream: DiscoveryStream, response: WireDeltaResponse, size: number): void {
    const { log, onUpdate } = this.#options;
    const type = typeOf(response.typeUrl);
    const known = type === null ? undefined : this.#knowledge.get(type);
    if (type === null || known === undefined) {
      log.warn({ type: response.typeUrl }, 'the control plane sends what nobody asked for');
      return;
    }
    this.#accepted();
    this.#counters.messages[type] += 1;
    this.#counters.bytes[type] += size;
    const reading = readResponse(type, response, known);
    const problem = attempt(() => onUpdate(reading.update));
    if (problem !== null) {
      log.error(
        { type, nonce: response.nonce, error: problem },
        'an update of the mesh could not be applied',
      );
      this.#refuse(stream, type, response, `it could not be applied: ${problem}`);
      return;
    }
    known.learn(reading, response.systemVersionInfo === partMark);
    if (reading.refused.length === 0) {
      stream.send({ typeUrl: response.typeUrl, responseNonce: response.nonce });
    } else {
      const why = describeRefusals(reading.refused);
      log.warn({ type, nonce: response.nonce, refused: reading.refused.length }, `refused: ${why}`);
      this.#refuse(stream, type, response, why);
    }
    this.#onDemandOf(type)?.answered(response, reading);
    this.#options.onState(this.state());
  }

  #refuse(stream: DiscoveryStream, type: ResourceType, response: WireDeltaResponse, message: string): void {
    this.#counters.nacks[type] += 1;
    // The public protocol leaves the code at 0: that there is an error is the refusal.
    stream.send({
      typeUrl: response.typeUrl,
      responseNonce: response.nonce,
      errorDetail: { code: 0, message },
    });
  }

  /** `openedAt` is null when there was no connection. */
  #ended(error: CulvertError | null, openedAt: number | null): void {
    const { clock, endpoint, log, random } = this.#options;
    this.#cancelTimer();
    this.#stream = null;
    this.#onDemand?.ended();
    this.#counters.terminations[openedAt === null ? 'unconnected' : error === null ? 'ended' : 'failed'] += 1;
    // A server that fails again and again is not pressed, even if it takes connections between.
    const isRoutine = openedAt !== null && clock.now() - openedAt >= maxPauseMs;
    if (isRoutine) this.#failures = 0;
    const pauseMs = reconnectPauseMs(this.#failures, random());
    this.#failures += 1;
    const why =
      error ?? new CulvertError('CONTROL_CLOSED', `${endpoint.address} ended the stream`, { side: 'server' });
    const line = { address: endpoint.address, code: why.code, ms: pauseMs };
    const message = `no connection to the control plane, the last state holds: ${describeError(why)}`;
    // Control planes end long streams now and then, to share their clients anew; and trouble is said once.
    if (isRoutine) log.info(line, message);
    else if (this.#warnedOf === why.code) log.debug(line, message);
    else log.warn(line, message);
    this.#warnedOf = isRoutine ? null : why.code;
    this.#cancelTimer = clock.after(pauseMs, () => this.#connect());
    this.#setState(false, this.#connected ? clock.now() : this.#since, why);
  }

  #setState(connected: boolean, since: number, lastError: CulvertError | null): void {
    this.#connected = connected;
    this.#since = since;
    this.#lastError = lastError;
    this.#options.onState(this.state());
  }

  #onDemandOf(type: ResourceType): OnDemand | null {
    return type === 'address' ? this.#onDemand : null;
  }
}

const typesByUrl = new Map(
  (Object.entries(resourceTypes) as [ResourceType, string][]).map(([type, url]) => [url, type]),
);

function typeOf(url: string): ResourceType | null {
  return typesByUrl.get(url) ?? null;
}

/** What went wrong, or null. */
function attempt(act: () => void): string | null {
  try {
    act();
    return null;
  } catch (thrown) {
    return describeError(thrown);
  }
}
