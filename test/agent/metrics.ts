import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Metrics, metricsRoutes } from '../../agent/metrics.ts';
import type { MetricSources } from '../../agent/metrics-agent.ts';
import { ShardMetrics, type ShardGauges } from '../../agent/shard-metrics.ts';
import type { TrafficPeers } from '../../model/traffic-labels.ts';
import { eventually } from '../lab/eventually.ts';
import { workload } from '../model/objects.ts';

const sources: MetricSources = {
  version: '1.2.3',
  config: () => ({
    generation: 7,
    appliedAt: 1_700_000_000_500,
    refused: ['policy.yaml'],
    findings: { error: 1, warning: 2, info: 3 },
  }),
  certificates: () => [{ identity: 'spiffe://cluster.local/ns/shop/sa/web', notAfter: 1_800_000_000_000 }],
  certificateEvents: () => ({ renewals: 4, failures: 1 }),
  pods: () => ({ active: 3, pending: 1, started: 5, stopped: 2 }),
  shards: () => ({ configured: 2, running: 1, restarts: 1 }),
  redirect: () => ({ redirected: 12n, bypassed: 3n }),
  handovers: () => ({ taken: 1, given: 2 }),
  crashes: () => 3,
  kernelPath: () => ({
    mode: 'direct',
    verdicts: 4,
    services: 3,
    servicesLeftOut: { endpoints: 1, room: 0 },
  }),
  logLinesLost: () => 0,
  cluster: null,
};
const gauges: ShardGauges = {
  connections: 1,
  tunnels: { inbound: 2, outbound: 3 },
  streams: 4,
  accessLinesLost: 5,
};
const peers: TrafficPeers = {
  reporter: 'source',
  source: workload('web'),
  destination: workload('d"b\\'),
  service: null,
  sourceIdentity: null,
  destinationIdentity: null,
  mutualTls: true,
};

/** Every sample of the text format, by its name and labels; throws on a line that is none. */
async function scrape(metrics: Metrics): Promise<Map<string, number>> {
  const samples = new Map<string, number>();
  const types = new Set<string>();
  for (const line of (await metrics.render()).split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    if (line.startsWith('# TYPE ')) {
      const name = line.split(' ')[2] ?? '';
      if (types.has(name)) throw new Error(`${name} twice`);
      types.add(name);
      continue;
    }
    const [, key, value] = /^([a-z_]+(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})?) (\S+)$/.exec(line) ?? [];
    if (key === undefined || Number.isNaN(Number(value))) throw new Error(`no sample: ${line}`);
    if (samples.has(key)) throw new Error(`${key} twice`);
    samples.set(key, Number(value));
  }
  return samples;
}

function find(samples: Map<string, number>, name: string, ...parts: readonly string[]): number[] {
  return [...samples]
    .filter(([key]) => key.startsWith(`${name}{`) && parts.every(part => key.includes(part)))
    .map(([, value]) => value);
}

function shard(): ShardMetrics {
  const metrics = new ShardMetrics();
  t.teardown(() => metrics[Symbol.dispose]());
  return metrics;
}

t.test('traffic of all shards is summed under one set of labels', async t => {
  const metrics = new Metrics(sources);
  for (const index of [0, 1]) {
    const one = shard();
    const handle = one.traffic.open(peers);
    handle.received += 10;
    handle.sent += 1e10;
    one.traffic.fail(peers, 'DENY');
    metrics.apply(index, one.snapshot(gauges));
  }
  const samples = await scrape(metrics);
  t.strictSame(find(samples, 'istio_tcp_connections_opened_total'), [2]);
  t.strictSame(find(samples, 'istio_tcp_connections_closed_total'), [0]);
  t.strictSame(find(samples, 'istio_tcp_received_bytes_total'), [20]);
  t.strictSame(
    find(samples, 'istio_tcp_sent_bytes_total', 'destination_workload="d\\"b\\\\"', 'response_flags="-"'),
    [2e10],
  );
  t.strictSame(find(samples, 'istio_tcp_connections_failed_total', 'response_flags="DENY"'), [2]);
  t.equal(samples.get('istio_tcp_sockets_open{reporter="source"}'), 2);
  t.equal(samples.get('istio_tcp_sockets_open{reporter="destination"}'), 0);
  t.strictSame(find(samples, 'culvert_tunnels', 'direction="outbound"'), [3, 3]);
});

t.test('a shard that dies takes its gauges along, and none of its counts', async t => {
  const metrics = new Metrics(sources);
  const first = shard();
  first.traffic.open(peers).sent += 7;
  first.event('SOURCE_LIMIT');
  first.dns.row(null, 1, 'udp').requests += 3;
  metrics.apply(0, first.snapshot(gauges));
  metrics.shardLost(0);
  const between = await scrape(metrics);
  t.strictSame(find(between, 'istio_tcp_connections_closed_total'), [1], 'its connections are closed');
  t.equal(between.get('istio_tcp_sockets_open{reporter="source"}'), 0);
  t.strictSame(find(between, 'culvert_shard_connections'), []);
  const second = shard();
  second.traffic.open(peers).sent += 1;
  second.event('SOURCE_LIMIT');
  metrics.apply(0, second.snapshot(gauges));
  const after = await scrape(metrics);
  t.strictSame(find(after, 'istio_tcp_sent_bytes_total'), [8]);
  t.strictSame(find(after, 'istio_dns_requests_total'), [3]);
  t.equal(after.get('culvert_events_total{code="SOURCE_LIMIT"}'), 2);
  t.equal(after.get('culvert_access_log_lines_lost_total'), 10);
  t.strictSame(find(after, 'culvert_shard_connections', 'shard="0"'), [1]);
});

