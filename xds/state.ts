/** What a discovery client says of itself: for readiness, for `culvert status` and for metrics. */
import type { CulvertError } from '../base/errors.ts';
import type { ResourceType } from './codec.ts';
import type { TypeState } from './knowledge.ts';

export interface XdsState {
  readonly connected: boolean;
  /** Since when, milliseconds since the epoch. */
  readonly since: number;
  /** Why it is not connected; null when it is, or has not failed yet. */
  readonly lastError: CulvertError | null;
  /** Of the types subscribed to. */
  readonly types: Readonly<Partial<Record<ResourceType, TypeState>>>;
  /** Whether all of them are synced. */
  readonly synced: boolean;
}

/** Counts since the start, for metrics. */
export interface XdsCounters {
  /** Attempts. */
  connections: number;
  /** How streams ended: before there was a connection, by the server in order, otherwise. */
  readonly terminations: Record<'unconnected' | 'ended' | 'failed', number>;
  /** Responses, their bytes, and those that were refused in part or whole. */
  readonly messages: Record<ResourceType, number>;
  readonly bytes: Record<ResourceType, number>;
  readonly nacks: Record<ResourceType, number>;
}

export function newCounters(): XdsCounters {
  return {
    connections: 0,
    terminations: { unconnected: 0, ended: 0, failed: 0 },
    messages: zeros(),
    bytes: zeros(),
    nacks: zeros(),
  };
}

function zeros(): Record<ResourceType, number> {
  return {
    address: 0,
    authorization: 0,
    settings: 0,
    nodePod: 0,
    waypointResource: 0,
    waypointCredential: 0,
  };
}
