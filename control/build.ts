/**
 * Everything that is configured, put together: objects in, the mesh and who is enrolled out. Pure.
 *
 * The same for objects of a directory and of an API server. The order of the objects does not matter; what they say
 * decides, and where two contradict each other, the order in which they stand in the files. Whatever is left out or
 * not in force is a finding.
 */
import type { MeshDelta } from '../model/mesh.ts';
import type { MeshSettings } from './build-node-pods.ts';
import { type MeshConfig, meshConfigName, meshSettings } from '../model/kinds/mesh-config.ts';
import { LabelIndex, endpointsOf } from './build-endpoints.ts';
import { type BuildMode, modeOf } from './build-enrolment.ts';
import { type PlacedPod, meshSettingsOf, placedPods } from './build-node-pods.ts';
import { type Report, indexObjects } from './build-objects.ts';
import { type PodEntry, podEntries } from './build-pods.ts';
import { policiesOf } from './build-policies.ts';
import { reportReferences, reportWaypoints } from './build-references.ts';
import { serviceEntries } from './build-services.ts';
import { podWorkload } from './build-workloads.ts';
import { type Finding, compareFindings } from './finding.ts';
import { type LocatedObject, findingAt } from './located.ts';

/** A pod whose traffic an agent redirects: the agent of the node its workload is on. */
export interface Enrolment {
  readonly workloadUid: string;
  /** `metadata.uid`, or the workload's uid where there is none. Unique. */
  readonly podUid: string;
  /** Absolute path of its network namespace. */
  readonly netns: string;
  /** Every address the pod has, canonical, also one that another pod is found by. */
  readonly addresses: readonly string[];
  readonly failMode: 'open' | 'closed';
  readonly dnsCapture: boolean;
}

export interface BuildOptions {
  /** Default `directory`. */
  readonly mode?: BuildMode;
}

export interface BuildResult {
  /** The whole mesh: nothing is removed. Sorted by key. */
  readonly mesh: MeshDelta;
  /** Of a directory, of every node; an agent takes those whose workload is on its own. Sorted by workload uid. */
  readonly enrolments: readonly Enrolment[];
  /** Of a cluster: every pod that is on a node, wanted or not, for the agent of that node. Sorted by pod uid. */
  readonly nodePods: readonly PlacedPod[];
  readonly settings: MeshSettings;
  readonly config: MeshConfig;
  readonly findings: readonly Finding[];
}

/** Builds the mesh. Never throws for what objects say. */
export function build(all: readonly LocatedObject[], { mode = 'directory' }: BuildOptions = {}): BuildResult {
  const findings: Finding[] = [];
  const report: Report = (object, severity, code, field, message) =>
    findings.push(findingAt(object, severity, code, field, message));

  const objects = indexObjects(all, report);
  const config = meshSettings(objects.get('MeshConfig', '', meshConfigName)?.value ?? null);
  for (const namespace of objects.all('Namespace')) modeOf(namespace, report);

  const pods = podEntries(objects, config, mode, report);
  const services = serviceEntries(objects, pods, config, report);
  const endpoints = endpointsOf({ objects, config, pods, services }, report);
  const policies = policiesOf({ objects, config, pods, index: new LabelIndex(pods) }, report);
  reportReferences(objects, config, report);
  reportWaypoints(objects, report);

  const workloads = pods.map(entry => {
    const memberships = {
      services: endpoints.memberships.get(entry.uid) ?? {},
      authorizationPolicies: policies.namesOf(entry.uid),
    };
    return podWorkload(entry, memberships, objects, config);
  });
  return {
    mesh: {
      workloads: [...workloads, ...endpoints.externals].toSorted((a, b) => (a.uid < b.uid ? -1 : 1)),
      services: services.map(({ service }) => service),
      policies: policies.policies,
      removedWorkloads: [],
      removedServices: [],
      removedPolicies: [],
    },
    enrolments: mode === 'cluster' ? [] : enrolments(pods, report),
    nodePods: mode === 'cluster' ? placedPods(objects, config) : [],
    settings: meshSettingsOf(objects, config),
    config,
    findings: findings.toSorted(compareFindings),
  };
}

function enrolments(pods: readonly PodEntry[], report: Report): Enrolment[] {
  const holders = new Map<string, PodEntry>();
  for (const entry of pods) {
    const uid = entry.pod.value.metadata.uid;
    if (uid !== undefined && !holders.has(uid)) holders.set(uid, entry);
  }
  return pods.flatMap(entry => {
    if (entry.enrolment === null) return [];
    const uid = entry.pod.value.metadata.uid;
    const isOwn = uid !== undefined && holders.get(uid) === entry;
    if (uid !== undefined && !isOwn) {
      const message = 'has the uid of another pod, which is unique in a cluster: its name is used instead';
      report(entry.pod, 'warning', 'duplicate-uid', 'metadata.uid', message);
    }
    return [
      {
        workloadUid: entry.uid,
        podUid: isOwn ? uid : entry.uid,
        addresses: entry.addresses,
        ...entry.enrolment,
      },
    ];
  });
}
