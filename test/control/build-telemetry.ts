/** What Telemetry objects and MeshConfig mean for the requests to a service. */
import t from 'tap';
import { telemetryFor } from '../../model/telemetry.ts';
import { brief, configured } from '../help/configuration.ts';

function telemetry(name: string, spec: object, namespace = 'shop', created?: string): string {
  const metadata = { name, namespace, creationTimestamp: created };
  return `${JSON.stringify({ apiVersion: 'telemetry.istio.io/v1', kind: 'Telemetry', metadata, spec })}\n---\n`;
}

function meshConfig(spec: object): string {
  const metadata = { name: 'default' };
  return `${JSON.stringify({ apiVersion: 'culvert.dev/v1', kind: 'MeshConfig', metadata, spec })}\n---\n`;
}

const collectors = [
  { name: 'main', service: 'otel.watch.svc.cluster.local' },
  {
    name: 'other',
    service: 'jaeger.example',
    namespace: 'watch',
    port: 14318,
    path: '/t',
    headers: { a: 'b' },
  },
];
const config = meshConfig({ tracing: { collectors, collector: 'main', samplingPercentage: 50 } });
const web = 'shop/web.shop.svc.cluster.local';

function settings(text: string, service: string | null = web) {
  return telemetryFor(configured(text).l7.telemetry, service, 'shop/wp');
}

function said(text: string): string[] {
  return brief(configured(text).findings).filter(line => /telemetry|collector|targetRef/.test(line));
}

t.test('without a word there are no spans, and every request has a line', async t => {
  t.same(settings(''), { tracing: null, accessLog: { enabled: true, filter: null }, metrics: [] });
});

t.test('MeshConfig names collectors and the usual one', async t => {
  t.match(settings(config).tracing, {
    collector: { service: 'watch/otel.watch.svc.cluster.local', port: 4318, path: '/v1/traces' },
    share: 0.5,
  });
  const other = telemetry('a', { tracing: [{ providers: [{ name: 'other' }] }] });
  t.match(settings(config + other).tracing, {
    collector: { service: 'watch/jaeger.example', port: 14318, path: '/t', headers: [['a', 'b']] },
    share: 0.5,
  });
});

t.test('the nearer wins, field by field', async t => {
  const mesh = telemetry('mesh', { tracing: [{ randomSamplingPercentage: 10 }] }, 'culvert-system');
  const space = telemetry('space', {
    tracing: [{ customTags: { team: { literal: { value: 'shop' } } } }],
    accessLogging: [{ disabled: true }],
  });
  const ref = [{ kind: 'Service', name: 'web' }];
  const target = telemetry('web', { targetRefs: ref, accessLogging: [{ disabled: false }] });
  const gateway = telemetry('wp', {
    targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'wp' }],
    tracing: [{ disableSpanReporting: true }],
  });
  const all = config + mesh + space + target + gateway;
  t.match(settings(all), {
    tracing: { share: 0.1, tags: [{ name: 'team', from: 'literal', value: 'shop' }] },
    accessLog: { enabled: true },
  });
  t.match(settings(all, 'shop/api.shop.svc.cluster.local'), { tracing: null, accessLog: { enabled: false } });
  t.match(settings(all, null).tracing, null, 'traffic to a workload has the waypoint itself');
  const elsewhere = telemetry('far', { accessLogging: [{ disabled: true }] }, 'bank');
  t.equal(settings(elsewhere).accessLog.enabled, true, 'another namespace');
});

t.test('of two that are equally near, the older', async t => {
  const young = telemetry('a', { accessLogging: [{ disabled: true }] }, 'shop', '2026-01-02T00:00:00Z');
  const old = telemetry('b', { accessLogging: [{ disabled: false }] }, 'shop', '2026-01-01T00:00:00Z');
  t.equal(settings(young + old).accessLog.enabled, true);
});

t.test('metrics', async t => {
  const text = telemetry('a', {
    metrics: [
      {
        overrides: [
          { match: { metric: 'REQUEST_COUNT', mode: 'SERVER' }, disabled: true },
          { match: { mode: 'CLIENT' }, disabled: true },
          { tagOverrides: { host: { value: 'request.host' }, source_app: { operation: 'REMOVE' } } },
        ],
      },
    ],
  });
  t.same(settings(text).metrics, [
    { metric: 'requests', disabled: true, labels: [] },
    {
      metric: null,
      disabled: false,
      labels: [
        ['host', 'request.host'],
        ['source_app', null],
      ],
    },
  ]);
  t.same(said(text), []);
});

