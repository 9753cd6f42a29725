/**
 * What the mesh knows about one workload: a pod, or an address outside the cluster that was given an identity.
 *
 * Field for field the shape of `istio.workload.Workload`, so that the workload xDS maps onto it and back. Plain JSON
 * data: it crosses to worker threads by structured clone. Every address is canonical (see address.ts).
 */
import { formatSpiffeId } from './identity.ts';

export type AppProtocol = 'UNKNOWN' | 'HTTP11' | 'HTTP2' | 'GRPC' | 'TCP' | 'TLS';

export interface PortMapping {
  readonly servicePort: number;
  readonly targetPort: number;
  readonly appProtocol: AppProtocol;
}

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** Where the waypoint of a service or workload is: by the name of its Service, or by an address of a network. */
export interface GatewayAddress {
  readonly destination:
    | { readonly kind: 'hostname'; readonly namespace: string; readonly hostname: string }
    | { readonly kind: 'address'; readonly network: string; readonly address: string };
  readonly hboneMtlsPort: number;
}

export interface Workload {
  /** `<cluster>//Pod/<namespace>/<name>` for a pod. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly trustDomain: string;
  /** Canonical IPs of `network`; one or two (dual stack). */
  readonly addresses: readonly string[];
  readonly hostname: string;
  readonly network: string;
  readonly node: string;
  readonly clusterId: string;
  readonly tunnelProtocol: 'NONE' | 'HBONE';
  /** HOST_NETWORK workloads share the node's IP, so they are never found by address. */
  readonly networkMode: 'STANDARD' | 'HOST_NETWORK';
  readonly status: 'HEALTHY' | 'UNHEALTHY';
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadName: string;
  readonly workloadType: 'deployment' | 'cronjob' | 'pod' | 'job';
  /** The services this workload is an endpoint of, by service key (`namespace/hostname`). */
  readonly services: Readonly<Record<string, readonly PortMapping[]>>;
  /** Keys (`namespace/name`) of the policies whose selector chose this workload. */
  readonly authorizationPolicies: readonly string[];
  readonly waypoint: GatewayAddress | null;
  readonly locality: Locality | null;
  /** Relative weight in load balancing; 0 is never picked. */
  readonly capacity: number;
}

/** The name a workload has in deltas and in xDS: its uid. */
export function workloadKey(workload: Workload): string {
  return workload.uid;
}

/** The uid of a pod, `<cluster>//Pod/<namespace>/<name>`. */
export function podUid(clusterId: string, namespace: string, name: string): string {
  return `${clusterId}//Pod/${namespace}/${name}`;
}

/**
 * The name by which a workload outside the cluster is dialled, for whoever dials to resolve; null for one with addresses,
 * and for pods, whose names say only what DNS shall call them.
 */
export function dialName(workload: Workload): string | null {
  const { uid, addresses, hostname } = workload;
  return addresses.length === 0 && hostname !== '' && !uid.includes('//Pod/') ? hostname : null;
}

/** The SPIFFE URI this workload proves, `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. */
export function workloadIdentity(workload: Workload): string {
  return formatSpiffeId(workload);
}

/** Whether a `matchLabels` selector chooses something with these labels; an empty selector chooses everything. */
export function selects(
  selector: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.keys(selector).every(key => labels[key] === selector[key]);
}
