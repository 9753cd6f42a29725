/**
 * From what the builder changed to what clients are offered. Between build and serve.
 */
import { confidential, type L7Change, l7Holder } from '../model/l7.ts';
import { policyKey } from '../model/policy.ts';
import { type Service, serviceKey } from '../model/service.ts';
import { type Workload, workloadKey } from '../model/workload.ts';
import {
  addressNames,
  encodeAuthorization,
  encodeL7,
  encodeNodePod,
  encodeService,
  encodeSettings,
  encodeWorkload,
  entriesName,
  resourceTypes,
  settingsName,
} from '../xds/codec.ts';
import { l7Name } from '../xds/codec-l7.ts';
import type { BuildChange } from './build-incremental.ts';
import type { Offer } from './resource.ts';
import type { TypeChanges } from './resources.ts';

/** By type URL; every type is there. */
export function offersOf({
  mesh,
  l7,
  nodePods,
  settings,
}: Pick<BuildChange, 'mesh' | 'l7' | 'nodePods' | 'settings'>): Record<string, TypeChanges> {
  return {
    [resourceTypes.authorization]: {
      set: mesh.policies.map(policy => ({ name: policyKey(policy), content: encodeAuthorization(policy) })),
      removed: mesh.removedPolicies,
    },
    [resourceTypes.address]: {
      // A client that takes them one by one knows what an endpoint is one of.
      set: [...mesh.services.map(serviceOffer), ...mesh.workloads.map(workloadOffer)],
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
    [resourceTypes.waypointResource]: l7Offers(l7.filter(({ list }) => !confidential.has(list))),
    [resourceTypes.waypointCredential]: l7Offers(l7.filter(({ list }) => confidential.has(list))),
  };
}

function l7Offers(changes: readonly L7Change[]): TypeChanges {
  const set = changes.flatMap(({ list, key, resource }): Offer[] => {
    if (resource === null) return [];
    const node = confidential.has(list) ? l7Holder(list, resource) : null;
    return [{ name: l7Name(list, key), content: encodeL7(list, resource), node }];
  });
  const removed = changes.flatMap(({ list, key, resource }) =>
    resource === null ? [l7Name(list, key)] : [],
  );
  return { set, removed };
}

function serviceOffer(service: Service): Offer {
  const aliases = addressNames(service);
  return {
    name: serviceKey(service),
    content: encodeService(service),
    aliases: service.canonical ? aliases : [...aliases, entriesName],
  };
}

function workloadOffer(workload: Workload): Offer {
  return {
    name: workloadKey(workload),
    content: encodeWorkload(workload),
    // Those in the host's network share an address that is not theirs alone.
    aliases: workload.networkMode === 'HOST_NETWORK' ? [] : addressNames(workload),
    partOf: Object.keys(workload.services),
    // An agent that asks for single resources gets those of its node unasked.
    node: workload.node === '' ? null : workload.node,
  };
}
