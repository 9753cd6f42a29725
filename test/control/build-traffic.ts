/** From the DestinationRules people write to what waypoints do, and for whom each is in force. */
import t from 'tap';
import { IncrementalBuilder } from '../../control/build-incremental.ts';
import { resultOf } from '../../control/build.ts';
import { primeFrom } from '../../control/build-traffic-balance.ts';
import { policyFor, type ServiceTraffic } from '../../model/traffic-policy.ts';
import { TrafficRules } from '../../model/traffic-rules.ts';
import { brief, configured, objectsOf, pod } from '../help/configuration.ts';

const web = 'shop/web.shop.svc.cluster.local';
const mesh = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.10, selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
${pod({ name: 'v1', ip: '10.0.0.1', labels: { app: 'web', version: 'v1' } })}
${pod({ name: 'v2', ip: '10.0.0.2', labels: { app: 'web', version: 'v2' } })}
`;

function rule(spec: string, { name = 'r', namespace = 'shop' } = {}): string {
  return `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: ${name}, namespace: ${namespace} }
spec: ${spec}
`;
}

function traffic(rules: string): { traffic: readonly ServiceTraffic[]; findings: string[] } {
  const { l7, findings } = configured(mesh + rules);
  const about = findings.filter(({ object }) => object?.startsWith('DestinationRule') === true);
  return { traffic: l7.traffic, findings: brief(about).map(line => line.replace(/ \d+ /, ' ')) };
}

function nameFor(all: readonly ServiceTraffic[], client: string): string | null {
  const rules = new TrafficRules();
  rules.replace(all);
  return rules.ruleFor(web, client)?.name ?? null;
}

t.test('every part, with its defaults', async t => {
  const { traffic: all, findings } = traffic(
    rule(`
  host: web
  trafficPolicy:
    loadBalancer: { consistentHash: { httpCookie: { name: user, ttl: 1h } } }
    connectionPool:
      tcp: { maxConnections: 10, connectTimeout: 1.5s, idleTimeout: 10m, tcpKeepalive: { time: 1m } }
      http: { http1MaxPendingRequests: 1, http2MaxRequests: 20, maxRetries: 4294967295, maxRequestsPerConnection: 0, h2UpgradePolicy: UPGRADE }
    outlierDetection: { baseEjectionTime: 1m }
    retryBudget: {}
`),
  );
  t.same(findings, []);
  const policy = all[0]?.rules[0]?.settings.policy;
  t.match(policy, {
    balancing: {
      type: 'hash',
      key: { type: 'cookie', name: 'user', path: '/', ttlMs: 3_600_000 },
      table: { type: 'ring', minimumSize: 1024 },
    },
    locality: { type: 'failover', regions: [] },
    limits: {
      connections: 10,
      pending: 1,
      requests: 20,
      retries: null,
      requestsPerConnection: null,
      connectMs: 1_500,
      idleMs: 600_000,
      tcpIdleMs: 600_000,
      keepAliveMs: 60_000,
      version: 'upgrade',
    },
    outliers: {
      serverErrors: 5,
      gatewayErrors: 0,
      localErrors: null,
      statuses: [[500, 599]],
      intervalMs: 10_000,
      ejectionMs: 60_000,
      maxEjectionPercent: 10,
      minHealthPercent: 0,
    },
    retryBudget: { percent: 20, minimum: 3 },
    refusal: null,
  });
});

t.test('ports are settings of their own, subsets override part by part', async t => {
  const { traffic: all } = traffic(
    rule(`
  host: web
  trafficPolicy:
    loadBalancer: { simple: RANDOM }
    connectionPool: { http: { http2MaxRequests: 7 } }
    portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: ROUND_ROBIN } }]
  subsets:
  - { name: v1, labels: { version: v1 }, trafficPolicy: { connectionPool: { http: { http2MaxRequests: 1 } } } }
  - { name: all }
  - { name: none, labels: { version: v9 } }
