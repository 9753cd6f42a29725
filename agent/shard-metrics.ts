/**
 * Everything that one shard counts, in one place, and what it sends of it to the main thread.
 *
 * Connections count in `traffic`, DNS in `dns`, and whatever else an operator may want to know in the counters below.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DnsMetrics } from './dns/metrics.ts';
import { SeriesTable, type Labels, type Row, type SeriesDelta } from '../base/series.ts';
import { TrafficMetrics, type TrafficSnapshot } from './traffic-metrics.ts';

/** Counters of shards. Names and meanings are public: see docs/metrics.md. */
export const shardCounters = {
  culvert_events_total:
    'What happened, by code: limits that struck, refused requests, hostile input, internal errors',
  culvert_tunnel_handshake_failures_total: 'Tunnels that failed before their first request, by error code',
  culvert_plaintext_connections_total: 'Connections of enrolled pods that were carried without mutual TLS',
  culvert_denied_connections_total: 'Connections that policy refused or cut, by the policy that decided',
} as const;

type ShardCounter = keyof typeof shardCounters;
/** As in the access log. */
type Direction = 'inbound' | 'outbound' | 'local';

/** Numbers of this moment. */
export interface ShardGauges {
  /** Connections of pods, open or opening. */
  readonly connections: number;
  /** Tunnels, accepted from and opened to other agents. */
  readonly tunnels: { readonly inbound: number; readonly outbound: number };
  /** Streams on outbound tunnels. */
  readonly streams: number;
  /** Since the shard started. */
  readonly accessLinesLost: number;
}

export interface ShardSnapshot {
  readonly traffic: TrafficSnapshot;
  readonly dns: SeriesDelta;
  readonly counters: SeriesDelta;
  readonly gauges: ShardGauges;
  /** Time by which the event loop was late since the last snapshot, seconds, by quantile. */
  readonly loopDelay: { readonly p50: number; readonly p99: number; readonly max: number };
}

class CounterRow implements Row {
  expired = false;
  readonly busy = false;
  count = 0;

  read(): readonly number[] {
    return [this.count];
  }
}

/** Policy names come and go with configuration; codes don't. */
const maxCounters = 2_000;
/** An idle shard wakes up no more often than this, milliseconds. */
const loopResolutionMs = 50;

export class ShardMetrics implements Disposable {
  readonly traffic = new TrafficMetrics();
  readonly dns = new DnsMetrics();
  readonly #counters = new SeriesTable<CounterRow>({
    make: () => new CounterRow(),
    overflow: labels =>
      Object.fromEntries(
        Object.entries(labels).map(([name, value]) => [name, name === metricLabel ? value : 'overflow']),
      ),
    max: maxCounters,
    expireMs: Infinity,
    now: Date.now,
  });
  readonly #loop = monitorEventLoopDelay({ resolution: loopResolutionMs });

  constructor() {
    this.#loop.enable();
  }

  /** Anything that an operator may want to know, by an upper-case code. */
  event(code: string): void {
    this.#count('culvert_events_total', { code });
  }

  handshakeFailed(direction: 'inbound' | 'outbound', code: string): void {
    this.#count('culvert_tunnel_handshake_failures_total', { direction, code });
  }

  plaintext(direction: Direction): void {
    this.#count('culvert_plaintext_connections_total', { direction });
  }

  /** @param policy `namespace/name`; null when no policy allowed it and none denied it */
  denied(direction: Direction, policy: string | null): void {
    this.#count('culvert_denied_connections_total', { direction, policy: policy ?? 'none' });
  }

  /** For the main thread. Every snapshot must reach it, in order; ask every few seconds and at scrapes. */
  snapshot(gauges: ShardGauges): ShardSnapshot {
    const loopDelay = {
      p50: lateness(this.#loop.percentile(50)),
      p99: lateness(this.#loop.percentile(99)),
      max: lateness(this.#loop.max),
    };
    this.#loop.reset();
    return {
      traffic: this.traffic.snapshot(),
      dns: this.dns.snapshot(),
      counters: this.#counters.delta(),
      gauges,
      loopDelay,
    };
  }

  [Symbol.dispose](): void {
    this.#loop.disable();
  }

  #count(metric: ShardCounter, labels: Labels): void {
    const key = `${metric} ${Object.values(labels).join(' ')}`;
    this.#counters.get(key, () => ({ [metricLabel]: metric, ...labels })).count += 1;
  }
}

/** Stands among the labels of a counter row and is no label of the metric. */
export const metricLabel = 'metric';

/** The histogram has whole intervals, `resolution` included when all is well. */
function lateness(ns: number): number {
  return Number.isFinite(ns) ? Math.max(0, ns / 1e9 - loopResolutionMs / 1e3) : 0;
}
