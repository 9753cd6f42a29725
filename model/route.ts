/**
 * Decides where an outbound connection goes: to a pod on this node, through a tunnel, to a waypoint, plain, or nowhere.
 *
 * Pure resolution of the captured destination, called by the outbound path once per attempt; after a dial that failed it
 * is asked again with that endpoint in `exclude`. Nothing here falls back from a tunnel to plain text.
 */
import { canonicalIp, formatHostPort, isIpv6, isLoopback } from './address.ts';
import type { Kept } from './affinity.ts';
import { pickEndpoint } from './balance.ts';
import type { ChosenEndpoint, Endpoint, EndpointSet } from './balance.ts';
import type { Mesh } from './mesh.ts';
import { serviceKey } from './service.ts';
import type { Service } from './service.ts';
import {
  expectedIdentities,
  isWaypoint,
  waypointName,
  waypointPod,
  waypointService,
} from './waypoint-place.ts';
import type { GatewayAddress, Workload } from './workload.ts';

export interface RouteRequest {
  /** The workload that connects. */
  readonly source: Workload;
  /** Where it wanted to connect to. */
  readonly destination: { readonly address: string; readonly port: number };
  readonly localNode: string;
  /** Whether this agent has enrolled the workload, by uid. */
  readonly isLocal: (uid: string) => boolean;
  /** Where pods listen for tunnels. */
  readonly hbonePort: number;
  /** Every port the agent itself listens on inside pods; applications are never reached through them. */
  readonly agentPorts: { has(port: number): boolean };
  readonly random: () => number;
  /** Endpoints this connection has tried, by uid. */
  readonly exclude: EndpointSet;
  /** Endpoints that failed others lately: taken only when a service has no better one. */
  readonly avoid?: EndpointSet;
  /** The endpoint of the service that was chosen before, in the kernel: it is taken if it is as good as any. */
  readonly chosen?: ChosenEndpoint;
  /** What is remembered of the client for a service that keeps clients; nothing is without. */
  readonly kept?: (service: string, timeoutMs: number) => Kept;
}

/** `service` is the one that was addressed, null when a workload was addressed by its own IP. */
export type Route =
  | {
      /** Enrolled on this node: dialled from its own namespace, without a tunnel. */
      readonly kind: 'local';
      readonly workload: Workload;
      readonly address: string;
      readonly port: number;
      readonly service: Service | null;
    }
  | {
      /** A tunnel to `address`:`hbonePort`, CONNECT to `authority`, for the application at `port`. */
      readonly kind: 'hbone';
      readonly workload: Workload;
      readonly address: string;
      readonly port: number;
      readonly hbonePort: number;
      /** SPIFFE URIs, one of which the peer must prove. */
      readonly expectedIdentities: readonly string[];
      readonly authority: string;
      readonly service: Service | null;
    }
  | {
      /** A tunnel to a waypoint's pod, whose authority is the destination as it was asked for. */
      readonly kind: 'waypoint';
      /** The waypoint. */
      readonly workload: Workload;
      readonly address: string;
      readonly hbonePort: number;
      readonly expectedIdentities: readonly string[];
      readonly authority: string;
      readonly service: Service | null;
      /** The workload that was addressed, null when it was a service. */
      readonly destination: Workload | null;
    }
  | {
      /** Outside the mesh, or a workload of it that is not enrolled. */
      readonly kind: 'plain';
      readonly address: string;
      readonly port: number;
      readonly workload: Workload | null;
      readonly service: Service | null;
    }
  | { readonly kind: 'refuse'; readonly code: RefuseCode; readonly reason: string };

export type RefuseCode =
  | 'SELF_CALL'
  | 'UNKNOWN_PORT'
  | 'NO_HEALTHY_ENDPOINT'
  | 'UNKNOWN_WAYPOINT'
  | 'INVALID_ADDRESS';

/** The way for one connection. A workload's IP is looked up before a service's VIP; what is unknown goes out plain. */
export function resolve(mesh: Mesh, request: RouteRequest): Route {
  const { source, agentPorts } = request;
  const { port } = request.destination;
  const address = canonicalIp(request.destination.address);
  if (address === null)
    return refuse('INVALID_ADDRESS', `"${request.destination.address}" is not an IP address`);
  if (agentPorts.has(port) && (isLoopback(address) || source.addresses.includes(address))) {
    return refuse('SELF_CALL', `port ${port} of the client's own pod belongs to the mesh`);
  }
  const workload = mesh.workloadByAddress(source.network, address);
  if (workload !== null) return toWorkload(mesh, request, workload, address);
  const service = mesh.serviceFor(source.network, address, source.namespace);
  if (service !== null) return toService(mesh, request, service, address);
  return { kind: 'plain', address, port, workload: null, service: null };
}

