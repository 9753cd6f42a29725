/**
 * Which of the routes that are bound to a service are in force for a port and a client, whatever kinds they are of.
 *
 * A route of the service's own namespace (producer) is for all clients; one of another namespace (consumer) only for the
 * clients of that namespace, and where there is any, the producer's are not in force for them (Gateway API, GEP-1294).
 * Of what is left one kind is in force: GRPCRoute before HTTPRoute, TLSRoute, TCPRoute, these before VirtualService, and
 * that before TrafficSplit.
 */
import type { HttpParent } from './http-route.ts';
import type { AppProtocol } from './workload.ts';

export type RouteKind = (typeof precedence)[number] | 'TrafficSplit';

/** What of a route says where it is in force. */
export interface BoundRoute {
  readonly kind: RouteKind;
  readonly namespace: string;
  readonly parents: readonly HttpParent[];
  readonly clients?: readonly string[];
}

/** A port of a service, and who comes to it. */
export interface Visit {
  /** `namespace/hostname` */
  readonly service: string;
  readonly port: number;
  /** What the port is said to speak. */
  readonly protocol: AppProtocol;
  /** Namespace of the client. */
  readonly client: string;
}

const precedence = ['GRPCRoute', 'HTTPRoute', 'TLSRoute', 'TCPRoute', 'VirtualService'] as const;

/** All of one kind; empty where nothing is in force. */
export function routesInForce<Route extends BoundRoute>(
  bound: readonly Route[],
  visit: Visit,
): readonly Route[] {
  const { service, client } = visit;
  const here = bound.filter(
    ({ kind, parents, clients }) =>
      (clients?.includes(client) ?? true) &&
      parents.some(parent => parent.service === service && isAbout(kind, parent, visit)),
  );
  const producer = producerOf(service);
  const consumers = client === producer ? [] : here.filter(isOf(client));
  const group = consumers.length > 0 ? consumers : here.filter(isOf(producer));
  for (const first of precedence) {
    const ofKind = group.filter(({ kind }) => kind === first);
    if (ofKind.length > 0) return ofKind;
  }
  return group;
}

/**
 * Whether a route of a kind that is bound so is about a port: not where the port is said to speak what routes of that kind
 * know nothing of, unless it is the port that the route names.
 */
export function isAbout(
  kind: RouteKind,
  parent: Pick<HttpParent, 'port'>,
  { port, protocol }: Pick<Visit, 'port' | 'protocol'>,
): boolean {
  if (parent.port !== null && parent.port !== port) return false;
  const isHttp = protocol === 'HTTP11' || protocol === 'HTTP2' || protocol === 'GRPC';
  if (kind === 'VirtualService' || kind === 'TrafficSplit') return true;
  // Bytes of a port that is said to have others are never looked at as requests.
  if (kind === 'GRPCRoute' || kind === 'HTTPRoute') return protocol !== 'TCP' && protocol !== 'TLS';
  if (parent.port !== null) return true;
  return kind === 'TLSRoute' ? protocol === 'TLS' || protocol === 'UNKNOWN' : !isHttp;
}

/** Whether clients of a namespace have something in force that others have not, so that they need a table of their own. */
export function isSpecial(
  bound: readonly BoundRoute[],
  { service, client }: Pick<Visit, 'service' | 'client'>,
): boolean {
  if (bound.some(({ clients }) => clients !== undefined)) return true;
  return client !== producerOf(service) && bound.some(isOf(client));
}

function producerOf(service: string): string {
  return service.slice(0, service.indexOf('/'));
}

function isOf(namespace: string): (route: Pick<BoundRoute, 'namespace'>) => boolean {
  return route => route.namespace === namespace;
}
