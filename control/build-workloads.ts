/**
 * From a pod to the workload the mesh knows: its names for telemetry, its health, its place.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import {
  canonicalName,
  canonicalRevision,
  firstMark,
  podTemplateHash,
  region,
  subzone,
  workloadName,
  zone,
} from '../model/kinds/marks.ts';
import type { Pod } from '../model/kinds/pod.ts';
import type { Locality, Workload } from '../model/workload.ts';
import type { BuildMode } from './build-enrolment.ts';
import type { Objects } from './build-objects.ts';
import type { PodEntry } from './build-pods.ts';

/** What other parts of the builder know of a workload. */
export type Surroundings = Pick<Workload, 'services' | 'authorizationPolicies' | 'locality' | 'waypoint'>;

export function podWorkload(
  entry: PodEntry,
  surroundings: Surroundings,
  config: MeshConfig,
  mode: BuildMode,
): Workload {
  const { value, name, namespace } = entry.pod;
  const owner = ownerOf(value, name);
  const node = value.spec.nodeName ?? '';
  const ownName = firstMark(entry.labels, [workloadName])?.value ?? owner.name;
  return {
    uid: entry.uid,
    name,
    namespace,
    serviceAccount: serviceAccountOf(value),
    trustDomain: config.trustDomain,
    addresses: entry.reachableAt,
    hostname: hostnameOf(value, namespace, config),
    network: config.network,
    node,
    clusterId: config.clusterId,
    tunnelProtocol: entry.tunnelled ? 'HBONE' : 'NONE',
    networkMode: entry.hostNetwork ? 'HOST_NETWORK' : 'STANDARD',
    status: isReady(value, mode) ? 'HEALTHY' : 'UNHEALTHY',
    canonicalName: firstMark(entry.labels, canonicalName)?.value ?? ownName,
    canonicalRevision: firstMark(entry.labels, canonicalRevision)?.value ?? 'latest',
    workloadName: ownName,
    workloadType: owner.type,
    services: surroundings.services,
    authorizationPolicies: surroundings.authorizationPolicies,
    waypoint: surroundings.waypoint,
    locality: surroundings.locality,
    capacity: 1,
  };
}

/** The service account a pod runs as; `default` where it does not say, as in Kubernetes. */
export function serviceAccountOf(pod: Pod): string {
  return pod.spec.serviceAccountName ?? pod.spec.serviceAccount ?? 'default';
}

/** The place of a node by its topology labels; null when none is known. */
export function localityOf(objects: Objects, node: string): Locality | null {
  const labels = objects.get('Node', '', node)?.value.metadata.labels ?? {};
  const locality = {
    region: labels[region] ?? '',
    zone: labels[zone] ?? '',
    subzone: labels[subzone] ?? '',
  };
  return locality.region + locality.zone + locality.subzone === '' ? null : locality;
}

/** The name below that of a headless Service which pods of a StatefulSet have. */
function hostnameOf({ spec }: Pod, namespace: string, config: MeshConfig): string {
  const { hostname = '', subdomain = '' } = spec;
  if (hostname === '' || subdomain === '') return '';
  return `${hostname}.${subdomain}.${namespace}.svc.${config.clusterDomain}`;
}

/** In a directory, ready as far as anyone says: a status without a Ready condition is one that was written by hand. */
function isReady(pod: Pod, mode: BuildMode): boolean {
  if (pod.metadata.deletionTimestamp !== undefined) return false;
  const ready = pod.status.conditions?.find(({ type }) => type === 'Ready');
  return ready === undefined ? mode === 'directory' : ready.status === 'True';
}

/** What made the pod, of what the telemetry of meshes has a word for; a pod of anything else speaks for itself. */
function ownerOf(pod: Pod, podName: string): { name: string; type: Workload['workloadType'] } {
  const owner = pod.metadata.ownerReferences.find(({ controller }) => controller === true);
  if (owner === undefined) return { name: podName, type: 'pod' };
  switch (owner.kind) {
    case 'ReplicaSet': {
      const hash = pod.metadata.labels[podTemplateHash];
      const isDeployment = hash !== undefined && owner.name.endsWith(`-${hash}`);
      return isDeployment
        ? { name: owner.name.slice(0, -hash.length - 1), type: 'deployment' }
        : { name: podName, type: 'pod' };
    }
    case 'Job': {
      // A CronJob names its Jobs after the minute they are for, counted since the epoch.
      const scheduled = /^(.+)-\d{8,10}$/.exec(owner.name)?.[1];
      return scheduled === undefined
        ? { name: owner.name, type: 'job' }
        : { name: scheduled, type: 'cronjob' };
    }
    default:
      return { name: podName, type: 'pod' };
  }
}
