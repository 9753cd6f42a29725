/** Pods, sandboxes and settings that differ from the ordinary in what a test says. */
import type { Sandbox } from '../../../agent/cluster/sandbox.ts';
import type { MeshSettings, NodePod } from '../../../model/node-pod.ts';

export function nodePod(uid: string, changes: Partial<NodePod> = {}): NodePod {
  return {
    podUid: uid,
    runtimeUid: uid,
    workloadUid: `c//Pod/shop/${uid}`,
    namespace: 'shop',
    name: uid,
    serviceAccount: `sa-${uid}`,
    addresses: ['10.0.0.1'],
    wanted: true,
    failMode: 'closed',
    dnsCapture: true,
    probePorts: [],
    ...changes,
  };
}

export function sandbox(id: string, podUid: string, changes: Partial<Sandbox> = {}): Sandbox {
  return {
    id,
    podUid,
    namespace: 'shop',
    name: podUid,
    netns: `/run/netns/${id}`,
    addresses: ['10.0.0.1'],
    createdAt: 1,
    ...changes,
  };
}

export function settings(changes: Partial<MeshSettings> = {}): MeshSettings {
  return {
    trustDomain: 'mesh.test',
    network: '',
    clusterId: 'c',
    clusterDomain: 'cluster.local',
    accessLog: true,
    certificateTtlMs: 86_400_000,
    enrolledNamespaces: ['shop'],
    excludedNamespaces: ['kube-system'],
    ...changes,
  };
}
