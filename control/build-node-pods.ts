/**
 * What the agent of a node is told about the pods on it, and every agent about the mesh as a whole. Clusters only.
 *
 * A pod is told of as soon as it is on a node, before it has an address and also when it is not wanted: the agent has to
 * answer for a new pod before anything in it runs, and an unwanted one must be answered as quickly as a wanted one.
 */
import { isDeepStrictEqual } from 'node:util';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { mirrorAnnotation } from '../model/kinds/metadata.ts';
import type { Pod } from '../model/kinds/pod.ts';
import { probePorts } from '../model/kinds/probes.ts';
import type { MeshSettings, NodePod } from '../model/node-pod.ts';
import { modeOf } from './build-enrolment.ts';
import type { Objects } from './build-objects.ts';
import type { PodChange, PodEntry } from './build-pods.ts';
import { serviceAccountOf } from './build-workloads.ts';

/** A pod and the node whose agent is told of it. */
export interface PlacedPod {
  readonly node: string;
  readonly pod: NodePod;
}

/** Null for a pod that is on no node yet, or in the network of its node. */
export function placedPod(entry: PodEntry, config: MeshConfig): PlacedPod | null {
  const { pod, enrolment } = entry;
  const { spec } = pod.value;
  if (entry.hostNetwork || spec.nodeName === undefined) return null;
  return {
    node: spec.nodeName,
    pod: {
      podUid: entry.podUid,
      runtimeUid: mirrored(pod.value) ?? entry.podUid,
      workloadUid: entry.uid,
      namespace: pod.namespace,
      name: pod.name,
      serviceAccount: serviceAccountOf(pod.value),
      addresses: entry.addresses,
      wanted: enrolment !== null,
      failMode: enrolment?.failMode ?? config.defaultFailMode,
      dnsCapture: enrolment?.dnsCapture ?? config.dnsCapture,
      probePorts: probePorts(pod.value),
    },
  };
}

/** The UID by which its node knows a static pod; null for others. */
function mirrored({ metadata }: Pod): string | null {
  const isOfNode = metadata.ownerReferences.some(({ kind, controller }) => kind === 'Node' && controller);
  return (isOfNode ? metadata.annotations[mirrorAnnotation] : undefined) ?? null;
}

export function meshSettingsOf(objects: Objects, config: MeshConfig): MeshSettings {
  const enrolled: string[] = [];
  for (const namespace of objects.all('Namespace')) {
    const isEnrolled = modeOf(namespace, () => {}) === 'ambient';
    if (isEnrolled && !config.excludedNamespaces.includes(namespace.name)) enrolled.push(namespace.name);
  }
  return {
    trustDomain: config.trustDomain,
    network: config.network,
    clusterId: config.clusterId,
    clusterDomain: config.clusterDomain,
    accessLog: config.accessLog,
    certificateTtlMs: config.certificateTtlMs,
    enrolledNamespaces: enrolled.sort(),
    excludedNamespaces: config.excludedNamespaces.toSorted(),
  };
}

/** What nodes are to know of pods now that is another than before; null for what is gone. By pod uid. */
export function placedChanges(
  changes: readonly PodChange[],
  config: MeshConfig,
): Map<string, PlacedPod | null> {
  const old = new Map<string, PlacedPod | null>();
  const now = new Map<string, PlacedPod | null>();
  for (const { before, after } of changes) {
    if (before !== null) old.set(before.podUid, placedPod(before, config));
    if (after !== null) now.set(after.podUid, placedPod(after, config));
  }
  const changed = new Map<string, PlacedPod | null>();
  for (const uid of new Set([...old.keys(), ...now.keys()])) {
    const after = now.get(uid) ?? null;
    if (!isDeepStrictEqual(old.get(uid) ?? null, after)) changed.set(uid, after);
  }
  return changed;
}
