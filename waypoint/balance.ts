/**
 * The endpoint for one try of a request, or for a connection, and the way to it: a tunnel to a pod of the mesh, plain TCP
 * to others.
 */
import { CulvertError } from '../base/errors.ts';
import { formatHostPort } from '../model/address.ts';
import type { EndpointSet } from '../model/balance.ts';
import type { HttpHead } from '../model/http-head.ts';
import { serviceKey, type Service } from '../model/service.ts';
import { expectedIdentities } from '../model/waypoint-place.ts';
import type { AppProtocol, Workload } from '../model/workload.ts';
import type { Client, Destination, WaypointContext } from './context.ts';
import { hashOf, type Hash } from './hash-key.ts';
import type { UsableTls } from './endpoint-tls.ts';
import type { Upstream } from './upstream.ts';

export interface Way {
  readonly workload: Workload;
  readonly address: string;
  readonly port: number;
  readonly service: Service | null;
  /** What the port of the service is said to speak. */
  readonly protocol: AppProtocol;
  /** SPIFFE IDs, one of which the peer must prove; null: no tunnel leads there. */
  readonly identities: readonly string[] | null;
  /** How the endpoints of the service are treated; null for a workload that is addressed by itself. */
  readonly upstream: Upstream | null;
  /** TLS with the endpoint, inside the tunnel where there is one; null: none. */
  readonly tls: UsableTls | null;
  /** One connection pool for each. */
  readonly key: string;
}

/** For whom, and what may not be chosen. */
export interface Asker {
  /** Null: the waypoint itself. */
  readonly client: Client | null;
  /** Null for a connection that is carried as it is. */
  readonly head: HttpHead | null;
  readonly exclude: EndpointSet;
  /** Uid of the endpoint of a session; null: none. */
  readonly session: string | null;
  /** Endpoints of its locality come last; null: any. */
  readonly elsewhere: Workload | null;
}

/** A request of the waypoint itself. */
export const ourselves: Asker = {
  client: null,
  head: null,
  exclude: new Set(),
  session: null,
  elsewhere: null,
};

export interface Picked {
  readonly way: Way;
  /** A cookie for the client, by which it comes here again; null: none. */
  readonly cookie: string | null;
}

/**
 * Throws NO_HEALTHY_ENDPOINT, UNKNOWN_PORT, UNKNOWN_SUBSET, TRAFFIC_REFUSED, TLS_UNAVAILABLE or L7_UNREADABLE, whose message
 * says why there is none.
 */
export function pickWay(context: WaypointContext, destination: Destination, asker: Asker): Picked {
  const barred = context.barred.why(destination);
  if (barred !== null) throw new CulvertError('L7_UNREADABLE', barred, { side: 'us' });
  if (destination.kind === 'workload') {
    const { workload, address, port } = destination;
    return { way: wayTo(workload, address, port, null, 'UNKNOWN', null, null), cookie: null };
  }
  const { service, port } = destination;
  const mapping = service.ports.find(({ servicePort }) => servicePort === port);
  if (mapping === undefined)
    throw new CulvertError('UNKNOWN_PORT', `service ${serviceKey(service)} has no port ${port}`, {
      side: 'client',
    });
  const upstream = context.upstreams.for(
    destination,
    asker.client?.namespace ?? context.self?.namespace ?? '',
  );
  const { balancing, tls } = upstream.policy;
  const usable = tls === undefined ? null : context.tls.use(tls);
  const hash: Hash | null =
    balancing.type === 'hash' ? hashOf(balancing.key, asker.client, asker.head) : null;
  const endpoint = upstream.pick(service, context.self, {
    exclude: asker.exclude,
    avoid: context.health,
    hash: hash?.value ?? null,
    session: asker.session,
    elsewhere: asker.elsewhere,
  });
  if (endpoint === null) {
    const { endpoints, ejected } = upstream.count();
    const why = ejected > 0 ? `: ${ejected} of ${endpoints} are left out for their errors` : '';
    throw new CulvertError(
      'NO_HEALTHY_ENDPOINT',
      `service ${serviceKey(service)} has no fit endpoint for port ${port}${why}`,
      { side: 'server' },
    );
  }
  const { workload, address, targetPort } = endpoint;
  const way = wayTo(workload, address, targetPort, service, mapping.appProtocol, upstream, usable);
  return { way, cookie: hash?.cookie ?? null };
}

function wayTo(
  workload: Workload,
  address: string,
  port: number,
  service: Service | null,
  protocol: AppProtocol,
  upstream: Upstream | null,
  tls: UsableTls | null,
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
    upstream,
    tls,
    key: `${at} ${identities?.join() ?? 'plain'}${tls === null ? '' : ` ${tls.key}`}${upstream?.connectionsKey ?? ''}`,
  };
}
