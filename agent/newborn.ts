/**
 * A pod that runs and is not in the mesh yet: between its enrolment, before anything in it runs, and the moment when the
 * API server knows its address and the mesh follows. What it says first must already be protected, so for its own
 * connections it is who it was enrolled as. Nobody reaches it as a workload until the mesh knows it.
 */
import { parseSpiffeId } from '../model/identity.ts';
import type { Workload } from '../model/workload.ts';
import type { ShardMeshSettings } from './messages.ts';
import type { Pod } from './pod.ts';

export function newbornWorkload(pod: Pod, settings: ShardMeshSettings, node: string): Workload {
  const identity = parseSpiffeId(pod.identity);
  return {
    uid: pod.workloadUid,
    name: pod.name,
    namespace: pod.namespace,
    serviceAccount: identity?.serviceAccount ?? '',
    trustDomain: identity?.trustDomain ?? settings.trustDomain,
    addresses: pod.addresses,
    hostname: '',
    network: settings.network,
    node,
    clusterId: settings.clusterId,
    tunnelProtocol: 'HBONE',
    networkMode: 'STANDARD',
    status: 'HEALTHY',
    canonicalName: pod.name,
    canonicalRevision: 'latest',
    workloadName: pod.name,
    workloadType: 'pod',
    services: {},
    authorizationPolicies: [],
    waypoint: null,
    locality: null,
    capacity: 1,
  };
}
