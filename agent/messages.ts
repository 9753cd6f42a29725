/**
 * Everything that the main thread and a shard say to each other.
 *
 * The main thread owns configuration, certificates, BPF and metrics; a shard owns connections from accept to close.
 * File descriptors are numbers of the shared process: a message hands over ownership of those it carries.
 */
import type { AgentConfig } from './config.ts';
import type { KeptClient } from '../model/affinity.ts';
import type { Neighbour } from './kernel-path-requests.ts';
import type { PassageMaps } from './kernel-path-passages.ts';
import type { SocketQueueEnds } from '../native/native.ts';
import type { MeshDelta } from '../model/mesh.ts';
import type { IssuedCertificate } from '../tunnel/certificates.ts';
import type { ShardSnapshot } from './shard-metrics.ts';
import type { ConnectionView } from './connections.ts';
import type { ListenerSet } from './pod-listeners.ts';

/** What a shard is started with. */
export interface ShardStart {
  readonly index: number;
  readonly config: AgentConfig;
  readonly originalDestinationMap: number;
  readonly peerNameMap: number;
  readonly dnsServersMap: number;
  readonly passageMaps: PassageMaps;
  /** Whether connections between pods of this node can become the kernel's. */
  readonly kernelPath: boolean;
  readonly legProgram: number | null;
  readonly unreadProgram: number | null;
  /** By which shards pass connections to each other, one for each; they stay the main thread's. */
  readonly queues: readonly SocketQueueEnds[];
}

/** One enrolled pod as a shard sees it. The shard owns the listeners from then on. */
export interface ShardPodMessage {
  readonly podUid: string;
  readonly workloadUid: string;
  readonly name: string;
  readonly namespace: string;
  readonly identity: string;
  readonly addresses: readonly string[];
  readonly cookie: bigint;
  /** Lent by the main thread until `podRemoved` names it: a number that is reused early would be another namespace. */
  readonly netnsFd: number;
  readonly listeners: readonly ListenerSet[];
  /** See Pod.tag. */
  readonly tag: number;
  /** Counts of spread.ts, the same for all shards: of clients' connections, and of peers' tunnels. */
  readonly clients: SharedArrayBuffer;
  readonly peers: SharedArrayBuffer;
}

/** Settings of the mesh that shards need; from MeshConfig. */
export interface ShardMeshSettings {
  readonly trustDomain: string;
  readonly network: string;
  readonly clusterDomain: string;
  readonly clusterId: string;
  readonly accessLog: boolean;
}

export interface PodListeners {
  readonly podUid: string;
  readonly listeners: readonly ListenerSet[];
}

export type ToShard =
  | { readonly type: 'settings'; readonly settings: ShardMeshSettings }
  | { readonly type: 'mesh'; readonly delta: MeshDelta }
  | { readonly type: 'certificate'; readonly certificate: IssuedCertificate }
  | { readonly type: 'certificateGone'; readonly identity: string }
  /** It knows all that it has to: what others have accepted for it may come. */
  | { readonly type: 'introduced' }
  | { readonly type: 'podAdd'; readonly pod: ShardPodMessage }
  /** This agent serves, and so keeps the books of what the kernel carries: for the first shard. */
  | { readonly type: 'books' }
  /** It was taken out of the mesh and lives on: `podRemove` follows when its connections have had their time. */
  | { readonly type: 'podLeave'; readonly podUid: string }
  | { readonly type: 'podRemove'; readonly podUid: string; readonly reason: string }
  | { readonly type: 'logLevel'; readonly level: string }
  | { readonly type: 'reopenLogs' }
  /** To `inquire`; what is not missing came as a change of the mesh before. */
  | {
      readonly type: 'inquired';
      readonly id: number;
      readonly answered: boolean;
      readonly missing: readonly string[];
    }
  /** Another shard has noted it; see keep-clients.ts. */
  | { readonly type: 'kept'; readonly kept: KeptClient }
  /** Names that nothing had, and of which no news will come any more. */
  | { readonly type: 'forgotten'; readonly names: readonly string[] }
  /** Starting is over: give memory back. */
  | { readonly type: 'settle' }
  /** Another agent accepts from now on, on the same sockets. */
  | { readonly type: 'pause' }
  /** It does not any more: this one accepts again, and is the owner of these descriptors. */
  | { readonly type: 'resume'; readonly pods: readonly PodListeners[] }
  | { readonly type: 'drain'; readonly deadlineMs: number; readonly successor: boolean }
  | { readonly type: 'ask'; readonly id: number; readonly question: Question };

export type Question = 'ping' | 'metrics' | 'connections';

export type FromShard =
  | { readonly type: 'started' }
  | { readonly type: 'podAdded'; readonly podUid: string; readonly error: string | null }
  /** For the other shards. */
  | { readonly type: 'kept'; readonly kept: KeptClient }
  /** Names that the shard knows nothing of; `patient`: also while the control plane is away. */
  | {
      readonly type: 'inquire';
      readonly id: number;
      readonly names: readonly string[];
      readonly patient: boolean;
    }
  | { readonly type: 'podRemoved'; readonly netnsFd: number }
  /** A connection to a pod of this node is open: the next one may be the kernel's. */
  | { readonly type: 'neighbour'; readonly neighbour: Neighbour }
  | { readonly type: 'drained'; readonly forced: number }
  | { readonly type: 'answer'; readonly id: number; readonly answer: ShardAnswer };

export type ShardAnswer =
  | { readonly kind: 'ping' }
  | { readonly kind: 'metrics'; readonly snapshot: ShardSnapshot }
  | { readonly kind: 'connections'; readonly connections: readonly ConnectionView[] };