`),
  );
  const [found] = all[0]?.rules ?? [];
  const settings = found?.settings;
  t.ok(settings);
  if (settings === undefined) return;
  t.match(policyFor(settings, 80), { balancing: { type: 'round-robin' }, limits: { requests: null } });
  t.match(policyFor(settings, 81), { balancing: { type: 'random' }, limits: { requests: 7 } });
  const [v1, everything, none] = found?.subsets ?? [];
  t.same(v1?.endpoints, ['Kubernetes//Pod/shop/v1']);
  t.match(v1?.settings, {
    policy: { balancing: { type: 'random' }, limits: { requests: 1 } },
    ports: [{ port: 80, policy: { balancing: { type: 'round-robin' }, limits: { requests: 1 } } }],
  });
  t.equal(everything?.endpoints.length, 2);
  t.same(none?.endpoints, []);
});

t.test("a client's own namespace, the service's, the root's; as far as exported", async t => {
  const everywhere = traffic(
    rule('{ host: web }', { name: 'own' }) +
      rule('{ host: web.shop.svc.cluster.local }', { name: 'client', namespace: 'bank' }) +
      rule('{ host: "*.svc.cluster.local" }', { name: 'root', namespace: 'culvert-system' }),
  ).traffic;
  t.equal(nameFor(everywhere, 'shop'), 'DestinationRule shop/own');
  t.equal(nameFor(everywhere, 'bank'), 'DestinationRule bank/client');
  t.equal(nameFor(everywhere, 'other'), 'DestinationRule shop/own');
  const kept = traffic(
    rule('{ host: web, exportTo: ["."] }', { name: 'own' }) +
      rule('{ host: "*.cluster.local", exportTo: [bank] }', { name: 'root', namespace: 'culvert-system' }),
  ).traffic;
  t.equal(nameFor(kept, 'shop'), 'DestinationRule shop/own');
  t.equal(nameFor(kept, 'bank'), 'DestinationRule culvert-system/root');
  t.equal(nameFor(kept, 'other'), null);
  const exact = traffic(
    rule('{ host: "*.cluster.local" }', { name: 'a-wide' }) + rule('{ host: web }', { name: 'b-exact' }),
  );
  t.equal(nameFor(exact.traffic, 'shop'), 'DestinationRule shop/b-exact');
  t.same(exact.findings, ['warning unknown-host spec.host']);
});

t.test('of two with one host the first policy is in force, and the subsets of both', async t => {
  const { traffic: all, findings } = traffic(
    rule('{ host: web, trafficPolicy: { loadBalancer: { simple: RANDOM } }, subsets: [{ name: a }] }', {
      name: 'first',
    }) +
      rule(
        '{ host: web, trafficPolicy: { loadBalancer: { simple: ROUND_ROBIN } }, subsets: [{ name: b }] }',
        { name: 'second' },
      ),
  );
  t.match(all[0]?.rules, [{ settings: { policy: { balancing: { type: 'random' } } } }]);
  t.same(
    all[0]?.rules[0]?.subsets.map(({ name }) => name),
    ['a', 'b'],
  );
  t.same(findings, ['warning shadowed-policy spec.trafficPolicy']);
});

t.test('what can not be done is said, and refuses where leaving it out would weaken', async t => {
  const said = (policy: string) => traffic(rule(`{ host: web, trafficPolicy: ${policy} }`));
  for (const [policy, finding, refused] of [
    ['{ tls: { mode: MUTUAL } }', 'error unsupported-value spec.trafficPolicy.tls.mode', true],
    [
      '{ tunnel: { targetHost: a, targetPort: 1 } }',
      'error unsupported-value spec.trafficPolicy.tunnel',
      true,
    ],
    ['{ proxyProtocol: {} }', 'error unsupported-value spec.trafficPolicy.proxyProtocol', true],
    ['{ tls: { mode: DISABLE } }', 'info unsupported-value spec.trafficPolicy.tls.mode', false],
    [
      '{ loadBalancer: { simple: PASSTHROUGH } }',
      'warning unsupported-value spec.trafficPolicy.loadBalancer.simple',
      false,
    ],
    [
      '{ loadBalancer: { localityLbSetting: { failover: [{ from: a, to: b }] } } }',
      'warning unsupported-value spec.trafficPolicy.loadBalancer.localityLbSetting',
      false,
    ],
    [
      '{ outlierDetection: {}, loadBalancer: { localityLbSetting: { failoverPriority: [topology.kubernetes.io/zone, team] } } }',
      'warning unsupported-value spec.trafficPolicy.loadBalancer.localityLbSetting.failoverPriority[1]',
      false,
    ],
  ] as const) {
    const { traffic: all, findings } = said(policy);
    t.same(findings, [finding]);
    t.equal(all[0]?.rules[0]?.settings.policy.refusal !== null, refused, policy);
  }
  t.equal(said('{ tls: { mode: ISTIO_MUTUAL } }').traffic[0]?.rules[0]?.settings.policy.tunnelOnly, true);
  const selector = traffic(rule('{ host: web, workloadSelector: { matchLabels: { a: b } } }'));
  t.same(selector.traffic, []);
  t.same(selector.findings, ['error unsupported-value spec.workloadSelector']);
  t.same(traffic(rule('{ host: nobody }')).findings, ['warning unknown-host spec.host']);
});

t.test('subsets follow the labels of endpoints, and services that come and go', async t => {
  const rules = rule('{ host: web, subsets: [{ name: v1, labels: { version: v1 } }] }');
  const builder = new IncrementalBuilder();
  builder.apply({ set: objectsOf(mesh + rules), removed: [] });
  const later = objectsOf(pod({ name: 'v2', ip: '10.0.0.2', labels: { app: 'web', version: 'v1' } }));
  const changed = builder.apply({ set: later, removed: [] });
  t.match(changed.l7, [
    {
      list: 'traffic',
      key: web,
      resource: {
        rules: [{ subsets: [{ endpoints: ['Kubernetes//Pod/shop/v1', 'Kubernetes//Pod/shop/v2'] }] }],
      },
    },
  ]);
  const [service] = objectsOf(mesh);
  if (service === undefined) throw new Error('no service');
  const gone = builder.apply({ set: [], removed: [service] });
  t.match(gone.l7, [{ list: 'traffic', key: web, resource: null }]);
  t.ok([...gone.findings.values()].flat().some(({ code }) => code === 'unknown-host'));
  const back = builder.apply({ set: [service], removed: [] });
  t.equal(back.l7.length, 1);
  t.same(
    resultOf(builder).l7.traffic,
    configured(mesh.replaceAll('version":"v2', 'version":"v1') + rules).l7.traffic,
  );
});

t.test('a table has a prime size', async t => {
  t.same([2, 3, 4, 65_537, 100].map(primeFrom), [2, 3, 5, 65_537, 101]);
});