t.test('what is not in force is said', async t => {
  const text = telemetry('bad', {
    tracing: [
      {
        providers: [{ name: 'nobody' }],
        useRequestIdForTraceSampling: true,
        customTags: { a: { formatter: { value: 'x' } } },
      },
      {},
    ],
    metrics: [
      { overrides: [{ match: { metric: 'TCP_SENT_BYTES' }, disabled: true }] },
      { overrides: [{ tagOverrides: { x: { value: 'request.' } } }] },
    ],
    accessLogging: [{ filter: { expression: 'respond.code > 400' } }],
  });
  t.same(
    said(config + text)
      .map(line => line.split(' ').slice(0, 2).join(' '))
      .sort(),
    [
      'error telemetry-expression',
      'error telemetry-expression',
      'error unknown-collector',
      'info telemetry-unsupported',
      'warning telemetry-unsupported',
      'warning telemetry-unsupported',
      'warning telemetry-unsupported',
    ],
  );
  t.match(settings(config + text), { accessLog: { filter: null }, metrics: [{ labels: [] }] });
  t.same(said(telemetry('s', { selector: { matchLabels: { app: 'web' } } })).length, 1);
  t.same(said(telemetry('k', { targetRefs: [{ kind: 'Pod', name: 'a' }] })).length, 1);
});

const service = `${JSON.stringify({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop', labels: { 'culvert.dev/use-waypoint': 'wp' } },
  spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
})}\n---\n${JSON.stringify({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'wp', namespace: 'shop' },
  spec: { gatewayClassName: 'culvert-waypoint' },
})}\n---\n`;

t.test('what it is attached to is found as for policies', async t => {
  const ref = { kind: 'Service', name: 'web' };
  const off = { accessLogging: [{ disabled: true }] };
  t.same(said(service + telemetry('a', { targetRefs: [ref], ...off })), []);
  t.match(said(telemetry('a', { targetRefs: [ref], ...off })), [/^warning policy-without-workloads/]);
  const other = { targetRefs: [{ ...ref, namespace: 'bank' }], ...off };
  t.match(said(service + telemetry('a', other)), [/^error invalid-value \d+ spec\.targetRefs\[0\]/]);
  const group = 'networking.istio.io';
  const entry = { targetRefs: [{ group, kind: 'ServiceEntry', name: 'out' }], ...off };
  const host = `${JSON.stringify({
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name: 'out', namespace: 'shop', labels: { 'culvert.dev/use-waypoint': 'wp' } },
    spec: {
      hosts: ['example.org'],
      ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
      resolution: 'DNS',
    },
  })}\n---\n`;
  t.equal(settings(service + host + telemetry('a', entry), 'shop/example.org').accessLog.enabled, false);
  const all = { group: 'gateway.networking.k8s.io', kind: 'GatewayClass', name: 'culvert-waypoint' };
  const root = telemetry('a', { targetRefs: [all], ...off }, 'culvert-system');
  t.equal(settings(root).accessLog.enabled, false);
  t.equal(settings(telemetry('a', { targetRefs: [all], ...off })).accessLog.enabled, true, 'not of the root');
});

t.test('of two that are equally near, one is told that it is in force for nothing', async t => {
  const off = { accessLogging: [{ disabled: true }] };
  const old = '2026-01-01T00:00:00Z';
  const two = telemetry('b', off, 'shop', old) + telemetry('a', off, 'shop', '2026-01-02T00:00:00Z');
  t.same(said(two), ['error telemetry-conflict 3 spec']);
  t.same(said(telemetry('a', off) + telemetry('b', off, 'bank')), []);
  const ref = { kind: 'Service', name: 'web' };
  const gateway = { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'wp' };
  const partly =
    telemetry('b', { targetRefs: [ref], ...off }, 'shop', old) +
    telemetry('a', { targetRefs: [ref, gateway], ...off }, 'shop', '2026-01-02T00:00:00Z');
  t.match(said(service + partly), [/^warning telemetry-conflict/]);
});
