/**
 * From what the builder says has changed to what clients are told: resources of the four types, encoded. Between build and
 * serve.
 */
import type { MeshDelta } from '../model/mesh.ts';
import type { MeshSettings } from '../model/node-pod.ts';
import { policyKey } from '../model/policy.ts';
import { type Service, serviceKey } from '../model/service.ts';
import { type Workload, workloadKey } from '../model/workload.ts';
import {
  addressNames,
  encodeAuthorization,
  encodeNodePod,
  encodeService,
  encodeSettings,
  encodeWorkload,
  resourceTypes,
  settingsName,
} from '../xds/codec.ts';
import { servedTypes } from './ads-types.ts';
import type { PlacedPod } from './build-node-pods.ts';
import type { Offer } from './resource.ts';
import { ResourceStore, type TypeChanges } from './resources.ts';

export interface MeshChanges {
  readonly mesh: MeshDelta;
  /** Null when they are as they were. */
  readonly settings: MeshSettings | null;
  readonly pods: {
    readonly set: readonly PlacedPod[];
    /** By UID. */
    readonly removed: readonly string[];
  };
}

/** A store for the types of the mesh. */
export function meshStore(): ResourceStore {
  return new ResourceStore(servedTypes.map(({ typeUrl }) => typeUrl));
}

/** For `ResourceStore.apply`. Services stand before workloads: a client that reads in order knows what it joins to what. */
export function resourceChanges({ mesh, settings, pods }: MeshChanges): Record<string, TypeChanges> {
  return {
    [resourceTypes.authorization]: {
      set: mesh.policies.map(policy => ({ name: policyKey(policy), content: encodeAuthorization(policy) })),
      removed: mesh.removedPolicies,
    },
    [resourceTypes.address]: {
      set: [...mesh.services.map(serviceOffer), ...mesh.workloads.map(workloadOffer)],
      removed: [...mesh.removedServices, ...mesh.removedWorkloads],
    },
    [resourceTypes.nodePod]: {
      set: pods.set.map(({ node, pod }) => ({ name: pod.podUid, content: encodeNodePod(pod), node })),
      removed: pods.removed,
    },
    [resourceTypes.settings]: {
      set: settings === null ? [] : [{ name: settingsName, content: encodeSettings(settings) }],
      removed: [],
    },
  };
}

function serviceOffer(service: Service): Offer {
  return { name: serviceKey(service), content: encodeService(service), aliases: addressNames(service) };
}

function workloadOffer(workload: Workload): Offer {
  return {
    name: workloadKey(workload),
    content: encodeWorkload(workload),
    // Workloads of the host's network share an address that is not theirs alone.
    aliases: workload.networkMode === 'HOST_NETWORK' ? [] : addressNames(workload),
    partOf: Object.keys(workload.services),
    node: workload.node === '' ? null : workload.node,
  };
}
