/** Connections that a waypoint carries as they are, as numbers, under the names that agents count theirs by. */
import type { Family } from '../base/metrics-family.ts';
import type { Labels } from '../base/series.ts';
import type { PassageRecord } from './access-log.ts';
import { connectionLabels } from './metrics-labels.ts';

const maxRows = 5_000;

interface Row {
  readonly labels: Labels;
  opened: number;
  closed: number;
  failed: number;
  received: number;
  sent: number;
}

type Column = Exclude<keyof Row, 'labels'>;

const columns: readonly (readonly [Column, string, string])[] = [
  ['opened', 'istio_tcp_connections_opened_total', 'Connections that reached an endpoint.'],
  ['closed', 'istio_tcp_connections_closed_total', 'Connections that were open and ended.'],
  ['failed', 'istio_tcp_connections_failed_total', 'Connections that reached no endpoint, or were cut.'],
  ['received', 'istio_tcp_received_bytes_total', 'Bytes from client to server.'],
  ['sent', 'istio_tcp_sent_bytes_total', 'Bytes from server to client.'],
];

export class ConnectionSeries {
  readonly #rows = new Map<string, Row>();

  open(record: Pick<PassageRecord, 'client' | 'destination' | 'way' | 'error'>): void {
    this.#row(record).opened += 1;
  }

  over(record: PassageRecord): void {
    if (record.error !== null) this.#row(record).failed += 1;
    // Without a way it was never open; failures have rows of their own, by their flag.
    if (record.way === null) return;
    const row = this.#row({ ...record, error: null });
    row.closed += 1;
    row.received += record.up;
    row.sent += record.down;
  }

  families(): Family[] {
    return columns.map(([column, name, help]) => ({
      name,
      help,
      type: 'counter',
      samples: () =>
        [...this.#rows.values()]
          .filter(({ labels }) => (column === 'failed') === (labels['response_flags'] !== '-'))
          .map(row => ({ labels: row.labels, value: row[column] })),
    }));
  }

  #row(record: Pick<PassageRecord, 'client' | 'destination' | 'way' | 'error'>): Row {
    const labels = connectionLabels(record);
    const key = Object.values(labels).join('\u001f');
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    if (this.#rows.size < maxRows) return this.#make(key, labels);
    const kept = new Set(['reporter', 'request_protocol', 'response_flags']);
    const overflow = Object.fromEntries(
      Object.entries(labels).map(([name, value]) => [name, kept.has(name) ? value : 'overflow']),
    );
    const overflowKey = `overflow ${labels['response_flags'] ?? ''}`;
    return this.#rows.get(overflowKey) ?? this.#make(overflowKey, overflow);
  }

  #make(key: string, labels: Labels): Row {
    const row: Row = { labels, opened: 0, closed: 0, failed: 0, received: 0, sent: 0 };
    this.#rows.set(key, row);
    return row;
  }
}
