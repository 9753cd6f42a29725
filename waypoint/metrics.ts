/**
 * What a waypoint counts: requests under the labels that mesh dashboards read (`istio_requests_total`, durations), and how
 * the waypoint itself fares. Rows are found by one text per kind of request, and are bounded: what is beyond shares one.
 */
import type { Registry } from 'prom-client';
import { register, type Sample } from '../base/metrics-family.ts';
import type { Labels } from '../base/series.ts';
import { trafficLabels } from '../model/traffic-labels.ts';
import type { RequestRecord } from './access-log.ts';

/** Upper bounds in milliseconds, as those dashboards know them. */
const bounds = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000,
  1_800_000, 3_600_000,
];
const maxRows = 5_000;
/** A row that nothing was counted on for this long is forgotten. */
const expireMs = 600_000;

interface Row {
  readonly labels: Labels;
  count: number;
  sumMs: number;
  /** Not cumulative; the last one is above all bounds. */
  readonly buckets: Float64Array;
  usedAt: number;
}

export class RequestMetrics {
  readonly #rows = new Map<string, Row>();
  readonly #refused = new Map<string, number>();
  readonly #mirrored = new Map<string, number>();
  #retries = 0;

  request(record: RequestRecord): void {
    const key = keyOf(record);
    let row = this.#rows.get(key);
    if (row === undefined) row = this.#add(key, labelsOf(record));
    row.count += 1;
    row.sumMs += record.ms;
    row.usedAt = Date.now();
    let at = bounds.findIndex(bound => record.ms <= bound);
    if (at < 0) at = bounds.length;
    row.buckets[at] = (row.buckets[at] ?? 0) + 1;
  }

  retried(): void {
    this.#retries += 1;
  }

  mirrored(result: string): void {
    this.#mirrored.set(result, (this.#mirrored.get(result) ?? 0) + 1);
  }

  /** A tunnel, connection or request that was not taken. */
  refused(code: string): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
  }

  register(registry: Registry): void {
    register(registry, {
      name: 'istio_requests_total',
      help: 'Requests, by who sent them where and what came of it.',
      type: 'counter',
      samples: () => this.#live().map(({ labels, count }) => ({ labels, value: count })),
    });
    register(registry, {
      name: 'istio_request_duration_milliseconds',
      help: 'From the head of a request to the end of its response.',
      type: 'histogram',
      samples: () => this.#live().flatMap(histogram),
    });
    const counter = (name: string, help: string, samples: () => readonly Sample[]): void =>
      register(registry, { name, help, type: 'counter', samples });
    counter('culvert_waypoint_refused_total', 'What was not taken, by code.', () =>
      byLabel('code', this.#refused),
    );
    counter('culvert_waypoint_mirrored_total', 'Copies for mirrors, by what came of them.', () =>
      byLabel('result', this.#mirrored),
    );
    counter('culvert_waypoint_retries_total', 'Tries after the first.', () => [
      { labels: {}, value: this.#retries },
    ]);
  }

  #add(key: string, labels: Labels): Row {
    if (this.#rows.size >= maxRows) {
      const overflow = this.#rows.get('overflow');
      if (overflow !== undefined) return overflow;
      return this.#make('overflow', Object.fromEntries(Object.keys(labels).map(name => [name, 'overflow'])));
    }
    return this.#make(key, labels);
  }

  #make(key: string, labels: Labels): Row {
    const row: Row = { labels, count: 0, sumMs: 0, buckets: new Float64Array(bounds.length + 1), usedAt: 0 };
    this.#rows.set(key, row);
    return row;
  }

  #live(): Row[] {
    const oldest = Date.now() - expireMs;
    for (const [key, { usedAt }] of this.#rows) if (usedAt < oldest) this.#rows.delete(key);
    return [...this.#rows.values()];
  }
}

/** Everything that the labels are made of, in one text. */
function keyOf({ client, destination, way, status, grpcStatus, version, error }: RequestRecord): string {
  const service = destination.kind === 'service' ? destination.service.hostname : '';
  return `${client.identity} ${client.workload?.uid ?? ''} ${service} ${way?.service?.hostname ?? ''} ${way?.workload.workloadName ?? ''} ${way?.workload.canonicalRevision ?? ''} ${way?.workload.namespace ?? ''} ${status} ${grpcStatus ?? ''} ${version} ${error?.code ?? ''}`;
}

function labelsOf(record: RequestRecord): Labels {
  const { client, destination, way, status, grpcStatus, error } = record;
  const labels = trafficLabels(
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
  return {
    ...labels,
    reporter: 'waypoint',
    request_protocol: grpcStatus === null ? 'http' : 'grpc',
    response_code: String(status),
    grpc_response_status: grpcStatus ?? '',
    response_flags: flagOf(error?.code ?? null),
  };
}

/** The words that dashboards know from Envoy's access logs. */
function flagOf(code: string | null): string {
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
    INVALID_BACKEND: 'NC',
  };
  return known[code] ?? 'UF';
}

function histogram({ labels, count, sumMs, buckets }: Row): Sample[] {
  const name = 'istio_request_duration_milliseconds';
  let sum = 0;
  const samples: Sample[] = bounds.map((bound, at) => {
    sum += buckets[at] ?? 0;
    return { labels, value: sum, name: `${name}_bucket`, extra: { le: String(bound) } };
  });
  samples.push({ labels, value: count, name: `${name}_bucket`, extra: { le: '+Inf' } });
  samples.push(
    { labels, value: sumMs, name: `${name}_sum` },
    { labels, value: count, name: `${name}_count` },
  );
  return samples;
}

function byLabel(label: string, counts: ReadonlyMap<string, number>): Sample[] {
  return [...counts].map(([value, count]) => ({ labels: { [label]: value }, value: count }));
}
