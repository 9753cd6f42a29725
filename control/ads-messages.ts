/**
 * The two messages of delta ADS as bytes. A response is put together out of fields that are encoded already; nothing in it
 * is encoded for one client but its nonce.
 */
import protobuf from 'protobufjs/minimal.js';
import { protocols } from '../proto/load.ts';
import type { WireDeltaRequest } from '../proto/messages.ts';
import { partMark } from '../xds/parts.ts';
import type { KnownVersions } from './feed.ts';
import { KnownReader, splitRequest } from './known-versions.ts';
import type { SubscriptionRequest, Update } from './subscription.ts';

/** A request as it is read here. */
export type AdsRequest = Omit<WireDeltaRequest, 'initialResourceVersions'> & {
  readonly initialResourceVersions: KnownVersions;
};

/** As `protocols.services.discovery`, with responses that are bytes already, and requests that may be large. */
export function discoveryService() {
  const method = protocols.services.discovery.DeltaAggregatedResources;
  const reader = new KnownReader();
  return {
    DeltaAggregatedResources: {
      ...method,
      requestDeserialize: (bytes: Buffer): AdsRequest => {
        const { entries, rest } = splitRequest(bytes);
        const request = protocols.deltaRequest.decode(rest);
        return Object.assign(request, { initialResourceVersions: reader.read(entries) });
      },
      responseSerialize: (response: Buffer): Buffer => response,
      responseDeserialize: (bytes: Buffer): Buffer => bytes,
    },
  };
}

/** A DeltaDiscoveryResponse: system_version_info 1, resources 2, type_url 4, nonce 5, removed_resources 6. */
export function encodeResponse(typeUrl: string, update: Update, isPart = false): Buffer {
  const rest = protobuf.Writer.create();
  if (isPart) rest.uint32(0x0a).string(partMark);
  rest.uint32(0x22).string(typeUrl).uint32(0x2a).string(update.nonce);
  for (const name of update.removed) rest.uint32(0x32).string(name);
  const end = rest.finish();
  const length = update.frames.reduce((sum, frame) => sum + frame.length, end.length);
  const response = Buffer.allocUnsafe(length);
  let at = 0;
  for (const frame of update.frames) at += response.write(frame, at, 'latin1');
  response.set(end, at);
  return response;
}

/** The empty response to a type that is not served: what was asked for does not exist. */
export function encodeNothing(typeUrl: string, names: readonly string[]): Buffer {
  return encodeResponse(typeUrl, { frames: [], removed: names, complete: true, nonce: '0' });
}

export function requestOf(wire: AdsRequest): SubscriptionRequest {
  return {
    subscribe: wire.resourceNamesSubscribe,
    unsubscribe: wire.resourceNamesUnsubscribe,
    known: wire.initialResourceVersions,
    nonce: wire.responseNonce,
    error: wire.errorDetail?.message ?? null,
  };
}
