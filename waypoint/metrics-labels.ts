/** The labels of one request's metrics, as mesh dashboards read them. */
import type { Labels } from '../base/series.ts';
import { trafficLabels } from '../model/traffic-labels.ts';
import type { PassageRecord, RequestRecord } from './access-log.ts';

/** Everything that the labels are made of, in one text. */
export function keyOf(record: RequestRecord): string {
  const { client, destination, way, status, grpcStatus, version, error } = record;
  const service = destination.kind === 'service' ? destination.service.hostname : '';
  return `${client.identity} ${client.workload?.uid ?? ''} ${service} ${way?.service?.hostname ?? ''} ${way?.workload.workloadName ?? ''} ${way?.workload.canonicalRevision ?? ''} ${way?.workload.namespace ?? ''} ${status} ${grpcStatus ?? ''} ${version} ${error?.code ?? ''}`;
}

export function requestLabels(record: RequestRecord): Labels {
  const { status, grpcStatus, error } = record;
  return {
    ...peersOf(record),
    reporter: 'waypoint',
    request_protocol: grpcStatus === null ? 'http' : 'grpc',
    response_code: String(status),
    grpc_response_status: grpcStatus ?? '',
    response_flags: flagOf(error?.code ?? null),
  };
}

export function connectionLabels(record: Omit<PassageRecord, 'up' | 'down' | 'ms' | 'decision'>): Labels {
  return { ...peersOf(record), reporter: 'waypoint', response_flags: flagOf(record.error?.code ?? null) };
}

function peersOf({
  client,
  destination,
  way,
}: Pick<PassageRecord, 'client' | 'destination' | 'way'>): Labels {
  return trafficLabels(
    {
      reporter: 'destination',
      source: client.workload,
      destination: way?.workload ?? (destination.kind === 'workload' ? destination.workload : null),
      service: way?.service ?? (destination.kind === 'service' ? destination.service : null),
      sourceIdentity: client.identity,
      destinationIdentity: way?.identities?.[0] ?? null,
      mutualTls: true,
    },
    '-',
  );
}

/** The words that dashboards know from Envoy's access logs. */
export function flagOf(code: string | null): string {
  if (code === null) return '-';
  const known: Readonly<Record<string, string>> = {
    NO_ROUTE: 'NR',
    NO_HEALTHY_ENDPOINT: 'UH',
    BACKEND_TIMEOUT: 'UT',
    REQUEST_TIMEOUT: 'UT',
    CLIENT_GONE: 'DC',
    UPSTREAM_FAILED: 'UC',
    UPSTREAM_RESET: 'UR',
    NO_BACKEND: 'NC',
    POLICY_DENIED: 'UAEX',
    TOKEN_INVALID: 'UAEX',
    KEYS_UNAVAILABLE: 'UAEX',
    AUTHORIZER_DENIED: 'UAEX',
    AUTHORIZER_UNAVAILABLE: 'UAEX',
    INVALID_BACKEND: 'NC',
    UNKNOWN_SUBSET: 'NC',
    TRAFFIC_REFUSED: 'NC',
    UPSTREAM_OVERFLOW: 'UO',
    RATE_LIMITED: 'RL',
    RATE_LIMIT_UNAVAILABLE: 'RLSE',
    FAULT_INJECTED: 'FI',
    STREAM_IDLE: 'SI',
    CLIENT_HELLO_INVALID: 'DPE',
    CLIENT_HELLO_TIMEOUT: 'DPE',
  };
  return known[code] ?? 'UF';
}
