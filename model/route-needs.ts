/**
 * What must be known before a connection can be routed, for agents that do not know the whole mesh: the names to ask the
 * control plane for. Pure, called by the outbound path before `resolve`.
 *
 * A service is in the mesh only after all its endpoints (control/keyed-feed.ts tells them first), so what is there is whole.
 */
import { isLoopback } from './address.ts';
import { waypointsOf } from './admission.ts';
import type { Mesh } from './mesh.ts';
import { serviceKey, type Service } from './service.ts';
import type { GatewayAddress, Workload } from './workload.ts';

export type NeedsMesh = Pick<Mesh, 'workloadByAddress' | 'servicesByAddress' | 'service' | 'endpoints'>;

/**
 * Names of which nothing is known yet, `<network>/<ip>` or `namespace/hostname`; none when `resolve` can be asked. What it
 * says of the first ones may lead to more: a waypoint.
 * @param address canonical
 */
export function routeNeeds(mesh: NeedsMesh, source: Workload, address: string): readonly string[] {
  if (isLoopback(address) || source.addresses.includes(address)) return [];
  const { network } = source;
  const workload = mesh.workloadByAddress(network, address);
  const found = workload === null ? mesh.servicesByAddress(network, address) : [workload];
  if (found.length === 0) return [addressName(network, address)];
  const needs = found.flatMap(item => ('uid' in item ? waypointsTo(item) : waypointsOfService(mesh, item)));
  return [...new Set(needs.flatMap(waypoint => waypointNeeds(mesh, waypoint)))];
}

/**
 * Names of which nothing is known yet, and without which nobody can say who may connect to a workload of this node: its
 * services, whose waypoints may, and then these.
 */
export function admissionNeeds(mesh: NeedsMesh, workload: Workload): readonly string[] {
  if (workload.waypoint === null) return [];
  const services = Object.keys(workload.services).filter(key => mesh.service(key) === null);
  return [...services, ...waypointsOf(mesh, workload).flatMap(waypoint => waypointNeeds(mesh, waypoint))];
}

function waypointsTo({ waypoint }: Workload): GatewayAddress[] {
  return waypoint === null ? [] : [waypoint];
}

/** Its own; where it has none, those of its endpoints. */
function waypointsOfService(mesh: NeedsMesh, service: Service): GatewayAddress[] {
  return service.waypoint === null
    ? mesh.endpoints(serviceKey(service)).flatMap(waypointsTo)
    : [service.waypoint];
}

/** The name by which whatever has an address of a network is asked for. */
export function addressName(network: string, address: string): string {
  return `${network}/${address}`;
}

function waypointNeeds(mesh: NeedsMesh, { destination }: GatewayAddress): readonly string[] {
  if (destination.kind === 'hostname') {
    const key = `${destination.namespace}/${destination.hostname}`;
    return mesh.service(key) === null ? [key] : [];
  }
  const { network, address } = destination;
  const isKnown =
    mesh.workloadByAddress(network, address) !== null || mesh.servicesByAddress(network, address).length > 0;
  return isKnown ? [] : [addressName(network, address)];
}
