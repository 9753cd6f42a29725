/**
 * What outbound.ts and tunnel-out.ts share: a client on its way out, and how one attempt to get it there ended.
 */
import { CulvertError } from '../base/errors.ts';
import type { OriginalDestination } from '../native/native.ts';
import type { Leg } from './leg.ts';
import type { Pod } from './pod.ts';

/** One accepted client with where it wanted to go, through all attempts. */
export interface Outgoing {
  readonly pod: Pod;
  readonly client: Leg;
  readonly clientAddress: string;
  readonly clientPort: number;
  readonly target: OriginalDestination;
  /** Endpoints (workload UIDs) that were tried without success. */
  readonly tried: Set<string>;
}

/** Outcome of one attempt. `retry` means that nothing has reached any application. */
export type AttemptResult = { readonly error: CulvertError; readonly retry: boolean } | null;

export function clientGone(): CulvertError {
  return new CulvertError('CLIENT_GONE', 'the client went away before the connection was open', {
    side: 'client',
  });
}
