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
  /** Not told before what is to be told of these: a policy comes before the workloads that name it. */
  readonly after: readonly string[];
}

/** In the order in which a client is told of them. */
export const servedTypes: readonly ServedType[] = [
  { typeUrl: resourceTypes.authorization, label: 'authorization', confined: false, after: [] },
  { typeUrl: resourceTypes.address, label: 'address', confined: false, after: [resourceTypes.authorization] },
  { typeUrl: resourceTypes.nodePod, label: 'node-pod', confined: true, after: [] },
  { typeUrl: resourceTypes.settings, label: 'settings', confined: false, after: [] },
];
