/**
 * What the mesh knows about one Service: its names, VIPs, ports and how its endpoints are chosen.
 *
 * Field for field the shape of `istio.workload.Service`. Which workloads are endpoints stands in the workloads
 * (`Workload.services`), so an endpoint that comes or goes changes one small object.
 */
import type { GatewayAddress, PortMapping } from './workload.ts';

export interface NetworkAddress {
  readonly network: string;
  readonly address: string;
}

export type RoutingScope = 'REGION' | 'ZONE' | 'SUBZONE' | 'NODE' | 'CLUSTER' | 'NETWORK';

export interface LoadBalancing {
  /** From the widest scope to the narrowest; an endpoint ranks by how many it shares with the client, in order. */
  readonly routingPreference: readonly RoutingScope[];
  /** STRICT: only endpoints that share every scope. FAILOVER: the best rank that has any. PASSTHROUGH: no choice. */
  readonly mode: 'UNSPECIFIED' | 'STRICT' | 'FAILOVER' | 'PASSTHROUGH';
  readonly healthPolicy: 'ONLY_HEALTHY' | 'ALLOW_ALL';
}

export interface Service {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  /** VIPs; empty for a headless service. */
  readonly addresses: readonly NetworkAddress[];
  readonly ports: readonly PortMapping[];
  /** Further SPIFFE URIs an endpoint may prove. */
  readonly subjectAltNames: readonly string[];
  readonly waypoint: GatewayAddress | null;
  readonly loadBalancing: LoadBalancing | null;
  readonly ipFamilies: 'AUTOMATIC' | 'IPV4_ONLY' | 'IPV6_ONLY' | 'DUAL';
  /** True for the object that owns the name where several claim it (the Kubernetes Service, not a ServiceEntry). */
  readonly canonical: boolean;
  /** NAMESPACE: only clients of the same namespace see it. */
  readonly visibility: 'PUBLIC' | 'NAMESPACE';
  /**
   * How long after its last connection a client comes back to the endpoint it had, in milliseconds; null: every
   * connection is balanced by itself. No field of `istio.workload.Service`: it travels as an extension of it.
   */
  readonly sessionAffinityMs: number | null;
}

/** The name a service has in deltas, in xDS and in `Workload.services`: `namespace/hostname`. */
export function serviceKey(service: Service): string {
  return `${service.namespace}/${service.hostname}`;
}
