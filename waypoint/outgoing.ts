/**
 * One try of a request at one endpoint, as the exchange sees it: http1-out.ts and http2-out.ts make these.
 */
import type { Duplex, Readable } from 'node:stream';
import type { CulvertError } from '../base/errors.ts';
import type { HeaderList, HttpHead } from '../model/http-head.ts';

export interface OutgoingRequest {
  readonly head: HttpHead;
  readonly body: Readable | null;
  /** What follows the body, once it has ended; left out: nothing. */
  readonly trailers?: () => HeaderList;
}

/** What the endpoint says; nothing more is called after onEnd, onSwitch or onError. */
export interface OutgoingHandlers {
  onInformation(status: number, headers: HeaderList): void;
  onResponse(status: number, headers: HeaderList, hasBody: boolean): void;
  /** False: no more until `resume`. */
  onData(chunk: Buffer): boolean;
  onEnd(trailers: HeaderList): void;
  /** The endpoint goes on with another protocol. */
  onSwitch(headers: HeaderList, socket: Duplex): void;
  onError(error: OutgoingError): void;
}

/** A try that failed. */
export interface OutgoingError {
  readonly error: CulvertError;
  /** Whether the endpoint can have seen the request: another try may make it happen twice then. */
  readonly seen: boolean;
  /** HTTP/2 error code to pass on to a client that is in the middle of the response. */
  readonly code: number;
}

export interface OutgoingCall {
  /** After onData said false. */
  resume(): void;
  /** Nothing is called any more. */
  abort(): void;
}

export const h2InternalError = 0x2;
export const h2Cancel = 0x8;
