/**
 * What a waypoint counts: requests and connections under the labels that mesh dashboards read (`istio_requests_total`,
 * durations, sizes), and how the waypoint itself fares.
 */
import type { Registry } from 'prom-client';
import { register, type Sample } from '../base/metrics-family.ts';
import type { TcpHit } from '../model/tcp-match.ts';
import { tcpRuleName } from '../model/tcp-route.ts';
import type { PassageRecord, RequestRecord } from './access-log.ts';
import { ConnectionSeries } from './connection-series.ts';
import { RequestSeries } from './request-series.ts';
import type { Telling } from './telemetry.ts';

/** Routes come and go, and may have a thousand names each. */
const maxRoutedRows = 5_000;

export class RequestMetrics {
  readonly #requests = new RequestSeries();
  readonly #connections = new ConnectionSeries();
  readonly #refused = new Map<string, number>();
  readonly #mirrored = new Map<string, number>();
  readonly #spans = new Map<string, number>();
  readonly #judged = new Map<string, Sample>();
  readonly #routed = new Map<string, Sample>();
  readonly #overflows = new Map<string, number>();
  readonly #limited = new Map<string, Sample>();
  readonly #faults = new Map<string, number>();
  readonly #tlsFailures = new Map<string, number>();
  #retries = 0;
  #ejections = 0;
  #lineErrors = 0;

  /** A request that is over. */
  request(record: RequestRecord, changes: Telling['metrics'] = null): void {
    this.#requests.add(record, changes);
  }

  /** A connection that is carried as it is, from when its endpoint is reached; `connectionOver` ends it. */
  connectionOpen(record: Pick<PassageRecord, 'client' | 'destination' | 'way' | 'error'>): void {
    this.#connections.open(record);
  }

  /** Also one that never reached an endpoint. */
  connectionOver(record: PassageRecord): void {
    this.#connections.over(record);
  }

  /** A connection that routes of connections were about: `carried`, or the code of why not. */
  routed(hit: TcpHit | null, result: string): void {
    if (hit === null && result === 'carried') return;
    const route = hit === null ? 'none' : tcpRuleName(hit.route, hit.index);
    let labels = { route, name: hit?.name ?? '', result };
    let key = Object.values(labels).join(' ');
    if (!this.#routed.has(key) && this.#routed.size >= maxRoutedRows) {
      labels = { route: 'overflow', name: 'overflow', result };
      key = `overflow ${result}`;
    }
    const value = (this.#routed.get(key)?.value ?? 0) + 1;
    this.#routed.set(key, { labels, value });
  }

  retried(): void {
    this.#retries += 1;
  }

  /** An endpoint that is left out for a while for its errors. */
  ejected(): void {
    this.#ejections += 1;
  }

  /** A request, connection or further try that a limit of a traffic policy refused. */
  overflowed(limit: string): void {
    increase(this.#overflows, limit, 1);
  }

  /** A TLS handshake with an endpoint that failed; `reason` is a word. */
  tlsFailed(reason: string): void {
    increase(this.#tlsFailures, reason, 1);
  }

  /** A request that a rate limit had to do with. */
  rateLimited(by: 'local' | 'global', result: string): void {
    const key = `${by} ${result}`;
    const { value = 0 } = this.#limited.get(key) ?? {};
    this.#limited.set(key, { labels: { by, result }, value: value + 1 });
  }

  /** A fault that a route asked for. */
  injected(fault: 'delay' | 'abort'): void {
    increase(this.#faults, fault, 1);
  }

  mirrored(result: string): void {
    increase(this.#mirrored, result, 1);
  }

  /** What a policy made of a request. There are as many rows as policies, four times at most. */
  judged(policy: string, result: 'denied' | 'audited' | 'would-deny' | 'allowed-unasked'): void {
    const key = `${policy} ${result}`;
    const value = (this.#judged.get(key)?.value ?? 0) + 1;
    this.#judged.set(key, { labels: { policy, result }, value });
  }

  /** A tunnel, connection or request that was not taken. */
  refused(code: string): void {
    increase(this.#refused, code, 1);
  }

  /** What came of spans: `exported`, or why not. */
  spans(result: string, count: number): void {
    increase(this.#spans, result, count);
  }

  /** A filter of access lines that could not say; the line was written. */
  lineFilterFailed(): void {
    this.#lineErrors += 1;
  }

  register(registry: Registry): void {
    const requests = this.#requests;
    register(registry, {
      name: 'istio_requests_total',
      help: 'Requests, by who sent them where and what came of it.',
      type: 'counter',
      samples: () => requests.counts('requests'),
    });
    const histogram = (
      name: string,
      help: string,
      metric: 'duration' | 'request-size' | 'response-size',
    ): void =>
      register(registry, { name, help, type: 'histogram', samples: () => requests.histograms(metric, name) });
    const duration = 'From the head of a request to the end of its response.';
    histogram('istio_request_duration_milliseconds', duration, 'duration');
    histogram('istio_request_bytes', 'Bytes of the bodies of requests.', 'request-size');
    histogram('istio_response_bytes', 'Bytes of the bodies of responses.', 'response-size');
    const counter = (name: string, help: string, samples: () => readonly Sample[]): void =>
      register(registry, { name, help, type: 'counter', samples });
    counter('istio_request_messages_total', 'Messages of gRPC from clients.', () =>
      requests.messages('requestMessages'),
    );
    counter('istio_response_messages_total', 'Messages of gRPC from servers.', () =>
      requests.messages('responseMessages'),
    );
    for (const family of this.#connections.families()) register(registry, family);
    counter('culvert_waypoint_refused_total', 'What was not taken, by code.', () =>
      byLabel('code', this.#refused),
    );
    counter('culvert_waypoint_policy_total', 'Requests that a policy denied, audited or would deny.', () => [
      ...this.#judged.values(),
    ]);
    counter(
      'culvert_waypoint_tcp_routes_total',
      'Connections that routes of connections were about, by rule, name of the rule, and what came of them.',
      () => [...this.#routed.values()],
    );
    counter('culvert_waypoint_mirrored_total', 'Copies for mirrors, by what came of them.', () =>
      byLabel('result', this.#mirrored),
    );
    counter('culvert_waypoint_retries_total', 'Tries after the first.', () => [
      { labels: {}, value: this.#retries },
    ]);
    counter('culvert_waypoint_overflow_total', 'What limits of traffic policies refused, by limit.', () =>
      byLabel('limit', this.#overflows),
    );
    counter('culvert_waypoint_tls_failures_total', 'TLS handshakes with endpoints that failed.', () =>
      byLabel('reason', this.#tlsFailures),
    );
    counter(
      'culvert_waypoint_rate_limit_total',
      'Requests that rate limits had to do with, by result.',
      () => [...this.#limited.values()],
    );
    counter('culvert_waypoint_faults_total', 'Faults that routes asked for.', () =>
      byLabel('fault', this.#faults),
    );
    counter('culvert_waypoint_ejections_total', 'Endpoints that were left out for their errors.', () => [
      { labels: {}, value: this.#ejections },
    ]);
    counter('culvert_waypoint_spans_total', 'Spans, by what came of them.', () =>
      byLabel('result', this.#spans),
    );
    counter('culvert_waypoint_expression_errors_total', 'Expressions that had no value, by where.', () => [
      { labels: { of: 'label' }, value: requests.expressionErrors },
      { labels: { of: 'access-log-filter' }, value: this.#lineErrors },
    ]);
  }
}

function increase(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

function byLabel(label: string, counts: ReadonlyMap<string, number>): Sample[] {
  return [...counts].map(([value, count]) => ({ labels: { [label]: value }, value: count }));
}