/** A workload addressed by its own IP is dialled healthy or not, there is no other that could stand in. */
function toWorkload(mesh: Mesh, request: RouteRequest, workload: Workload, address: string): Route {
  const { port } = request.destination;
  if (request.exclude.has(workload.uid)) {
    return refuse(
      'NO_HEALTHY_ENDPOINT',
      `${workload.uid} was addressed by its own IP and could not be dialled`,
    );
  }
  if (workload.waypoint !== null && !isWaypoint(mesh, request.source, workload.waypoint)) {
    return toWaypoint(mesh, request, workload.waypoint, { address, port, service: null, workload });
  }
  return toEndpoint(request, { workload, address, port, service: null });
}

function toService(mesh: Mesh, request: RouteRequest, service: Service, vip: string): Route {
  const { source } = request;
  const { port } = request.destination;
  if (service.waypoint !== null && !isWaypoint(mesh, source, service.waypoint)) {
    return toWaypoint(mesh, request, service.waypoint, { address: vip, port, service, workload: null });
  }
  if (service.loadBalancing?.mode === 'PASSTHROUGH') {
    return { kind: 'plain', address: vip, port, workload: null, service };
  }
  const key = serviceKey(service);
  if (!service.ports.some(mapping => mapping.servicePort === port)) {
    return refuse('UNKNOWN_PORT', `service ${key} has no port ${port}`);
  }
  const { chosen } = request;
  const options = pickOptions(request, vip);
  const endpoint = pickEndpoint(mesh, service, port, chosen === undefined ? options : { ...options, chosen });
  if (endpoint === null) return refuse('NO_HEALTHY_ENDPOINT', noEndpoint(mesh, key, port));
  const { workload, address, targetPort } = endpoint;
  // The pod admits nobody else: as if it had been dialled by its own address.
  if (service.waypoint === null && workload.waypoint !== null && !isWaypoint(mesh, source, workload.waypoint))
    return toWaypoint(mesh, request, workload.waypoint, { address, port: targetPort, service, workload });
  return toEndpoint(request, { workload, address, port: targetPort, service });
}

interface Chosen {
  readonly workload: Workload;
  readonly address: string;
  readonly port: number;
  readonly service: Service | null;
}

function toEndpoint(request: RouteRequest, chosen: Chosen): Route {
  const { workload, address, port, service } = chosen;
  if (workload.tunnelProtocol === 'NONE') return { kind: 'plain', address, port, workload, service };
  if (request.agentPorts.has(port)) {
    return refuse('SELF_CALL', `port ${port} of ${workload.uid} belongs to the mesh`);
  }
  // An enrolment outlives for a moment a pod that was created anew elsewhere under its name: the node must agree.
  if (workload.node === request.localNode && request.isLocal(workload.uid)) {
    return { kind: 'local', workload, address, port, service };
  }
  return {
    kind: 'hbone',
    workload,
    address,
    port,
    hbonePort: request.hbonePort,
    expectedIdentities: expectedIdentities(workload, service),
    authority: formatHostPort(address, port),
    service,
  };
}

interface Asked {
  readonly address: string;
  readonly port: number;
  readonly service: Service | null;
  readonly workload: Workload | null;
}

function toWaypoint(mesh: Mesh, request: RouteRequest, gateway: GatewayAddress, asked: Asked): Route {
  const { hboneMtlsPort: port } = gateway;
  const name = waypointName(gateway);
  const pod = waypointPod(mesh, gateway);
  const service = pod === null ? waypointService(mesh, gateway, request.source.namespace) : null;
  if (pod === null && service === null) return refuse('UNKNOWN_WAYPOINT', `waypoint ${name} is not known`);

  let endpoint: Endpoint | null = null;
  if (service !== null) endpoint = pickEndpoint(mesh, service, port, pickOptions(request, asked.address));
  else if (pod !== null) endpoint = { workload: pod, address: name, targetPort: port };
  if (endpoint === null || request.exclude.has(endpoint.workload.uid)) {
    return refuse('NO_HEALTHY_ENDPOINT', `waypoint ${name} has no healthy pod for port ${port}`);
  }
  return {
    kind: 'waypoint',
    workload: endpoint.workload,
    address: endpoint.address,
    hbonePort: endpoint.targetPort,
    expectedIdentities: expectedIdentities(endpoint.workload, service),
    authority: formatHostPort(asked.address, asked.port),
    service: asked.service,
    destination: asked.workload,
  };
}

function pickOptions(request: RouteRequest, address: string) {
  const { source, random, exclude, avoid, kept } = request;
  const family = isIpv6(address) ? 6 : 4;
  return {
    from: source,
    random,
    exclude,
    family,
    ...(avoid === undefined ? {} : { avoid }),
    ...(kept === undefined ? {} : { kept }),
  } as const;
}

function noEndpoint(mesh: Mesh, key: string, port: number): string {
  const all = mesh.endpoints(key).length;
  return all === 0
    ? `service ${key} has no endpoints`
    : `none of the ${all} endpoints of service ${key} is fit for port ${port}`;
}

function refuse(code: RefuseCode, reason: string): Route {
  return { kind: 'refuse', code, reason };
}
