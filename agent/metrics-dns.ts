/**
 * The DNS metrics, from the sums of all shards.
 */
import { dnsBuckets } from './dns/metrics.ts';
import type { Family, Sample } from '../base/metrics-family.ts';
import type { SeriesTotals } from '../base/series.ts';

const duration = 'istio_dns_upstream_request_duration_seconds';

export function dnsFamilies(totals: SeriesTotals): Family[] {
  const counter = (name: string, help: string, column: number): Family => ({
    name,
    help,
    type: 'counter',
    samples: () => totals.rows().map(({ labels, values }) => ({ labels, value: values[column] ?? 0 })),
  });
  return [
    counter('istio_dns_requests_total', 'DNS queries of enrolled pods', 0),
    counter(
      'istio_dns_upstream_requests_total',
      'DNS queries that were passed on to the server that the pod asked',
      1,
    ),
    counter('istio_dns_upstream_failures_total', 'DNS queries that were passed on and got no answer', 2),
    {
      name: duration,
      help: 'Time until the answer to a query that was passed on',
      type: 'histogram',
      samples: () => histogram(totals),
    },
  ];
}

function histogram(totals: SeriesTotals): Sample[] {
  return totals.rows().flatMap(({ labels, values: [, , , seconds = 0, count = 0, ...buckets] }) => {
    if (count === 0) return [];
    const bounds: Sample[] = dnsBuckets.map((bound, at) => ({
      labels,
      name: `${duration}_bucket`,
      extra: { le: String(bound) },
      value: buckets[at] ?? 0,
    }));
    return [
      ...bounds,
      { labels, name: `${duration}_bucket`, extra: { le: '+Inf' }, value: count },
      { labels, name: `${duration}_sum`, value: seconds },
      { labels, name: `${duration}_count`, value: count },
    ];
  });
}
