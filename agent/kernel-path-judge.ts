/**
 * Decides for the kernel what a shard decides for a connection: where does it go, and does policy allow it? With the main
 * thread's mesh and the pods that are enrolled now.
 */
import { admit } from '../model/admission.ts';
import type { Mesh } from '../model/mesh.ts';
import { isIpv6 } from '../model/address.ts';
import { resolve } from '../model/route.ts';
import type { PodPorts } from './config.ts';
import type { VerdictKey } from './kernel-path-abi.ts';
import type { Judge, Judgement } from './kernel-path-verdicts.ts';
import type { WantedPod } from './mesh-source.ts';

export interface NodeState {
  readonly mesh: Mesh;
  readonly node: string;
  readonly ports: PodPorts;
  /** Enrolled pods. */
  readonly pods: readonly { readonly wanted: WantedPod; readonly cookie: bigint }[];
}

const elsewhere: Judgement = { kind: 'elsewhere' };
const nothingTried: ReadonlySet<string> = new Set();

/** A judge for this very moment; it must not be kept. */
export function judgeOf({ mesh, node, ports, pods }: NodeState): Judge {
  const byCookie = new Map(pods.map(pod => [pod.cookie, pod.wanted]));
  const byWorkload = new Map(pods.map(pod => [pod.wanted.workloadUid, pod]));
  const agentPorts = new Set(Object.values(ports));

  const allows = ({ source, address, port }: VerdictKey, uid: string): boolean => {
    const from = byCookie.get(source);
    const workload = mesh.workload(uid);
    const sourceIp = from?.addresses.find(ip => isIpv6(ip) === isIpv6(address));
    // A pod that is not enrolled (any more) has nothing to go on; its connections are ended with it.
    if (from === undefined || sourceIp === undefined || workload === null) return false;
    return admit(mesh, workload, {
      sourceIdentity: from.identity,
      sourceIp,
      destinationIp: address,
      destinationPort: port,
    }).allowed;
  };

  const route = (key: VerdictKey): Judgement => {
    const { source, address, port } = key;
    const from = byCookie.get(source);
    const client = from === undefined ? null : mesh.workload(from.workloadUid);
    if (client === null) return elsewhere;
    const found = resolve(mesh, {
      source: client,
      destination: { address, port },
      localNode: node,
      isLocal: uid => byWorkload.has(uid),
      hbonePort: ports.hbone,
      agentPorts,
      exclude: nothingTried,
      random: Math.random,
    });
    if (found.kind !== 'local' || found.service !== null || found.address !== address || found.port !== port)
      return elsewhere;
    const to = byWorkload.get(found.workload.uid);
    if (to === undefined || to.cookie === source || !to.wanted.addresses.includes(address)) return elsewhere;
    if (!allows(key, found.workload.uid)) return { kind: 'denied' };
    return { kind: 'allowed', destination: to.cookie, uid: found.workload.uid };
  };

  return { route, stillAllowed: allows };
}
