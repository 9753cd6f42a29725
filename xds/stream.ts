/**
 * One discovery stream: opened, used and ended, whatever way it ends.
 *
 * Knows nothing of what the messages mean. A server that takes no connection in time is given up on here; one that took
 * it and says nothing more is found by the channel's pings.
 */
import { connectivityState, status } from '@grpc/grpc-js';
import type { Client, ClientDuplexStream } from '@grpc/grpc-js';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { protocols } from '../proto/load.ts';
import type { Sparse } from '../proto/load.ts';
import type { WireDeltaRequest, WireDeltaResponse } from '../proto/messages.ts';
import type { Clock } from '../tunnel/clock.ts';
import { callError } from './channel-errors.ts';
import type { ControlChannel, ControlEndpoint } from './channel.ts';

export interface StreamEvents {
  /** There is a connection: requests may be sent. */
  readonly onOpen: () => void;
  /** The server took the call. Some say so only with their first response. */
  readonly onAccepted: () => void;
  /** `size` in bytes, as it came. */
  readonly onResponse: (response: WireDeltaResponse, size: number) => void;
  /** Once, whatever happened; null when the server ended it in order. Not after `close`. */
  readonly onEnd: (error: CulvertError | null) => void;
}

interface Received {
  readonly response: WireDeltaResponse;
  readonly size: number;
}

const method = protocols.services.discovery.DeltaAggregatedResources;

export class DiscoveryStream {
  readonly #channel: ControlChannel;
  readonly #events: StreamEvents;
  #call: ClientDuplexStream<WireDeltaRequest, Received> | null = null;
  #ended = false;
  #cancelTimeout: () => void = () => {};

  constructor(channel: ControlChannel, events: StreamEvents) {
    this.#channel = channel;
    this.#events = events;
  }

  /** Starts to connect, once. A channel that is connected already opens within the call. */
  open(clock: Clock, connectTimeoutMs: number): void {
    try {
      this.#open(clock, connectTimeoutMs);
    } catch (thrown) {
      queueMicrotask(() => this.#end(asCulvertError(thrown, 'CONTROL_FAILED')));
    }
  }

  send(request: Sparse<WireDeltaRequest>): void {
    if (!this.#ended) this.#call?.write(protocols.deltaRequest.create(request));
  }

  close(): void {
    this.#ended = true;
    this.#cancelTimeout();
    this.#call?.cancel();
    this.#channel.disconnect();
  }

  #open(clock: Clock, connectTimeoutMs: number): void {
    const { endpoint } = this.#channel;
    const client = this.#channel.client();
    const deserialize = (bytes: Buffer): Received => ({
      response: method.responseDeserialize(bytes),
      size: bytes.length,
    });
    const call = client.makeBidiStreamRequest(method.path, method.requestSerialize, deserialize);
    this.#call = call;
    call.on('metadata', () => {
      if (!this.#ended) this.#events.onAccepted();
    });
    call.on('data', ({ response, size }: Received) => {
      if (!this.#ended) this.#events.onResponse(response, size);
    });
    call.on('status', outcome => this.#end(outcome.code === status.OK ? null : callError(outcome, endpoint)));
    // Says the same as the status, and must be listened to.
    call.on('error', () => {});
    this.#watch(client.getChannel());
    this.#cancelTimeout = clock.after(connectTimeoutMs, () =>
      this.#end(connectTimeout(endpoint, connectTimeoutMs)),
    );
  }

  /** Until there is a connection. */
  #watch(channel: ReturnType<Client['getChannel']>): void {
    if (this.#ended) return;
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) {
      this.#cancelTimeout();
      this.#events.onOpen();
    } else if (state !== connectivityState.SHUTDOWN) {
      channel.watchConnectivityState(state, Infinity, () => this.#watch(channel));
    }
  }

  #end(error: CulvertError | null): void {
    if (this.#ended) return;
    this.close();
    this.#events.onEnd(error);
  }
}

function connectTimeout({ address }: ControlEndpoint, timeoutMs: number): CulvertError {
  return new CulvertError('CONTROL_TIMEOUT', `no connection to ${address} in ${timeoutMs} ms`, {
    side: 'server',
    fix: 'check that the control plane runs and that no NetworkPolicy keeps this node from it',
  });
}
