/**
 * The types of resources that a control plane serves, and what distinguishes them.
 */
import { resourceTypes } from '../xds/codec.ts';

export interface ServedType {
  readonly typeUrl: string;
  /** In metrics and log lines. */
  readonly label: string;
  /** A client is told of its own node's resources only, or of its own waypoint's; null: of all. */
  readonly confined: 'node' | 'waypoint' | null;
  /** Whose callers are told of it; to others it is no type at all. */
  readonly readers: 'all' | 'agents' | 'waypoints';
  /** Not told before what is to be told of these: a policy comes before the workloads that name it. */
  readonly after: readonly string[];
}

const { authorization, address, nodePod, settings, waypointResource, waypointCredential } = resourceTypes;

/** In the order in which a client is told of them. */
export const servedTypes: readonly ServedType[] = [
  { typeUrl: authorization, label: 'authorization', confined: null, readers: 'all', after: [] },
  {
    typeUrl: waypointCredential,
    label: 'waypoint-credential',
    confined: 'waypoint',
    readers: 'waypoints',
    after: [],
  },
  {
    typeUrl: waypointResource,
    label: 'waypoint-resource',
    confined: null,
    readers: 'waypoints',
    // What a rule names is there before the rule.
    after: [waypointCredential],
  },
  {
    typeUrl: address,
    label: 'address',
    confined: null,
    readers: 'all',
    // What a waypoint enforces for a service comes before the service.
    after: [authorization, waypointResource],
  },
  { typeUrl: nodePod, label: 'node-pod', confined: 'node', readers: 'agents', after: [] },
  { typeUrl: settings, label: 'settings', confined: null, readers: 'all', after: [] },
];
