/**
 * What the nodes of the endpoints make of who comes to them, for `culvert explain`. Their policies see the waypoint where there is
 * one, and not the client: a policy that forgets it lets nobody in.
 */
import { formatSpiffeId } from '../model/identity.ts';
import { Mesh } from '../model/mesh.ts';
import { decide } from '../model/policy.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import type { KnownMesh } from './known-mesh.ts';

/** Who connects to endpoints. */
export interface Visitor {
  /** A SPIFFE URI. */
  readonly identity: string;
  readonly address: string;
}

/** The pods of the waypoint of a service that traffic can pass; null where it has none. */
export function waypointPods({ mesh }: KnownMesh, { waypoint }: Service): readonly Workload[] | null {
  if (waypoint?.destination.kind !== 'hostname') return null;
  const { namespace, hostname } = waypoint.destination;
  return mesh.workloads.filter(
    ({ services, status }) => services[`${namespace}/${hostname}`] !== undefined && status === 'HEALTHY',
  );
}

/** A waypoint as its endpoints see it. */
export function visitorOf({ trustDomain, namespace, serviceAccount, addresses }: Workload): Visitor {
  return {
    identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
    address: addresses[0] ?? '0.0.0.0',
  };
}

/** Says which of the endpoints of a service would refuse a visitor, and why; nothing where none would. */
export function refusalsBy(
  known: KnownMesh,
  { identity, address }: Visitor,
): (endpoints: readonly Workload[], service: string, port: number) => string[] {
  const mesh = new Mesh();
  mesh.apply(known.mesh);
  return (endpoints, service, port) => {
    const reasons = new Map<string, number>();
    for (const endpoint of endpoints) {
      const mapping = endpoint.services[service]?.find(({ servicePort }) => servicePort === port);
      const decision = decide(mesh.policiesFor(endpoint), {
        sourceIdentity: identity,
        sourceIp: address,
        destinationIp: endpoint.addresses[0] ?? '0.0.0.0',
        destinationPort: mapping?.targetPort ?? port,
      });
      if (!decision.allowed) reasons.set(decision.reason, (reasons.get(decision.reason) ?? 0) + 1);
    }
    return [...reasons].map(
      ([reason, count]) => `  ${count} of them refuse ${identity.replace('spiffe://', '')}: ${reason}`,
    );
  };
}
