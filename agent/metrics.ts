/**
 * What `GET /metrics` shows: the sums of all shards and the main thread's own state, in the Prometheus text format.
 *
 * Shards' totals are pushed in here as they come; the main thread's state is asked for at each scrape. Counters never go
 * down, whatever shards die. docs/metrics.md lists every metric.
 */
import { Registry } from 'prom-client';
import type { HttpReply, HttpRoutes } from '../base/http.ts';
import { agentFamilies, type MetricSources } from './metrics-agent.ts';
import { clusterFamilies } from './metrics-cluster.ts';
import { dnsFamilies } from './metrics-dns.ts';
import { register, type Family, type Sample } from '../base/metrics-family.ts';
import { processFamilies } from './metrics-process.ts';
import { trafficFamilies } from './metrics-traffic.ts';
import { SeriesTotals, seriesExpireMs, type Labels } from '../base/series.ts';
import { metricLabel, shardCounters, type ShardSnapshot } from './shard-metrics.ts';
import { settleTraffic } from './traffic-metrics.ts';

export interface MetricsOptions {
  readonly now?: () => number;
}

function clusterFamiliesOf({ cluster }: MetricSources): Family[] {
  return cluster === null ? [] : clusterFamilies(cluster);
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #now: () => number;
  readonly #traffic: SeriesTotals;
  readonly #dns: SeriesTotals;
  readonly #counters: SeriesTotals;
  /** The last snapshot of each shard that lives, by index, with the number that its series are kept under. */
  readonly #shards = new Map<number, { readonly source: number; snapshot: ShardSnapshot }>();
  #nextSource = 1;
  #deadLinesLost = 0;

  constructor(sources: MetricSources, options: MetricsOptions = {}) {
    this.#now = options.now ?? Date.now;
    const common = { expireMs: seriesExpireMs, now: this.#now };
    this.#traffic = new SeriesTotals({ ...common, settle: settleTraffic });
    this.#dns = new SeriesTotals(common);
    this.#counters = new SeriesTotals({ ...common, expireMs: Infinity });
    const families = [
      ...trafficFamilies(this.#traffic, () => this.#snapshots()),
      ...dnsFamilies(this.#dns),
      ...this.#counterFamilies(),
      ...this.#shardFamilies(),
      ...agentFamilies(sources),
      ...clusterFamiliesOf(sources),
      ...processFamilies(),
    ];
    for (const family of families) register(this.#registry, family);
  }

  /** Takes in what a shard has sent; each of its snapshots, in the order of sending. */
  apply(shard: number, snapshot: ShardSnapshot): void {
    let known = this.#shards.get(shard);
    if (known === undefined) this.#shards.set(shard, (known = { source: this.#nextSource++, snapshot }));
    known.snapshot = snapshot;
    this.#traffic.apply(known.source, snapshot.traffic.series);
    this.#dns.apply(known.source, snapshot.dns);
    this.#counters.apply(known.source, snapshot.counters);
  }

  /** A shard is dead: what it counted stays, what it had open is gone. Its index may be used again. */
  shardLost(shard: number): void {
    const known = this.#shards.get(shard);
    if (known === undefined) return;
    this.#shards.delete(shard);
    this.#deadLinesLost += known.snapshot.gauges.accessLinesLost;
    for (const totals of [this.#traffic, this.#dns, this.#counters]) totals.retire(known.source);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The whole exposition. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }

  #snapshots(): ShardSnapshot[] {
    return [...this.#shards.values()].map(({ snapshot }) => snapshot);
  }

  #linesLost(): number {
    return this.#snapshots().reduce((sum, { gauges }) => sum + gauges.accessLinesLost, this.#deadLinesLost);
  }

  /** One sample for each living shard. */
  #perShard(read: (snapshot: ShardSnapshot) => readonly ShardSample[]): Sample[] {
    return [...this.#shards].flatMap(([index, { snapshot }]) =>
      read(snapshot).map(([labels, value]) => ({ labels: { shard: String(index), ...labels }, value })),
    );
  }

  #counterFamilies(): Family[] {
    const of = (name: string): Sample[] =>
      this.#counters
        .rows()
        .filter(({ labels }) => labels[metricLabel] === name)
        .map(({ labels, values }) => ({ labels: withoutMetric(labels), value: values[0] ?? 0 }));
    return Object.entries(shardCounters).map(([name, help]) => ({
      name,
      help,
      type: 'counter',
      samples: () => of(name),
    }));
  }

  #shardFamilies(): Family[] {
    const gauge = (
      name: string,
      help: string,
      read: (snapshot: ShardSnapshot) => readonly ShardSample[],
    ): Family => ({
      name,
      help,
      type: 'gauge',
      samples: () => this.#perShard(read),
    });
    return [
      gauge('culvert_shard_connections', 'Connections of pods that the shard carries now', it => [
        [{}, it.gauges.connections],
      ]),
      gauge(
        'culvert_tunnels',
        'Tunnels to and from other agents that are open now',
        ({ gauges: { tunnels } }) => [
          [{ direction: 'inbound' }, tunnels.inbound],
          [{ direction: 'outbound' }, tunnels.outbound],
        ],
      ),
      gauge('culvert_tunnel_streams', 'Streams on outbound tunnels that are open now', it => [
        [{}, it.gauges.streams],
      ]),
      gauge(
        'culvert_shard_event_loop_delay_seconds',
        'How late the event loop was since the last report',
        ({ loopDelay }) => [
          [{ quantile: '0.5' }, loopDelay.p50],
          [{ quantile: '0.99' }, loopDelay.p99],
          [{ quantile: '1' }, loopDelay.max],
        ],
      ),
      {
        name: 'culvert_access_log_lines_lost_total',
        help: 'Access lines that could not be written',
        type: 'counter',
        samples: () => [{ labels: {}, value: this.#linesLost() }],
      },
    ];
  }
}

/**
 * `GET /metrics`, also where scrapers of other meshes look.
 * @param refresh asks the shards for fresh snapshots; a shard that is slow must not hold up the scrape for long
 */
export function metricsRoutes(metrics: Metrics, refresh: () => Promise<void>): HttpRoutes {
  const scrape = async (): Promise<HttpReply> => {
    await refresh();
    return { type: metrics.contentType, body: await metrics.render() };
  };
  return { 'GET /metrics': scrape, 'GET /stats/prometheus': scrape };
}

type ShardSample = readonly [labels: Labels, value: number];

function withoutMetric(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => name !== metricLabel));
}
