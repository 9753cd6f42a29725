import t from 'tap';
import { SeriesTotals, type Labels } from '../../base/series.ts';
import { settleTraffic, TrafficMetrics } from '../../agent/traffic-metrics.ts';
import type { TrafficPeers } from '../../model/traffic-labels.ts';
import { service, workload } from '../model/objects.ts';

const web = workload('web-1', { workloadName: 'web', canonicalName: 'web', canonicalRevision: 'v2' });
const db = workload('db-0', { namespace: 'data', workloadName: 'db', canonicalName: 'db' });
const peers: TrafficPeers = {
  reporter: 'source',
  source: web,
  destination: db,
  service: service('db', { namespace: 'data' }),
  sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/web',
  destinationIdentity: 'spiffe://cluster.local/ns/data/sa/db',
  mutualTls: true,
};

/** What the main thread would know. */
function collected(metrics: TrafficMetrics): { labels: Labels; values: readonly number[] }[] {
  const totals = new SeriesTotals({ expireMs: 1, now: () => 0 });
  totals.apply(1, metrics.snapshot().series);
  return totals.rows();
}

t.test('the labels are those of ambient meshes, exactly', async t => {
  const metrics = new TrafficMetrics();
  metrics.open(peers);
  t.strictSame(collected(metrics)[0]?.labels, {
    reporter: 'source',
    source_workload: 'web',
    source_canonical_service: 'web',
    source_canonical_revision: 'v2',
    source_workload_namespace: 'shop',
    source_principal: 'spiffe://cluster.local/ns/shop/sa/web',
    source_app: 'web',
    source_version: 'v2',
    source_cluster: 'Kubernetes',
    destination_service: 'db.data.svc.cluster.local',
    destination_service_namespace: 'data',
    destination_service_name: 'db',
    destination_workload: 'db',
    destination_canonical_service: 'db',
    destination_canonical_revision: 'latest',
    destination_workload_namespace: 'data',
    destination_principal: 'spiffe://cluster.local/ns/data/sa/db',
    destination_app: 'db',
    destination_version: 'latest',
    destination_cluster: 'Kubernetes',
    request_protocol: 'tcp',
    response_flags: '-',
    connection_security_policy: 'mutual_tls',
  });
});

t.test('what is not known is unknown, and zones appear only where there are any', async t => {
  const nobody = {
    source: null,
    destination: null,
    service: null,
    sourceIdentity: null,
    destinationIdentity: null,
    mutualTls: false,
  };
  const metrics = new TrafficMetrics();
  metrics.open({ ...nobody, reporter: 'destination' });
  const labels = collected(metrics)[0]?.labels ?? {};
  t.equal(Object.values(labels).filter(value => value === 'unknown').length, 20);
  t.match(labels, {
    reporter: 'destination',
    request_protocol: 'tcp',
    response_flags: '-',
    connection_security_policy: 'unknown',
  });
  const zoned = new TrafficMetrics();
  zoned.open({ ...peers, source: { ...web, locality: { region: 'r1', zone: 'z1', subzone: '' } } });
  t.match(collected(zoned)[0]?.labels, {
    source_region: 'r1',
    source_zone: 'z1',
    destination_region: 'unknown',
    destination_zone: 'unknown',
  });
});

t.test('connections of one pair share a handle, and its fields are what is told', async t => {
  const metrics = new TrafficMetrics();
  const handle = metrics.open({ ...peers });
  t.equal(metrics.open({ ...peers }), handle);
  t.not(metrics.open({ ...peers, mutualTls: false }), handle);
  t.not(metrics.open({ ...peers, sourceIdentity: null }), handle);
  t.not(metrics.open({ ...peers, service: null }), handle);
  t.not(metrics.open({ ...peers, reporter: 'destination' }), handle);
  handle.received += 100;
  handle.sent += 5_000_000_000;
  metrics.close(handle);
  t.strictSame(collected(metrics)[0]?.values, [2, 1, 0, 100, 5_000_000_000]);
  t.strictSame(metrics.snapshot().open, { source: 4, destination: 1 });
});

t.test('a workload object that was replaced keeps its series', async t => {
  const metrics = new TrafficMetrics();
  const before = metrics.open(peers);
  t.equal(metrics.open({ ...peers, source: { ...web, status: 'UNHEALTHY' } }), before, 'by its labels');
  t.not(
    metrics.open({ ...peers, source: { ...web, canonicalRevision: 'v3' } }),
    before,
    'unless they differ',
  );
});

t.test('failures have series of their own', async t => {
  const metrics = new TrafficMetrics();
  const handle = metrics.open(peers);
  metrics.fail(peers, 'DENY');
  metrics.fail(peers, 'DENY');
  metrics.fail(peers, 'CONNECT');
  metrics.close(handle);
  t.strictSame(
    collected(metrics).map(({ labels, values }) => [labels.response_flags, ...values]),
    [
      ['-', 1, 1, 0, 0, 0],
      ['DENY', 0, 0, 2, 0, 0],
      ['CONNECT', 0, 0, 1, 0, 0],
    ],
  );
});

t.test('label sets are bounded', async t => {
  const metrics = new TrafficMetrics({ maxSeries: 3 });
  const others = Array.from({ length: 50 }, (_, at) => ({ ...peers, source: workload(`w-${at}`) }));
  for (const other of others) metrics.open(other).sent += 1;
  for (const other of others) metrics.open(other).sent += 1;
  const rows = collected(metrics);
  t.equal(rows.length, 4);
  t.match(rows[3], {
    labels: { reporter: 'source', source_workload: 'overflow', response_flags: '-' },
    values: [94, 0, 0, 0, 94],
  });
});

t.test('a series expires when it has no connection and was not counted on', async t => {
  let now = 0;
  const metrics = new TrafficMetrics({ expireMs: 1_000, now: () => now });
  const totals = new SeriesTotals({ expireMs: 1_000, now: () => now });
  const handle = metrics.open(peers);
  const report = (): number => {
    totals.apply(1, metrics.snapshot().series);
    return totals.rows().length;
  };
  t.equal(report(), 1);
  now = 5_000;
  t.equal(report(), 1, 'the connection is open');
  handle.sent += 1;
  metrics.close(handle);
  t.equal(report(), 1);
  now = 6_000;
  t.equal(report(), 0);
  const anew = metrics.open(peers);
  t.not(anew, handle, 'a new connection gets a living series');
  t.equal(report(), 1);
});

t.test('a dead shard has no open connections', async t => {
  t.strictSame(settleTraffic([10, 4, 1, 100, 200]), [10, 10, 1, 100, 200]);
});
