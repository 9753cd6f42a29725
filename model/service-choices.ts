/**
 * Every endpoint that a client's connection to a Service may be given, each with its weight: for who chooses outside of
 * this process, which is the kernel (agent/kernel-path-services.ts).
 *
 * What is more than a draw by weight among endpoints with addresses has no choices, and is decided for each connection by
 * `resolve`: a waypoint, a Service that keeps its clients, one that is passed through, one that must be refused.
 */
import { canonicalIp, isIpv6 } from './address.ts';
import { fitEndpoints, type FitEndpoint } from './balance.ts';
import type { Mesh } from './mesh.ts';
import type { Service } from './service.ts';
import { isWaypoint } from './waypoint-place.ts';
import type { Workload } from './workload.ts';

export interface ServiceChoices {
  readonly service: Service;
  /** At least one. */
  readonly endpoints: readonly FitEndpoint[];
}

/** The Service that a client means by an address which is no workload's; null where it means none. */
export function serviceAt(mesh: Mesh, source: Workload, address: string): Service | null {
  if (mesh.workloadByAddress(source.network, address) !== null) return null;
  return mesh.serviceFor(source.network, address, source.namespace);
}

/** Null where it takes more than a draw; `resolve` gives the same ones with the same chances. */
export function serviceChoices(
  mesh: Mesh,
  source: Workload,
  { address, port }: { readonly address: string; readonly port: number },
): ServiceChoices | null {
  const service = serviceAt(mesh, source, address);
  if (service === null || service.sessionAffinityMs !== null) return null;
  if (service.waypoint !== null && !isWaypoint(mesh, source, service.waypoint)) return null;
  if (service.loadBalancing?.mode === 'PASSTHROUGH') return null;
  if (!service.ports.some(mapping => mapping.servicePort === port)) return null;
  const fit = fitEndpoints(mesh, service, port, { from: source, family: isIpv6(address) ? 6 : 4 });
  const nearest = Math.max(...fit.map(({ nearness }) => nearness));
  const endpoints = fit.filter(({ nearness }) => nearness === nearest);
  if (endpoints.length === 0 || endpoints.some(endpoint => canonicalIp(endpoint.address) === null))
    return null;
  return { service, endpoints };
}
