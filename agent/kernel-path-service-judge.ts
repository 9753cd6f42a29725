/**
 * Decides for the kernel what a shard decides for a connection to a Service: which endpoints may it have? With the main
 * thread's mesh and the pods that are enrolled now.
 */
import { isIpv6 } from '../model/address.ts';
import { serviceAt, serviceChoices } from '../model/service-choices.ts';
import { serviceKey, type Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import type { VerdictKey } from './kernel-path-abi.ts';
import type { NodeState } from './kernel-path-judge.ts';
import type { Choice } from './kernel-path-service-abi.ts';

/** The choices for one pod and Service, and what they were made of. */
export interface KnownService {
  readonly choices: readonly Choice[];
  readonly source: Workload;
  readonly service: Service;
  /** Healthy or not: the mesh gives the same array until one of them changes. */
  readonly members: readonly Workload[];
  /** Those that are pods of this node, with the address that they are dialled at. */
  readonly here: readonly { readonly workload: Workload; readonly address: string }[];
}

export interface ServiceJudge {
  /**
   * What a pod's connection to this Service may be given; `before` where that has not changed. Null where the agent decides
   * each, or where the kernel would have none of them.
   */
  service(key: VerdictKey, before: KnownService | null): KnownService | null;
}

/** A judge for this very moment; it must not be kept. */
export function serviceJudgeOf({ mesh, node, pods }: Omit<NodeState, 'ports'>): ServiceJudge {
  const byCookie = new Map(pods.map(pod => [pod.cookie, pod.wanted]));
  const enrolled = new Set(pods.map(pod => pod.wanted.workloadUid));

  /** An address that is changing hands is not answered by the endpoint alone. */
  const isHere = (workload: Workload, address: string): boolean =>
    workload.node === node &&
    enrolled.has(workload.uid) &&
    mesh.workloadByAddress(workload.network, address)?.uid === workload.uid;

  const isUnchanged = (known: KnownService, source: Workload, service: Service): boolean =>
    known.source === source &&
    known.service === service &&
    // Whether the client is the waypoint stands elsewhere.
    service.waypoint === null &&
    known.members === mesh.endpoints(serviceKey(service)) &&
    known.here.every(({ workload, address }) => isHere(workload, address));

  const service = (key: VerdictKey, before: KnownService | null): KnownService | null => {
    const from = byCookie.get(key.source);
    const source = from === undefined ? null : mesh.workload(from.workloadUid);
    const asked = source === null ? null : serviceAt(mesh, source, key.address);
    if (source === null || asked === null) return null;
    if (before !== null && isUnchanged(before, source, asked)) return before;
    const found = serviceChoices(mesh, source, key);
    if (found === null) return null;
    const here = found.endpoints.filter(
      ({ workload, address }) => isIpv6(address) === isIpv6(key.address) && isHere(workload, address),
    );
    if (here.length === 0) return null;
    const choices = found.endpoints.map(endpoint => ({
      address: endpoint.address,
      port: endpoint.targetPort,
      weight: endpoint.workload.capacity,
      here: here.includes(endpoint),
    }));
    return { choices, source, service: asked, members: mesh.endpoints(serviceKey(asked)), here };
  };

  return { service };
}
