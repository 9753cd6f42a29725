/**
 * The endpoint for one request or connection, and the way to it: a tunnel to a pod of the mesh, plain TCP to others.
 */
import { CulvertError } from '../base/errors.ts';
import { formatHostPort, isIpv6 } from '../model/address.ts';
import { pickEndpoint, type EndpointSet } from '../model/balance.ts';
import { expectedIdentities } from '../model/route.ts';
import { serviceKey, type Service } from '../model/service.ts';
import type { AppProtocol, Workload } from '../model/workload.ts';
import type { Destination, WaypointContext } from './context.ts';

export interface Way {
  readonly workload: Workload;
  readonly address: string;
  readonly port: number;
  readonly service: Service | null;
  /** What the port of the service is said to speak. */
  readonly protocol: AppProtocol;
  /** SPIFFE IDs, one of which the peer must prove; null: no tunnel leads there. */
  readonly identities: readonly string[] | null;
  /** One connection pool for each. */
  readonly key: string;
}

/** Throws NO_HEALTHY_ENDPOINT or UNKNOWN_PORT, whose message says why there is none. */
export function pickWay(context: WaypointContext, destination: Destination, exclude: EndpointSet): Way {
  if (destination.kind === 'workload') {
    const { workload, address, port } = destination;
    return wayTo(workload, address, port, null, 'UNKNOWN');
  }
  const { service, port } = destination;
  const mapping = service.ports.find(({ servicePort }) => servicePort === port);
  if (mapping === undefined)
    throw new CulvertError('UNKNOWN_PORT', `service ${serviceKey(service)} has no port ${port}`, {
      side: 'client',
    });
  const endpoint = pickEndpoint(context.mesh, service, port, {
    from: context.self,
    random: Math.random,
    exclude,
    avoid: context.health,
    family: isIpv6(destination.address) ? 6 : 4,
  });
  if (endpoint === null) {
    throw new CulvertError(
      'NO_HEALTHY_ENDPOINT',
      `service ${serviceKey(service)} has no fit endpoint for port ${port}`,
      { side: 'server' },
    );
  }
  return wayTo(endpoint.workload, endpoint.address, endpoint.targetPort, service, mapping.appProtocol);
}

function wayTo(
  workload: Workload,
  address: string,
  port: number,
  service: Service | null,
  protocol: AppProtocol,
): Way {
  const identities = workload.tunnelProtocol === 'HBONE' ? expectedIdentities(workload, service) : null;
  const at = formatHostPort(address, port);
  return {
    workload,
    address,
    port,
    service,
    protocol,
    identities,
    key: `${at} ${identities?.join() ?? 'plain'}`,
  };
}
