/**
 * Requests as numbers: rows of counters and histograms under the labels that mesh dashboards read. Rows are found by one
 * text per kind of request, and are bounded: what is beyond shares one.
 */
import type { Sample } from '../base/metrics-family.ts';
import type { Labels } from '../base/series.ts';
import { type RequestMetric, requestMetrics } from '../model/telemetry.ts';
import type { RequestRecord } from './access-log.ts';
import { attributesOf } from './attributes.ts';
import { keyOf, requestLabels } from './metrics-labels.ts';
import type { Telling } from './telemetry.ts';

/** Upper bounds in milliseconds, and in bytes, as those dashboards know them. */
const bounds = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000,
  1_800_000, 3_600_000,
];
const maxRows = 5_000;
/** A row that nothing was counted on for this long is forgotten. */
const expireMs = 600_000;
const maxValue = 256;

interface Row {
  readonly labels: Labels;
  /** Which metrics are counted under these labels. */
  readonly metrics: ReadonlySet<RequestMetric>;
  count: number;
  readonly duration: Histogram;
  readonly requestSize: Histogram;
  readonly responseSize: Histogram;
  requestMessages: number;
  responseMessages: number;
  usedAt: number;
}

const allMetrics: ReadonlySet<RequestMetric> = new Set(requestMetrics);
const sizeMetrics = ['duration', 'request-size', 'response-size'] as const;
type SizeMetric = (typeof sizeMetrics)[number];

export class RequestSeries {
  readonly #rows = new Map<string, Row>();
  /** Labels whose expression could not be evaluated for a request. */
  expressionErrors = 0;

  add(record: RequestRecord, changes: Telling['metrics']): void {
    if (changes === null) {
      this.#count(
        this.#row(keyOf(record), allMetrics, () => requestLabels(record)),
        record,
      );
      return;
    }
    for (const [key, group] of this.#grouped(record, changes))
      this.#count(
        this.#row(key, group.metrics, () => group.labels),
        record,
      );
  }

  counts(metric: 'requests'): Sample[] {
    return this.#live(metric).map(({ labels, count }) => ({ labels, value: count }));
  }

  messages(side: 'requestMessages' | 'responseMessages'): Sample[] {
    return this.#live('messages')
      .filter(({ labels }) => labels['request_protocol'] === 'grpc')
      .map(row => ({ labels: row.labels, value: row[side] }));
  }

  histograms(metric: SizeMetric, name: string): Sample[] {
    return this.#live(metric).flatMap(row => histogramOf(row, metric).samples(name, row.labels, row.count));
  }

  /** The metrics that are counted under the same labels, with these, by what tells them apart. */
  #grouped(
    record: RequestRecord,
    changes: NonNullable<Telling['metrics']>,
  ): Map<string, { metrics: Set<RequestMetric>; labels: Labels }> {
    const groups = new Map<string, { metrics: Set<RequestMetric>; labels: Labels }>();
    const attributes = attributesOf(record);
    const base = requestLabels(record);
    for (const [metric, change] of changes) {
      if (change === null) continue;
      const labels: Record<string, string> = { ...base };
      for (const [name, expression] of change.labels) {
        if (expression === null) {
          delete labels[name];
          continue;
        }
        const outcome = expression.evaluate(attributes);
        if ('error' in outcome) this.expressionErrors += 1;
        labels[name] = 'error' in outcome ? 'unknown' : String(outcome.value).slice(0, maxValue);
      }
      const key = JSON.stringify(labels);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { metrics: new Set([metric]), labels });
      else group.metrics.add(metric);
    }
    return new Map([...groups].map(([key, group]) => [`${[...group.metrics].join()} ${key}`, group]));
  }

  #row(key: string, metrics: ReadonlySet<RequestMetric>, labels: () => Labels): Row {
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    if (this.#rows.size < maxRows) return this.#make(key, labels(), metrics);
    const names = Object.keys(labels());
    const overflow = Object.fromEntries(names.map(name => [name, 'overflow']));
    return this.#rows.get('overflow') ?? this.#make('overflow', overflow, allMetrics);
  }

  #make(key: string, labels: Labels, metrics: ReadonlySet<RequestMetric>): Row {
    const row: Row = {
      labels,
      metrics,
      count: 0,
      duration: new Histogram(),
      requestSize: new Histogram(),
      responseSize: new Histogram(),
      requestMessages: 0,
      responseMessages: 0,
      usedAt: 0,
    };
    this.#rows.set(key, row);
    return row;
  }

  #count(row: Row, record: RequestRecord): void {
    row.count += 1;
    row.duration.add(record.ms);
    row.requestSize.add(record.up);
    row.responseSize.add(record.down);
    row.requestMessages += record.requestMessages;
    row.responseMessages += record.responseMessages;
    row.usedAt = Date.now();
  }

  #live(metric: RequestMetric): Row[] {
    const oldest = Date.now() - expireMs;
    for (const [key, { usedAt }] of this.#rows) if (usedAt < oldest) this.#rows.delete(key);
    return [...this.#rows.values()].filter(({ metrics }) => metrics.has(metric));
  }
}

function histogramOf(row: Row, metric: SizeMetric): Histogram {
  if (metric === 'duration') return row.duration;
  return metric === 'request-size' ? row.requestSize : row.responseSize;
}

class Histogram {
  /** Not cumulative; the last one is above all bounds. */
  readonly #buckets = new Float64Array(bounds.length + 1);
  #sum = 0;

  add(value: number): void {
    let at = 0;
    while (at < bounds.length && value > (bounds[at] ?? 0)) at += 1;
    this.#buckets[at] = (this.#buckets[at] ?? 0) + 1;
    this.#sum += value;
  }

  samples(name: string, labels: Labels, count: number): Sample[] {
    let below = 0;
    const samples: Sample[] = bounds.map((bound, at) => {
      below += this.#buckets[at] ?? 0;
      return { labels, value: below, name: `${name}_bucket`, extra: { le: String(bound) } };
    });
    samples.push(
      { labels, value: count, name: `${name}_bucket`, extra: { le: '+Inf' } },
      { labels, value: this.#sum, name: `${name}_sum` },
      { labels, value: count, name: `${name}_count` },
    );
    return samples;
  }
}
