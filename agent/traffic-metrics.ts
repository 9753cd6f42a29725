/**
 * Who talked to whom, as numbers: the traffic metrics of one shard, under the labels that mesh dashboards read.
 *
 * A connection asks once, when it opens, for the handle of its pair of workloads, and adds its bytes to that handle's
 * plain fields from then on; nothing is made or looked up per chunk, and nothing but cached maps per connection.
 */
import {
  trafficLabels,
  type Reporter,
  type ResponseFlag,
  type TrafficPeers,
} from '../model/traffic-labels.ts';
import type { Workload } from '../model/workload.ts';
import { SeriesTable, seriesExpireMs, type Labels, type Row, type SeriesDelta } from '../base/series.ts';

/** Columns of a traffic row, in the order of `TrafficHandle.read()`. */
export const trafficColumns = ['opened', 'closed', 'failed', 'received', 'sent'] as const;

/** The counters of one pair; shared by all of its connections. */
export class TrafficHandle implements Row {
  expired = false;
  opened = 0;
  closed = 0;
  failed = 0;
  /** Bytes client → server, whichever side reports. */
  received = 0;
  /** Bytes server → client. */
  sent = 0;
  readonly reporter: Reporter;

  constructor(reporter: Reporter) {
    this.reporter = reporter;
  }

  get busy(): boolean {
    return this.opened > this.closed;
  }

  read(): readonly number[] {
    return [this.opened, this.closed, this.failed, this.received, this.sent];
  }
}

/** A shard that died has closed all its connections. */
export function settleTraffic([opened = 0, , ...others]: readonly number[]): readonly number[] {
  return [opened, opened, ...others];
}

export interface TrafficSnapshot {
  readonly series: SeriesDelta;
  /** Connections open now. */
  readonly open: Readonly<Record<Reporter, number>>;
}

export interface TrafficMetricsOptions {
  /** Label sets per shard; what is beyond shares one series with the labels `overflow`. */
  readonly maxSeries?: number;
  /** A series without open connections is forgotten after this, milliseconds. */
  readonly expireMs?: number;
  readonly now?: () => number;
}

const defaultMaxSeries = 10_000;

interface Known {
  readonly peers: TrafficPeers;
  readonly handle: TrafficHandle;
}

export class TrafficMetrics {
  readonly #table: SeriesTable<TrafficHandle>;
  readonly #maxKnown: number;
  /** Handles by source, then destination: most pairs have one or two, so the last step is a short walk. */
  readonly #known = new Map<Workload | null, Map<Workload | null, Known[]>>();
  #knownSize = 0;
  readonly #open: Record<Reporter, number> = { source: 0, destination: 0 };

  constructor(options: TrafficMetricsOptions = {}) {
    const max = options.maxSeries ?? defaultMaxSeries;
    this.#maxKnown = 2 * max;
    this.#table = new SeriesTable({
      make: labels => new TrafficHandle(labels.reporter === 'source' ? 'source' : 'destination'),
      overflow: overflowLabels,
      max,
      expireMs: options.expireMs ?? seriesExpireMs,
      now: options.now ?? Date.now,
    });
  }

  /** The handle of a pair; good until the next snapshot. */
  handle(peers: TrafficPeers): TrafficHandle {
    return this.#find(peers);
  }

  /** Counts a connection as open; `close` ends it, also after `fail`. */
  open(peers: TrafficPeers): TrafficHandle {
    const handle = this.#find(peers);
    handle.opened += 1;
    this.#open[handle.reporter] += 1;
    return handle;
  }

  close(handle: TrafficHandle): void {
    handle.closed += 1;
    this.#open[handle.reporter] -= 1;
  }

  /** Counts a failure: of a connection that was open, or of an attempt that never was. */
  fail(peers: TrafficPeers, flag: ResponseFlag): void {
    const labels = trafficLabels(peers, flag);
    this.#table.get(keyOf(labels), () => labels).failed += 1;
  }

  /** For the main thread; also the moment when unused series are forgotten, so call it every few seconds. */
  snapshot(): TrafficSnapshot {
    const series = this.#table.delta();
    // Workloads are replaced when they change; a cache must not keep the old objects alive.
    this.#forget();
    return { series, open: { ...this.#open } };
  }

  #find(peers: TrafficPeers): TrafficHandle {
    let byDestination = this.#known.get(peers.source);
    if (byDestination === undefined) this.#known.set(peers.source, (byDestination = new Map()));
    let candidates = byDestination.get(peers.destination);
    if (candidates === undefined) byDestination.set(peers.destination, (candidates = []));
    for (const known of candidates) {
      if (same(known.peers, peers)) return known.handle;
    }
    const labels = trafficLabels(peers, '-');
    const handle = this.#table.get(keyOf(labels), () => labels);
    if (this.#knownSize >= this.#maxKnown) {
      this.#forget();
      return handle;
    }
    candidates.push({ peers, handle });
    this.#knownSize += 1;
    return handle;
  }

  #forget(): void {
    this.#known.clear();
    this.#knownSize = 0;
  }
}

/** Source and destination are the same already. */
function same(a: TrafficPeers, b: TrafficPeers): boolean {
  return (
    a.service === b.service &&
    a.reporter === b.reporter &&
    a.mutualTls === b.mutualTls &&
    a.sourceIdentity === b.sourceIdentity &&
    a.destinationIdentity === b.destinationIdentity
  );
}

function keyOf(labels: Labels): string {
  return Object.values(labels).join('\u001f');
}

/** One series for each reporter takes all that there is no room for. */
function overflowLabels(labels: Labels): Labels {
  const kept = new Set(['reporter', 'request_protocol', 'response_flags']);
  return Object.fromEntries(
    Object.entries(labels).map(([name, value]) => [name, kept.has(name) ? value : 'overflow']),
  );
}
