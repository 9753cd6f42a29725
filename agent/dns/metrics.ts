/**
 * The DNS metrics of one shard, under the labels that mesh dashboards read; the main thread adds them up.
 */
import type { Workload } from '../../model/workload.ts';
import { SeriesTable, seriesExpireMs, type Labels, type Row, type SeriesDelta } from '../../base/series.ts';
import type { DnsProtocol } from './answer.ts';

/** Upper bounds of the upstream duration buckets, seconds. */
export const dnsBuckets = [0.0005, 0.001, 0.01, 0.1, 1, 5] as const;

/** Counters for one workload's queries of one type. */
export class DnsRow implements Row {
  expired = false;
  readonly busy = false;
  requests = 0;
  upstream = 0;
  failures = 0;
  #seconds = 0;
  #observed = 0;
  /** Cumulative, as Prometheus has them. */
  readonly #buckets = dnsBuckets.map(() => 0);

  observe(seconds: number): void {
    this.#seconds += seconds;
    this.#observed += 1;
    for (const [at, bound] of dnsBuckets.entries()) {
      if (seconds <= bound) this.#buckets[at] = (this.#buckets[at] ?? 0) + 1;
    }
  }

  /** requests, upstream, failures, sum of seconds, number of observations, then the buckets. */
  read(): readonly number[] {
    return [this.requests, this.upstream, this.failures, this.#seconds, this.#observed, ...this.#buckets];
  }
}

const typeNames: Readonly<Record<number, string>> = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  15: 'MX',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  35: 'NAPTR',
  43: 'DS',
  48: 'DNSKEY',
  64: 'SVCB',
  65: 'HTTPS',
  255: 'ANY',
};
/** Clients choose types freely; labels must not. */
const maxSeries = 5_000;

export class DnsMetrics {
  readonly #table: SeriesTable<DnsRow>;

  constructor(now: () => number = Date.now) {
    this.#table = new SeriesTable({
      make: () => new DnsRow(),
      overflow: labels => Object.fromEntries(Object.keys(labels).map(name => [name, 'overflow'])),
      max: maxSeries,
      expireMs: seriesExpireMs,
      now,
    });
  }

  /** @param type of the question; null when it can't be read */
  row(workload: Workload | null, type: number | null, protocol: DnsProtocol): DnsRow {
    const service = workload?.canonicalName ?? 'unknown';
    const revision = workload?.canonicalRevision ?? 'unknown';
    const name = type === null ? 'unknown' : (typeNames[type] ?? 'other');
    const labels = (): Labels => ({
      request_query_type: name,
      request_protocol: protocol,
      source_canonical_service: service,
      source_canonical_revision: revision,
    });
    return this.#table.get(`${name} ${protocol} ${service} ${revision}`, labels);
  }

  snapshot(): SeriesDelta {
    return this.#table.delta();
  }
}
