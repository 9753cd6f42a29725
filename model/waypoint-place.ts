/** Where a waypoint is and who it is, as a workload or service names it: by the name of its Service, or by an address. */
import { parseSpiffeId } from './identity.ts';
import type { Mesh } from './mesh.ts';
import { serviceKey, type Service } from './service.ts';
import { workloadIdentity, type GatewayAddress, type Workload } from './workload.ts';

export type PlacesMesh = Pick<Mesh, 'service' | 'serviceFor' | 'workloadByAddress' | 'endpoints'>;

/** For people: the key of its Service, or its address. */
export function waypointName({ destination }: GatewayAddress): string {
  return destination.kind === 'hostname'
    ? `${destination.namespace}/${destination.hostname}`
    : destination.address;
}

/** The pod whose address is named, null where it is a Service that is. */
export function waypointPod(
  mesh: Pick<PlacesMesh, 'workloadByAddress'>,
  { destination }: GatewayAddress,
): Workload | null {
  return destination.kind === 'hostname'
    ? null
    : mesh.workloadByAddress(destination.network, destination.address);
}

/** The Service that is named; null when it is not known. */
export function waypointService(
  mesh: Pick<PlacesMesh, 'service' | 'serviceFor'>,
  { destination }: GatewayAddress,
  namespace: string,
): Service | null {
  return destination.kind === 'hostname'
    ? mesh.service(`${destination.namespace}/${destination.hostname}`)
    : mesh.serviceFor(destination.network, destination.address, namespace);
}

/** Whether the client is this waypoint: what leaves it has passed it and goes on to the destination itself. */
export function isWaypoint(mesh: PlacesMesh, source: Workload, gateway: GatewayAddress): boolean {
  const { destination } = gateway;
  if (destination.kind === 'address' && destination.network === source.network) {
    if (source.addresses.includes(destination.address)) return true;
  }
  const service = waypointService(mesh, gateway, source.namespace);
  return service !== null && Object.hasOwn(source.services, serviceKey(service));
}

/** SPIFFE URIs that its pods prove; none while it has no pod. */
export function waypointIdentities(
  mesh: PlacesMesh,
  gateway: GatewayAddress,
  namespace: string,
): readonly string[] {
  const pod = waypointPod(mesh, gateway);
  if (pod !== null) return [workloadIdentity(pod)];
  const service = waypointService(mesh, gateway, namespace);
  if (service === null) return [];
  return mesh.endpoints(serviceKey(service)).flatMap(workload => expectedIdentities(workload, service));
}

/** SPIFFE URIs of which an endpoint must prove one: its own, and those that its service names. */
export function expectedIdentities(workload: Workload, service: Service | null): readonly string[] {
  const own = workloadIdentity(workload);
  if (service === null || service.subjectAltNames.length === 0) return [own];
  return [own, ...service.subjectAltNames.filter(name => name !== own && parseSpiffeId(name) !== null)];
}
