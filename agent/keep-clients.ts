/**
 * Services that keep their clients at an endpoint (`sessionAffinity: ClientIP`): a shard notes whom its connections
 * reached, and the main thread tells the other shards, as a client's next connection may come to any of them.
 */
import type { Kept } from '../model/affinity.ts';
import { serviceKey, type Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import type { Pod } from './pod.ts';
import type { ShardContext } from './shard-context.ts';

/** What is remembered of a pod as a client, for the choice of an endpoint. */
export function keptFor({ affinity }: ShardContext, pod: Pod): (service: string, timeoutMs: number) => Kept {
  return (service, timeoutMs) => affinity.find(pod.workloadUid, service, timeoutMs, Date.now());
}

/** A connection of the pod to the service has reached this endpoint. */
export function noteReached(context: ShardContext, pod: Pod, service: Service, endpoint: Workload): void {
  const timeoutMs = service.sessionAffinityMs;
  if (timeoutMs === null) return;
  const reached = { client: pod.workloadUid, service: serviceKey(service), endpoint: endpoint.uid };
  const news = context.affinity.note(reached, timeoutMs, Date.now());
  if (news !== null) context.send({ type: 'kept', kept: news });
}
