/**
 * Who talked to whom, in the labels that mesh dashboards read. Agents and waypoints count under the same ones.
 */
import type { Service } from './service.ts';
import type { Workload } from './workload.ts';

type Labels = Readonly<Record<string, string>>;

/** `source` is the agent beside the client, `destination` the one beside the server. */
export type Reporter = 'source' | 'destination';

/** Why a connection failed, in the words of the existing dashboards. `-` is for the ones that did not. */
const responseFlags = [
  'DENY',
  'CONNECT',
  'TLS_FAILURE',
  'H2_HANDSHAKE_FAILURE',
  'NETWORK_POLICY',
  'IDENTITY_ERROR',
  'CERT_REVOKED',
] as const;
export type ResponseFlag = (typeof responseFlags)[number];

/** What tells one series from another. Workloads and services are compared as objects, so pass those of the Mesh. */
export interface TrafficPeers {
  readonly reporter: Reporter;
  readonly source: Workload | null;
  readonly destination: Workload | null;
  readonly service: Service | null;
  /** SPIFFE URIs, only where proven; null otherwise. */
  readonly sourceIdentity: string | null;
  readonly destinationIdentity: string | null;
  /** True only for a connection that a tunnel carried. */
  readonly mutualTls: boolean;
}

/** The labels of a series; whatever isn't known is `unknown`, as dashboards expect. */
export function trafficLabels(peers: TrafficPeers, flag: ResponseFlag | '-'): Labels {
  const { source, destination, service } = peers;
  const labels: Record<string, string> = {
    reporter: peers.reporter,
    ...endLabels('source', source, peers.sourceIdentity),
    destination_service: service?.hostname ?? unknown,
    destination_service_namespace: service?.namespace ?? unknown,
    destination_service_name: service?.name ?? unknown,
    ...endLabels('destination', destination, peers.destinationIdentity),
    request_protocol: 'tcp',
    response_flags: flag,
    connection_security_policy: peers.mutualTls ? 'mutual_tls' : unknown,
  };
  const here = source?.locality ?? null;
  const there = destination?.locality ?? null;
  if (here === null && there === null) return labels;
  labels.source_region = text(here?.region);
  labels.source_zone = text(here?.zone);
  labels.destination_region = text(there?.region);
  labels.destination_zone = text(there?.zone);
  return labels;
}

const unknown = 'unknown';

function text(value: string | null | undefined): string {
  return value === null || value === undefined || value === '' ? unknown : value;
}

function endLabels(
  end: 'source' | 'destination',
  workload: Workload | null,
  identity: string | null,
): Labels {
  return {
    [`${end}_workload`]: text(workload?.workloadName),
    [`${end}_canonical_service`]: text(workload?.canonicalName),
    [`${end}_canonical_revision`]: text(workload?.canonicalRevision),
    [`${end}_workload_namespace`]: text(workload?.namespace),
    [`${end}_principal`]: text(identity),
    [`${end}_app`]: text(workload?.canonicalName),
    [`${end}_version`]: text(workload?.canonicalRevision),
    [`${end}_cluster`]: text(workload?.clusterId),
  };
}
