/** Policies of waypoints, from the objects people write to what waypoints follow. */
import t from 'tap';
import { IncrementalBuilder } from '../../control/build-incremental.ts';
import { brief, configured, objectsOf } from '../help/configuration.ts';

const policy = (spec: string, namespace = 'shop', name = 'p'): string =>
  `{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: ${name}, namespace: ${namespace}}, spec: ${spec}}\n---\n`;
const gateway = (name = 'wp', className = 'culvert-waypoint'): string =>
  `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: ${name}, namespace: shop}, spec: {gatewayClassName: ${className}}}\n---\n`;
const service = (name: string, labels = ''): string =>
  `{apiVersion: v1, kind: Service, metadata: {name: ${name}, namespace: shop, labels: {${labels}}}, spec: {clusterIP: 10.96.0.${name.length}, ports: [{port: 80}]}}\n---\n`;
const entry = `{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e, namespace: shop, labels: {culvert.dev/use-waypoint: wp}}, spec: {hosts: [a.example, b.example], ports: [{number: 80, name: http}], resolution: STATIC, endpoints: [{address: 192.0.2.1}]}}\n---\n`;
const world =
  gateway() + service('wp') + service('web', 'culvert.dev/use-waypoint: wp') + service('plain') + entry;

/** Targets of the only policy, and what is said about it. */
function translated(text: string): { targets: unknown; findings: string[] } {
  const { l7, findings } = configured(text);
  return {
    targets: l7.policies[0]?.targets ?? null,
    findings: brief(findings.filter(({ object }) => object?.startsWith('AuthorizationPolicy') === true)).map(
      line => line.replace(/ \d+ /, ' '),
    ),
  };
}

t.test('what a policy is attached to', async t => {
  const group = 'group: gateway.networking.k8s.io';
  const cases: readonly [ref: string, targets: unknown, findings: readonly string[]][] = [
    ['kind: Service, name: web', [{ kind: 'Service', key: 'shop/web.shop.svc.cluster.local' }], []],
    [
      'kind: Service, name: plain',
      [{ kind: 'Service', key: 'shop/plain.shop.svc.cluster.local' }],
      ['warning policy-not-enforced spec.targetRefs[0]'],
    ],
    [
      'kind: Service, name: none',
      [{ kind: 'Service', key: 'shop/none.shop.svc.cluster.local' }],
      ['warning policy-without-workloads spec.targetRefs[0]'],
    ],
    [
      'group: networking.istio.io, kind: ServiceEntry, name: e',
      [
        { kind: 'Service', key: 'shop/a.example' },
        { kind: 'Service', key: 'shop/b.example' },
      ],
      [],
    ],
    [
      'group: networking.istio.io, kind: ServiceEntry, name: f',
      [],
      ['warning policy-without-workloads spec.targetRefs[0]'],
    ],
    [`${group}, kind: Gateway, name: wp`, [{ kind: 'Gateway', namespace: 'shop', name: 'wp' }], []],
    [
      `${group}, kind: Gateway, name: other`,
      [{ kind: 'Gateway', namespace: 'shop', name: 'other' }],
      ['warning policy-without-workloads spec.targetRefs[0]'],
    ],
    [`${group}, kind: GatewayClass, name: culvert-waypoint`, [], ['error invalid-value spec.targetRefs[0]']],
    ['kind: Service, name: web, namespace: bank', [], ['error invalid-value spec.targetRefs[0]']],
    ['kind: Pod, name: web', [], ['error invalid-value spec.targetRefs[0]']],
  ];
  for (const [ref, targets, findings] of cases)
    t.same(
      translated(`${world}${policy(`{targetRefs: [{${ref}}], rules: [{}]}`)}`),
      { targets, findings },
      ref,
    );
  const all = `{targetRefs: [{${group}, kind: GatewayClass, name: istio-waypoint}], rules: [{}]}`;
  t.same(translated(world + policy(all, 'culvert-system')), {
    targets: [{ kind: 'GatewayClass' }],
    findings: [],
  });
  const deprecated = '{targetRef: {kind: Service, name: web}, rules: [{}]}';
  t.match(translated(world + policy(deprecated)), { targets: [{ kind: 'Service' }], findings: [] });
});