t.test('DNS times are a histogram', async t => {
  const metrics = new Metrics(sources);
  const one = shard();
  const row = one.dns.row(workload('web'), 28, 'tcp');
  row.requests += 4;
  row.upstream += 3;
  row.failures += 1;
  for (const seconds of [0.0004, 0.05, 9]) row.observe(seconds);
  metrics.apply(0, one.snapshot(gauges));
  const samples = await scrape(metrics);
  const labels =
    'request_query_type="AAAA",request_protocol="tcp",source_canonical_service="web",source_canonical_revision="latest"';
  const name = 'istio_dns_upstream_request_duration_seconds';
  const buckets = ['0.0005', '0.001', '0.01', '0.1', '1', '5', '+Inf'].map(le =>
    samples.get(`${name}_bucket{le="${le}",${labels}}`),
  );
  t.strictSame(buckets, [1, 1, 1, 2, 2, 2, 3]);
  t.equal(samples.get(`${name}_count{${labels}}`), 3);
  t.ok(Math.abs((samples.get(`${name}_sum{${labels}}`) ?? 0) - 9.0504) < 1e-9);
  t.equal(samples.get(`istio_dns_upstream_failures_total{${labels}}`), 1);
});

t.test('counters of shards keep their labels', async t => {
  const metrics = new Metrics(sources);
  const one = shard();
  one.handshakeFailed('inbound', 'TLS_NO_CERTIFICATE');
  one.plaintext('inbound');
  one.denied('inbound', 'shop/deny-all');
  one.denied('local', null);
  one.denied('local', null);
  metrics.apply(0, one.snapshot(gauges));
  const samples = await scrape(metrics);
  t.equal(
    samples.get('culvert_tunnel_handshake_failures_total{direction="inbound",code="TLS_NO_CERTIFICATE"}'),
    1,
  );
  t.equal(samples.get('culvert_plaintext_connections_total{direction="inbound"}'), 1);
  t.equal(samples.get('culvert_denied_connections_total{direction="inbound",policy="shop/deny-all"}'), 1);
  t.equal(samples.get('culvert_denied_connections_total{direction="local",policy="none"}'), 2);
});

t.test("the main thread's own state is read at each scrape", async t => {
  const samples = await scrape(new Metrics(sources));
  t.match(Object.fromEntries(samples), {
    'istio_build{component="culvert-agent",tag="1.2.3"}': 1,
    workload_manager_active_proxy_count: 3,
    workload_manager_pending_proxy_count: 1,
    workload_manager_proxies_started_total: 5,
    'culvert_shards{state="running"}': 1,
    culvert_shard_restarts_total: 1,
    'culvert_redirect_decisions_total{decision="redirected"}': 12,
    culvert_config_generation: 7,
    culvert_config_refused: 1,
    'culvert_config_findings{severity="warning"}': 2,
    culvert_config_applied_timestamp_seconds: 1_700_000_000.5,
    'culvert_certificate_expiry_timestamp_seconds{identity="spiffe://cluster.local/ns/shop/sa/web"}': 1_800_000_000,
    culvert_certificate_renewals_total: 4,
  });
  t.ok((samples.get('process_resident_memory_bytes') ?? 0) > 1e6);
  t.ok((samples.get('process_open_fds') ?? 0) > 2);
  t.ok((samples.get('process_max_fds') ?? 0) > 2);
});

t.test('the event loop of a shard is watched', async t => {
  const metrics = new Metrics(sources);
  const one = shard();
  const block = (): void => {
    const until = performance.now() + 200;
    while (performance.now() < until);
  };
  const read = async (): Promise<number | false> => {
    metrics.apply(3, one.snapshot(gauges));
    const [seconds = 0] = find(
      await scrape(metrics),
      'culvert_shard_event_loop_delay_seconds',
      'quantile="1"',
      'shard="3"',
    );
    // The watch begins anew with its next tick.
    setTimeout(block, 120);
    return seconds > 0.1 && seconds;
  };
  const worst = await eventually(read, { intervalMs: 500 });
  t.ok(worst < 5, `${worst} s`);
});

t.test('a scrape asks shards first', async t => {
  const metrics = new Metrics(sources);
  const one = shard();
  one.event('FRESH');
  const routes = metricsRoutes(metrics, async () => metrics.apply(0, one.snapshot(gauges)));
  for (const path of ['GET /metrics', 'GET /stats/prometheus']) {
    const reply = await routes[path]?.({ query: new URLSearchParams(), body: '' });
    t.match(reply, { type: /^text\/plain; version=0\.0\.4/, body: /culvert_events_total\{code="FRESH"\} 1/ });
  }
});

t.test('docs/metrics.md has every metric', async t => {
  const metrics = new Metrics(sources);
  const text = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  const names = (await metrics.render())
    .split('\n')
    .filter(line => line.startsWith('# TYPE '))
    .map(line => line.split(' ').slice(2));
  t.ok(names.length > 30);
  for (const [name = '', type = ''] of names) {
    t.match(text, new RegExp(`\\n\\| \`${name}\` +\\| ${type} +\\|`), `${name}, ${type}`);
  }
});

t.test('ten thousand label sets take less than a second of processor time', async t => {
  const metrics = new Metrics(sources);
  const one = shard();
  for (let index = 0; index < 10_000; index += 1) {
    one.traffic.open({ ...peers, source: workload(`w-${index}`) }).sent += index;
  }
  metrics.apply(0, one.snapshot(gauges));
  await metrics.render();
  const before = process.cpuUsage();
  const { length } = await metrics.render();
  const { user, system } = process.cpuUsage(before);
  t.ok(user + system < 1e6, `${Math.round((user + system) / 1e3)} ms for ${length} characters`);
});
