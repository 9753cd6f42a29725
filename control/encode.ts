/**
 * From what the builder changed to what clients are offered. Between build and serve.
 */
import { policyKey } from '../model/policy.ts';
import { serviceKey } from '../model/service.ts';
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
import type { BuildChange } from './build-incremental.ts';
import type { TypeChanges } from './resources.ts';

/** By type URL; every type is there. */
export function offersOf({ mesh, nodePods, settings }: BuildChange): Record<string, TypeChanges> {
  return {
    [resourceTypes.authorization]: {
      set: mesh.policies.map(policy => ({ name: policyKey(policy), content: encodeAuthorization(policy) })),
      removed: mesh.removedPolicies,
    },
    [resourceTypes.address]: {
      set: [
        ...mesh.workloads.map(workload => ({
          name: workload.uid,
          content: encodeWorkload(workload),
          aliases: addressNames(workload),
          partOf: Object.keys(workload.services),
        })),
        ...mesh.services.map(service => ({
          name: serviceKey(service),
          content: encodeService(service),
          aliases: addressNames(service),
        })),
      ],
      removed: [...mesh.removedWorkloads, ...mesh.removedServices],
    },
    [resourceTypes.nodePod]: {
      set: nodePods.set.map(({ node, pod }) => ({ name: pod.podUid, content: encodeNodePod(pod), node })),
      removed: nodePods.removed,
    },
    [resourceTypes.settings]: {
      set: settings === null ? [] : [{ name: settingsName, content: encodeSettings(settings) }],
      removed: [],
    },
  };
}
