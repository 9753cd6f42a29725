/**
 * The traffic metrics as dashboards of ambient meshes read them, from the sums of all shards.
 */
import type { Family, Sample } from '../base/metrics-family.ts';
import type { SeriesTotals } from '../base/series.ts';
import type { ShardSnapshot } from './shard-metrics.ts';
import type { Reporter } from '../model/traffic-labels.ts';
import { trafficColumns } from './traffic-metrics.ts';

type Column = (typeof trafficColumns)[number];

/** What each column is called. Failures have series of their own, by response_flags; the others are counted under `-`. */
const names: Readonly<Record<Column, { readonly name: string; readonly help: string }>> = {
  opened: { name: 'istio_tcp_connections_opened_total', help: 'Connections that were opened' },
  closed: { name: 'istio_tcp_connections_closed_total', help: 'Connections that were open and ended' },
  failed: {
    name: 'istio_tcp_connections_failed_total',
    help: 'Connections that were refused, could not be opened or were cut',
  },
  received: { name: 'istio_tcp_received_bytes_total', help: 'Bytes from client to server' },
  sent: { name: 'istio_tcp_sent_bytes_total', help: 'Bytes from server to client' },
};

export function trafficFamilies(totals: SeriesTotals, snapshots: () => readonly ShardSnapshot[]): Family[] {
  const families = trafficColumns.map((column, at): Family => ({
    ...names[column],
    type: 'counter',
    samples: () => {
      const samples: Sample[] = [];
      for (const { labels, values } of totals.rows()) {
        if ((column === 'failed') === (labels.response_flags === '-')) continue;
        samples.push({ labels, value: values[at] ?? 0 });
      }
      return samples;
    },
  }));
  const open = (reporter: Reporter): Sample => ({
    labels: { reporter },
    value: snapshots().reduce((sum, { traffic }) => sum + traffic.open[reporter], 0),
  });
  families.push({
    name: 'istio_tcp_sockets_open',
    help: 'Connections that are open now',
    type: 'gauge',
    samples: () => [open('source'), open('destination')],
  });
  return families;
}
