/** What connections to a port of a service are to its waypoint, before anything is known of them: for `culvert explain`. */
import { canonicalIp } from '../model/address.ts';
import { HttpRoutes } from '../model/http-routes.ts';
import { serviceKey, type Service } from '../model/service.ts';
import { TcpRoutes, type TcpPlan } from '../model/tcp-routes.ts';
import type { AppProtocol } from '../model/workload.ts';
import type { KnownMesh } from './known-mesh.ts';

/** Null where no route of connections is in force for the clients of a namespace. */
export function planAt(known: KnownMesh, service: Service, port: number, client: string): TcpPlan | null {
  return service.waypoint === null ? null : writtenAt(known, service, port, client);
}

/** The same, whether there is a waypoint that would follow it or not. */
export function writtenAt({ l7 }: KnownMesh, service: Service, port: number, client: string): TcpPlan | null {
  const requests = new HttpRoutes();
  requests.replace(l7.routes);
  const connections = new TcpRoutes(requests);
  connections.replace(l7.tcpRoutes);
  return connections.planFor({
    service: serviceKey(service),
    port,
    protocol: protocolAt(service, port),
    client,
  });
}

/** Why no requests are read there; null where they are. */
export function unreadAt(known: KnownMesh, service: Service, port: number, client: string): string | null {
  if (service.waypoint === null) return null;
  const plan = planAt(known, service, port, client);
  const protocol = protocolAt(service, port);
  if (plan?.kind === 'names') return `a TLSRoute is in force at port ${port}`;
  if (plan?.kind === 'bytes') return `a TCPRoute is in force at port ${port}`;
  const isBytes = protocol === 'TCP' || protocol === 'TLS';
  return isBytes ? `port ${port} is said to speak ${protocol}` : null;
}

export function protocolAt({ ports }: Service, port: number): AppProtocol {
  return ports.find(({ servicePort }) => servicePort === port)?.appProtocol ?? 'UNKNOWN';
}

export function speaksHttp(protocol: AppProtocol): boolean {
  return protocol === 'HTTP11' || protocol === 'HTTP2' || protocol === 'GRPC';
}

/** The client, by its address; null where nothing of the mesh has it. */
export function workloadAt({ mesh }: KnownMesh, text: string): string | null {
  const address = canonicalIp(text);
  return mesh.workloads.find(({ addresses }) => addresses.some(ip => ip === address))?.uid ?? null;
}
