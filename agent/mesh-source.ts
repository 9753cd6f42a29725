/**
 * Where an agent learns the mesh and the pods of its node, and who signs for them: a directory on this machine
 * (directory-source.ts), or a control plane (cluster/cluster-source.ts). The agent itself does not know which.
 */
import type { CulvertError } from '../base/errors.ts';
import type { Finding, Severity } from '../control/finding.ts';
import type { MeshDelta } from '../model/mesh.ts';
import type { CertificateSource } from '../tunnel/certificate-exchange.ts';
import type { ClusterState } from './cluster/cluster-state.ts';
import type { ShardMeshSettings } from './messages.ts';

/** A pod of this node whose traffic is to be redirected. */
export interface WantedPod {
  readonly workloadUid: string;
  /** Unique, and another one when a pod of the same name is made anew. */
  readonly podUid: string;
  readonly name: string;
  readonly namespace: string;
  /** SPIFFE ID. */
  readonly identity: string;
  /** Absolute path of its network namespace. */
  readonly netns: string;
  /** Every address the pod has, canonical. */
  readonly addresses: readonly string[];
  readonly failMode: 'open' | 'closed';
  readonly dnsCapture: boolean;
}

/** A new state: the mesh as what changed, the rest as it is now. */
export interface MeshUpdate {
  readonly delta: MeshDelta;
  readonly settings: ShardMeshSettings;
  readonly wanted: readonly WantedPod[];
}

/** What came of the wishes, by pod UID. */
export interface EnrolmentStates {
  readonly enrolled: ReadonlySet<string>;
  /** Wanted and not enrolled, with why. */
  readonly failures: ReadonlyMap<string, CulvertError>;
}

export interface MeshSourceState {
  /** A person's word for it: the directory, or the control plane's address. */
  readonly name: string;
  /** Counts states that came into force. */
  readonly generation: number;
  /** Of the one in force, milliseconds since the epoch. */
  readonly appliedAt: number;
  /** Files or resources whose newest version was refused; their last good one is in force. */
  readonly refused: readonly string[];
  readonly findings: Readonly<Record<Severity, number>>;
}

/** Of a source that knows of the mesh only what its node needs: the rest is asked for by name. */
export interface MeshNames {
  /** Whether an answer can be expected now. */
  readonly reachable: boolean;
  /**
   * Resolves once what `<network>/<ip>` or `namespace/hostname` stands for has been told as an update, with all that is
   * part of it, or with `missing`. Later changes come too. Rejects with the signal's reason.
   */
  want(name: string, signal: AbortSignal): Promise<'found' | 'missing'>;
  /** Told of names that were missing and of which no news will come any more. */
  onGivenUp: (names: readonly string[]) => void;
}

export interface MeshSource {
  /** Begins what only one agent of a node may do, such as answering for it. */
  begin(): Promise<void>;
  /** Another agent does it from now on; the mesh is followed all the same. May begin again. */
  end(): Promise<void>;
  /** Signs the certificates of this node's pods. */
  readonly signer: CertificateSource;
  /** Resolves with the whole mesh as soon as it is known; rejects when it never can be. */
  start(): Promise<MeshUpdate>;
  /** Told of every state after the first. */
  onUpdate: (update: MeshUpdate) => void;
  /** Null where the updates bring the whole mesh. */
  readonly names: MeshNames | null;
  /** All pods of this node have been heard of: one that is not wanted now does not belong to the mesh. */
  readonly podsKnown: boolean;
  /** Hears after every look at the pods what came of the wishes. */
  enrolled(states: EnrolmentStates): void;
  state(): MeshSourceState;
  /** What an agent in a cluster depends on, and how that is; null for one without. */
  clusterState(): ClusterState | null;
  findings(): readonly Finding[];
  close(): Promise<void>;
}
