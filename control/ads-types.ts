/**
 * The types of resources that a control plane serves, and what distinguishes them.
 */
import { resourceTypes } from '../xds/codec.ts';

export interface ServedType {
  readonly typeUrl: string;
  /** In metrics and log lines. */
  readonly label: string;
  /** A client is told of its own node's resources only. */
  readonly confined: boolean;
  /** Whose callers are told of it; to others it is no type at all. */
  readonly readers: 'all' | 'agents' | 'waypoints';
  /** Not told before what is to be told of these: a policy comes before the workloads that name it. */
  readonly after: readonly string[];
}

const { authorization, address, nodePod, settings, waypointResource } = resourceTypes;

/** In the order in which a client is told of them. */
export const servedTypes: readonly ServedType[] = [
  { typeUrl: authorization, label: 'authorization', confined: false, readers: 'all', after: [] },
  {
    typeUrl: waypointResource,
    label: 'waypoint-resource',
    confined: false,
    readers: 'waypoints',
    after: [],
  },
  {
    typeUrl: address,
    label: 'address',
    confined: false,
    readers: 'all',
    // What a waypoint enforces for a service comes before the service.
    after: [authorization, waypointResource],
  },
  { typeUrl: nodePod, label: 'node-pod', confined: true, readers: 'agents', after: [] },
  { typeUrl: settings, label: 'settings', confined: false, readers: 'all', after: [] },
];
