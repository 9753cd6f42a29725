/**
 * What a waypoint knows about the connections to a service that it carries as they are: one model for every kind of route
 * of connections that people write.
 *
 * Translated from TCPRoute and TLSRoute by control/build-tcp-routes.ts, from VirtualService by build-virtual-connections.ts.
 * Plain JSON data, like routes of requests. Which of a service's routes are in force is tcp-routes.ts, which rule a
 * connection hits tcp-match.ts.
 */
import type { HttpBackend, HttpParent } from './http-route.ts';

export interface TcpRoute {
  readonly kind: 'TLSRoute' | 'TCPRoute' | 'VirtualService' | 'TrafficSplit';
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since the epoch; 0 where the object does not say: older than every one that does. */
  readonly createdAt: number;
  readonly parents: readonly HttpParent[];
  /** Namespaces of the clients it is for; left out: of all. */
  readonly clients?: readonly string[];
  readonly rules: readonly TcpRule[];
}

export interface TcpRule {
  /** What its author calls it, for people. */
  readonly name: string | null;
  /** Any of them. Without one nothing hits the rule: none of those it was written with is in force. */
  readonly matches: readonly TcpMatch[];
  readonly backends: readonly TcpBackend[];
}

/** All of its conditions. */
export interface TcpMatch {
  /**
   * Names, one of which a client of TLS asks for (SNI): `a.example.org`; `*.example.org`, for everything below; `*` for any,
   * and for none. Null: it is not about TLS, and no name is looked at.
   */
  readonly names: readonly string[] | null;
  /** Namespace of the client, port of the service that it dialled, and ranges of addresses, one of which it is of; left out: any. */
  readonly from?: string;
  readonly port?: number;
  readonly subnets?: readonly string[];
  /** Uids of workloads, one of which the client is; left out: any. */
  readonly workloads?: readonly string[];
}

/** As of requests, but nothing is changed on the way. Port 0: the one that the client dialled. */
export type TcpBackend = Omit<HttpBackend, 'filters'>;

/** The name a route has in changes: `kind/namespace/name`. */
export function tcpRouteKey({
  kind,
  namespace,
  name,
}: Pick<TcpRoute, 'kind' | 'namespace' | 'name'>): string {
  return `${kind}/${namespace}/${name}`;
}

/** How a rule is named to people: `TLSRoute shop/mail rule 1 (imap)`, counted from 1. */
export function tcpRuleName(route: TcpRoute, index: number): string {
  const own = route.rules[index]?.name ?? null;
  return `${route.kind} ${route.namespace}/${route.name} rule ${index + 1}${own === null ? '' : ` (${own})`}`;
}
