/**
 * Which pods exist for the mesh, which addresses are theirs, and which of them are enrolled.
 *
 * Identity must never be wrong. An address leads to one pod only: of two that claim it, the first keeps it and nobody
 * reaches the other by it. A network namespace that two pods claim gives neither of them an identity, since nothing
 * could tell whose traffic comes out of it.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { podUid } from '../model/workload.ts';
import { type BuildMode, type EnrolmentSettings, enrolmentOf, isTunnelled } from './build-enrolment.ts';
import type { Objects, Report } from './build-objects.ts';
import { type Located, objectName } from './located.ts';

/** One pod the mesh knows of. */
export interface PodEntry {
  readonly pod: Located<'Pod'>;
  /** uid of its workload. */
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly hostNetwork: boolean;
  /** All addresses the pod has. */
  readonly addresses: readonly string[];
  /** Those by which it is found; without the ones another pod holds. */
  readonly reachableAt: readonly string[];
  /** Null for a pod that is not to be in the mesh. */
  readonly enrolment: EnrolmentSettings | null;
  /** Whether others reach it through its tunnel only. */
  readonly tunnelled: boolean;
}

/** Pods that have ended (Succeeded, Failed) are left out, as are those without an address. Sorted by uid. */
export function podEntries(
  objects: Objects,
  config: MeshConfig,
  mode: BuildMode,
  report: Report,
): PodEntry[] {
  const living: Living[] = [];
  for (const pod of objects.all('Pod')) {
    const { phase } = pod.value.status;
    if (phase === 'Succeeded' || phase === 'Failed') continue;
    const addresses = podAddresses(pod);
    const namespace = objects.get('Namespace', '', pod.namespace);
    const enrolment = enrolmentOf({ pod, namespace, addresses, config, mode }, report);
    if (addresses.length > 0) living.push({ pod, addresses, enrolment });
  }
  const holders = addressHolders(living, report);
  const ambiguous = mode === 'cluster' ? new Set() : ambiguousNamespaces(living, report);
  return living
    .map(({ pod, addresses, enrolment }) => ({
      pod,
      uid: podUid(config.clusterId, pod.namespace, pod.name),
      labels: pod.value.metadata.labels,
      hostNetwork: pod.value.spec.hostNetwork,
      addresses,
      reachableAt: addresses.filter(address => pod.value.spec.hostNetwork || holders.get(address) === pod),
      enrolment: ambiguous.has(pod) ? null : enrolment,
      tunnelled: !ambiguous.has(pod) && isTunnelled(pod, enrolment, mode, report),
    }))
    .toSorted((a, b) => (a.uid < b.uid ? -1 : 1));
}

interface Living {
  readonly pod: Located<'Pod'>;
  readonly addresses: readonly string[];
  readonly enrolment: EnrolmentSettings | null;
}

export function podAddresses(pod: Located<'Pod'>): string[] {
  const { podIP, podIPs } = pod.value.status;
  const all = [podIP ?? '', ...podIPs.map(({ ip }) => ip)];
  return [...new Set(all)].filter(address => address !== '');
}

/** Whose each address is. A pod that is going away yields to one that is not; otherwise the first in file order wins. */
function addressHolders(living: readonly Living[], report: Report): Map<string, Located<'Pod'>> {
  const holders = new Map<string, Located<'Pod'>>();
  for (const { pod, addresses } of byPrecedence(living)) {
    if (pod.value.spec.hostNetwork) continue;
    for (const address of addresses) {
      const holder = holders.get(address);
      if (holder === undefined) {
        holders.set(address, pod);
        continue;
      }
      const message = `${address} is the address of ${objectName(holder)} already: nothing reaches this pod by it`;
      report(pod, 'error', 'address-conflict', 'status.podIP', message);
    }
  }
  return holders;
}

/** The pods that share the network namespace of another on their node. */
function ambiguousNamespaces(living: readonly Living[], report: Report): Set<Located<'Pod'>> {
  const claims = new Map<string, Located<'Pod'>[]>();
  for (const { pod, enrolment } of byPrecedence(living)) {
    if (enrolment === null) continue;
    const key = `${pod.value.spec.nodeName}\0${enrolment.netns}`;
    const others = claims.get(key);
    if (others === undefined) claims.set(key, [pod]);
    else others.push(pod);
  }
  const ambiguous = new Set<Located<'Pod'>>();
  for (const [key, pods] of claims) {
    if (pods.length === 1) continue;
    const staying = pods.filter(pod => !isLeaving(pod));
    const owner = staying.length === 1 ? staying[0] : undefined;
    for (const pod of pods) {
      if (pod === owner) continue;
      const other = pods.find(candidate => candidate !== pod) ?? pod;
      const path = key.slice(key.indexOf('\0') + 1);
      const message = `not enrolled: ${objectName(owner ?? other)} claims the network namespace ${path} too, so its traffic has no certain identity`;
      report(pod, 'error', 'netns-conflict', 'metadata.annotations["culvert.dev/netns"]', message);
      ambiguous.add(pod);
    }
  }
  return ambiguous;
}

function byPrecedence(living: readonly Living[]): Living[] {
  return [...living.filter(({ pod }) => !isLeaving(pod)), ...living.filter(({ pod }) => isLeaving(pod))];
}

function isLeaving(pod: Located<'Pod'>): boolean {
  return pod.value.metadata.deletionTimestamp !== undefined;
}
