/**
 * What every step of the data path in one shard needs to know; built once by the shard, read by all.
 */
import type { Logger } from '../base/log.ts';
import type { Affinity } from '../model/affinity.ts';
import type { Mesh } from '../model/mesh.ts';
import type { Workload } from '../model/workload.ts';
import type { AgentConfig } from './config.ts';
import type { Connections } from './connections.ts';
import type { EndpointHealth } from '../tunnel/endpoint-health.ts';
import type { EndpointNames } from './endpoint-names.ts';
import type { Inquiries } from './inquiries.ts';
import type { LegLoop } from './leg-loop.ts';
import type { FromShard, ShardMeshSettings } from './messages.ts';
import type { SocketQueueEnds } from '../native/native.ts';
import { newbornWorkload } from './newborn.ts';
import type { Pod } from './pod.ts';
import type { CurrentCertificates } from '../tunnel/current-certificates.ts';
import type { Endpoint } from './redirect-abi.ts';
import type { ShardMetrics } from './shard-metrics.ts';
import type { SourceCaps } from '../tunnel/source-caps.ts';

export interface ShardContext {
  /** Of this shard. */
  readonly index: number;
  /** Of all shards, by index. */
  readonly queues: readonly SocketQueueEnds[];
  readonly config: AgentConfig;
  readonly originalDestinationMap: number;
  readonly peerNameMap: number;
  /** What joins legs (leg-join.ts); null where the kernel path has no joins. */
  readonly legProgram: number | null;
  readonly log: Logger;
  readonly mesh: Mesh;
  readonly certificates: CurrentCertificates;
  readonly connections: Connections;
  /** The sockets of applications' connections. */
  readonly legs: LegLoop;
  readonly health: EndpointHealth;
  readonly names: EndpointNames;
  readonly caps: SourceCaps;
  /** Enrolled pods of this node, by pod UID, by workload UID and by what shards call them. */
  readonly pods: Map<string, Pod>;
  readonly podsByWorkload: Map<string, Pod>;
  readonly podsByTag: Map<number, Pod>;
  /** Ports inside pods that belong to the mesh. */
  readonly agentPorts: ReadonlySet<number>;
  /** Which endpoints clients are kept at. */
  readonly affinity: Affinity;
  /** Null where the mesh is known as a whole. */
  readonly inquiries: Inquiries | null;
  settings: ShardMeshSettings;
  draining: boolean;
  readonly metrics: ShardMetrics;
  /** Tells the main thread. */
  readonly send: (message: FromShard) => void;
  /** A connection of this pod to a neighbour is open; to that one itself, or to a Service. */
  neighbour(pod: Pod, reached: Endpoint, service: Endpoint | null): void;
  /** Counts something that an operator may want to know, by code. */
  count(code: string): void;
}

/** Who a pod is for what it sends: as the mesh knows it now or, before it does, as it was enrolled. */
export function clientOf(context: ShardContext, pod: Pod): Workload {
  return workloadOf(context, pod) ?? newbornWorkload(pod, context.settings, context.config.node);
}

/** The workload of a pod as the mesh knows it now; null before it does, and between two configurations. */
export function workloadOf(context: ShardContext, pod: Pod): Workload | null {
  return context.mesh.workload(pod.workloadUid);
}