t.test('it is for waypoints, and not for nodes', async t => {
  const { l7, mesh } = configured(world + policy('{targetRefs: [{kind: Service, name: web}], rules: [{}]}'));
  t.equal(l7.policies.length, 1);
  t.same(mesh.policies, []);
  t.same(configured(world + policy('{rules: [{}]}')).l7.policies, []);
});

t.test('what makes no sense refuses its file', async t => {
  t.throws(() => objectsOf(policy('{targetRefs: [{kind: Service, name: web}], rules: [{from: []}]}')));
  t.throws(() =>
    objectsOf(
      policy('{targetRefs: [{kind: Service, name: web}], rules: [{to: [{operation: {paths: [a/b]}}]}]}'),
    ),
  );
});

t.test('it is looked at again when what it is attached to comes and goes', async t => {
  const builder = new IncrementalBuilder();
  const said = () =>
    builder
      .findings()
      .filter(({ object }) => object === 'AuthorizationPolicy shop/p')
      .map(({ code }) => code);
  const change = builder.apply({
    set: objectsOf(policy('{targetRefs: [{kind: Service, name: web}], rules: [{}]}')),
    removed: [],
  });
  const policies = change.l7.filter(({ list }) => list === 'policies');
  t.match(policies, [{ list: 'policies', key: 'shop/p', resource: { action: 'ALLOW' } }]);
  t.same(said(), ['policy-without-workloads']);
  builder.apply({ set: objectsOf(service('web', 'culvert.dev/use-waypoint: wp')), removed: [] });
  t.same(said(), ['policy-not-enforced']);
  t.same(builder.apply({ set: objectsOf(gateway()), removed: [] }).l7, [], 'it is what it was');
  t.same(said(), []);
  const [object] = objectsOf(policy('{}'));
  t.match(builder.apply({ set: [], removed: [object ?? t.fail()] as never }).l7, [
    { list: 'policies', key: 'shop/p', resource: null },
  ]);
});

t.test('who is asked by a CUSTOM policy', async t => {
  const config = (providers: object) =>
    `${JSON.stringify({ apiVersion: 'culvert.dev/v1', kind: 'MeshConfig', metadata: { name: 'default' }, spec: { extensionProviders: providers } })}\n---\n`;
  const custom = policy(
    '{targetRefs: [{kind: Service, name: web}], action: CUSTOM, provider: {name: x}, rules: [{}]}',
  );
  const provider = (service: string, more: object = {}) =>
    configured(world + custom + config([{ name: 'x', envoyExtAuthzGrpc: { service, port: 9000, ...more } }]))
      .l7.policies[0]?.authorizer;
  t.match(provider('authz.sec.svc.cluster.local'), {
    name: 'x',
    protocol: 'grpc',
    service: 'sec/authz.sec.svc.cluster.local',
    port: 9000,
    timeoutMs: 1_000,
    failOpen: false,
    statusOnError: 403,
    body: null,
  });
  t.equal(provider('authz.sec')?.service, 'sec/authz.sec.svc.cluster.local');
  t.equal(provider('shop/authz.example')?.service, 'shop/authz.example');
  t.match(provider('a.b', { timeout: '250ms', failOpen: true, statusOnError: '503' }), {
    timeoutMs: 250,
    failOpen: true,
    statusOnError: 503,
  });
  t.same(translated(world + custom).findings, ['error unknown-provider spec.provider.name']);
  t.throws(() => objectsOf(config([{ name: 'x' }])), 'neither');
  const http = { service: 'a.b', port: 1 };
  t.throws(
    () => objectsOf(config([{ name: 'x', envoyExtAuthzGrpc: http, envoyExtAuthzHttp: http }])),
    'both',
  );
});
