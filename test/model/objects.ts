/** Objects of a mesh for tests: plain defaults, and what matters to a test given by it. */
import { emptyMatch } from '../../model/authorization-attributes.ts';
import { emptyMesh, Mesh } from '../../model/mesh.ts';
import type { MeshDelta } from '../../model/mesh.ts';
import type { Authorization, Match, PolicyConnection, Rule } from '../../model/policy.ts';
import type { Service } from '../../model/service.ts';
import { podUid } from '../../model/workload.ts';
import type { PortMapping, Workload } from '../../model/workload.ts';

export function workload(name: string, given: Partial<Workload> = {}): Workload {
  const namespace = given.namespace ?? 'shop';
  return {
    uid: podUid('Kubernetes', namespace, name),
    name,
    namespace,
    serviceAccount: name,
    trustDomain: 'cluster.local',
    addresses: [],
    hostname: '',
    network: '',
    node: 'n1',
    clusterId: 'Kubernetes',
    tunnelProtocol: 'HBONE',
    networkMode: 'STANDARD',
    status: 'HEALTHY',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadName: name,
    workloadType: 'pod',
    services: {},
    authorizationPolicies: [],
    waypoint: null,
    locality: null,
    capacity: 1,
    ...given,
  };
}

export function port(servicePort: number, targetPort: number): PortMapping {
  return { servicePort, targetPort, appProtocol: 'UNKNOWN' };
}

export function service(name: string, given: Partial<Service> = {}): Service {
  const namespace = given.namespace ?? 'shop';
  return {
    name,
    namespace,
    hostname: `${name}.${namespace}.svc.cluster.local`,
    addresses: [],
    ports: [port(80, 8080)],
    subjectAltNames: [],
    waypoint: null,
    loadBalancing: null,
    ipFamilies: 'AUTOMATIC',
    canonical: true,
    visibility: 'PUBLIC',
    sessionAffinityMs: null,
    ...given,
  };
}

export function mesh(given: Partial<MeshDelta>): Mesh {
  const result = new Mesh();
  result.apply({ ...emptyMesh, ...given });
  return result;
}

export function match(given: Partial<Match>): Match {
  return { ...emptyMatch(), ...given };
}

/** A rule of one clause with these alternatives. */
export function rule(...alternatives: readonly Partial<Match>[]): Rule {
  return { clauses: [{ matches: alternatives.map(match) }] };
}

export function policy(
  action: Authorization['action'],
  rules: readonly Rule[],
  given: Partial<Authorization> = {},
): Authorization {
  const name = given.name ?? (action === 'ALLOW' ? 'allow-x' : 'deny-x');
  return { name, namespace: 'shop', scope: 'NAMESPACE', action, rules, dryRun: false, ...given };
}

export const web = 'spiffe://cluster.local/ns/shop/sa/web';

export function connection(given: Partial<PolicyConnection> = {}): PolicyConnection {
  return {
    sourceIdentity: web,
    sourceIp: '10.0.0.1',
    destinationIp: '10.0.0.2',
    destinationPort: 8080,
    ...given,
  };
}
