/**
 * What must be known before a connection can be routed, for agents that do not know the whole mesh: the names to ask the
 * control plane for. Pure, called by the outbound path before `resolve`.
 *
 * A service is in the mesh only after all its endpoints (control/keyed-feed.ts tells them first), so what is there is whole.
 */
import { isLoopback } from './address.ts';
import type { Mesh } from './mesh.ts';
import type { GatewayAddress, Workload } from './workload.ts';

export type NeedsMesh = Pick<Mesh, 'workloadByAddress' | 'servicesByAddress' | 'service'>;

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
  return found.flatMap(({ waypoint }) => (waypoint === null ? [] : waypointNeeds(mesh, waypoint)));
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
