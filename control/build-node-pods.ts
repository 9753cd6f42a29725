/**
 * What the agent of a node is told about the pods on it, and every agent about the mesh as a whole. Clusters only.
 *
 * A pod is told of as soon as it is on a node, before it has an address and also when it is not wanted: the agent has to
 * answer for a new pod before anything in it runs, and an unwanted one must be answered as quickly as a wanted one.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { probePorts } from '../model/kinds/probes.ts';
import { podUid } from '../model/workload.ts';
import { enrolmentOf, modeOf } from './build-enrolment.ts';
import type { Objects } from './build-objects.ts';
import { podAddresses } from './build-pods.ts';
import { serviceAccountOf } from './build-workloads.ts';

export interface NodePod {
  readonly podUid: string;
  readonly workloadUid: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly addresses: readonly string[];
  readonly wanted: boolean;
  readonly failMode: 'open' | 'closed';
  readonly dnsCapture: boolean;
  readonly probePorts: readonly number[];
}

export interface MeshSettings {
  readonly trustDomain: string;
  readonly network: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly accessLog: boolean;
  readonly certificateTtlMs: number;
  readonly enrolledNamespaces: readonly string[];
  readonly excludedNamespaces: readonly string[];
}

/** A pod and the node whose agent is told of it. */
export interface PlacedPod {
  readonly node: string;
  readonly pod: NodePod;
}

const ignore = (): void => {};

export function placedPods(objects: Objects, config: MeshConfig): PlacedPod[] {
  return objects
    .all('Pod')
    .flatMap(pod => {
      const { spec, status, metadata } = pod.value;
      const ended = status.phase === 'Succeeded' || status.phase === 'Failed';
      if (ended || spec.hostNetwork || spec.nodeName === undefined) return [];
      const { name, namespace } = pod;
      const addresses = podAddresses(pod);
      const input = { pod, namespace: objects.get('Namespace', '', namespace), addresses, config };
      const enrolment = enrolmentOf({ ...input, mode: 'cluster' }, ignore);
      const workloadUid = podUid(config.clusterId, namespace, name);
      return [
        {
          node: spec.nodeName,
          pod: {
            podUid: metadata.uid ?? workloadUid,
            workloadUid,
            namespace,
            name,
            serviceAccount: serviceAccountOf(pod.value),
            addresses,
            wanted: enrolment !== null,
            failMode: enrolment?.failMode ?? config.defaultFailMode,
            dnsCapture: enrolment?.dnsCapture ?? config.dnsCapture,
            probePorts: probePorts(pod.value),
          },
        },
      ];
    })
    .toSorted((a, b) => (a.pod.podUid < b.pod.podUid ? -1 : 1));
}

export function meshSettingsOf(objects: Objects, config: MeshConfig): MeshSettings {
  const enrolled = objects.all('Namespace').filter(namespace => modeOf(namespace, ignore) === 'ambient');
  return {
    trustDomain: config.trustDomain,
    network: config.network,
    clusterId: config.clusterId,
    clusterDomain: config.clusterDomain,
    accessLog: config.accessLog,
    certificateTtlMs: config.certificateTtlMs,
    enrolledNamespaces: enrolled
      .map(({ name }) => name)
      .filter(name => !config.excludedNamespaces.includes(name))
      .toSorted(),
    excludedNamespaces: config.excludedNamespaces.toSorted(),
  };
}
