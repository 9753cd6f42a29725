/**
 * Everything that is configured, put together: objects in, the mesh and who is enrolled out. Pure.
 *
 * The same for objects of a directory and of an API server. The order of the objects does not matter; what they say
 * decides, and where two contradict each other, the order in which they stand in the files. Whatever is left out or
 * not in force is a finding.
 *
 * A control plane, whose objects come and go by the thousand, uses the class behind it: `IncrementalBuilder`
 * (build-incremental.ts) with `{ mode: 'cluster' }`, whose `apply` returns what each change of objects changes in the
 * mesh, in the pods of each node (`nodePods`), in the settings and in the findings.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { L7State } from '../model/l7.ts';
import type { MeshDelta } from '../model/mesh.ts';
import type { MeshSettings } from '../model/node-pod.ts';
import { type BuildOptions, IncrementalBuilder } from './build-incremental.ts';
import type { PlacedPod } from './build-node-pods.ts';
import type { Finding } from './finding.ts';
import type { LocatedObject } from './located.ts';

/** A pod of a directory whose traffic an agent redirects: the agent of the node its workload is on. */
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

export interface BuildResult {
  /** The whole mesh: nothing is removed. Sorted by key. */
  readonly mesh: MeshDelta;
  /** For waypoints; each list sorted by key. */
  readonly l7: L7State;
  /** Of a directory, of every node; an agent takes those whose workload is on its own. Sorted by workload uid. */
  readonly enrolments: readonly Enrolment[];
  /** Of a cluster: every pod that is on a node, wanted or not, for the agent of that node. Sorted by pod uid. */
  readonly nodePods: readonly PlacedPod[];
  readonly settings: MeshSettings;
  readonly config: MeshConfig;
  readonly findings: readonly Finding[];
}

/** Builds the mesh. Never throws for what objects say. */
export function build(objects: readonly LocatedObject[], options: BuildOptions = {}): BuildResult {
  const builder = new IncrementalBuilder(options);
  builder.apply({ set: objects, removed: [] });
  return resultOf(builder);
}

/** Everything a builder has built, as it is now. */
export function resultOf(builder: IncrementalBuilder): BuildResult {
  return {
    mesh: builder.mesh(),
    l7: builder.l7(),
    enrolments: enrolmentsOf(builder),
    nodePods: builder.nodePods(),
    settings: builder.settings,
    config: builder.config,
    findings: builder.findings(),
  };
}

function enrolmentsOf(builder: IncrementalBuilder): Enrolment[] {
  const enrolments: Enrolment[] = [];
  for (const { uid, podUid, addresses, enrolment } of builder.pods()) {
    if (enrolment === null || enrolment.netns === '') continue;
    const { netns, failMode, dnsCapture } = enrolment;
    enrolments.push({ workloadUid: uid, podUid, netns, addresses, failMode, dnsCapture });
  }
  return enrolments.sort((a, b) => (a.workloadUid < b.workloadUid ? -1 : 1));
}
