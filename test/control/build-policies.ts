import t from 'tap';
import { brief, configured, pod } from '../help/configuration.ts';

const policy = (name: string, spec: string, namespace = 'shop', metadata = ''): string =>
  `{apiVersion: culvert.dev/v1, kind: AuthorizationPolicy, metadata: {name: ${name}, namespace: ${namespace}, ${metadata}}, spec: ${spec}}\n---\n`;
const peer = (name: string, spec: string, namespace = 'shop', metadata = ''): string =>
  policy(name, spec, namespace, metadata).replace('AuthorizationPolicy', 'PeerAuthentication');
const root = 'culvert-system';

const web = pod({ name: 'web', labels: { app: 'web' } });
const api = pod({ name: 'api', ip: '10.0.0.2', labels: { app: 'api' } });
const other = pod({ name: 'web', namespace: 'other', ip: '10.0.0.3', labels: { app: 'web' } });
const pods = web + api + other;

/** The policies by scope, and which workload refers to which. */
function attached(text: string): { policies: string[]; names: Record<string, readonly string[]> } {
  const { mesh } = configured(text);
  const refer = mesh.workloads.filter(({ authorizationPolicies }) => authorizationPolicies.length > 0);
  return {
    policies: mesh.policies.map(({ namespace, name, scope }) => `${namespace}/${name} ${scope}`),
    names: Object.fromEntries(
      refer.map(({ namespace, name, authorizationPolicies }) => [
        `${namespace}/${name}`,
        authorizationPolicies,
      ]),
    ),
  };
}

t.test('a selector attaches a policy to the workloads of its namespace that it chooses', async t => {
  t.same(attached(pods + policy('p', '{selector: {matchLabels: {app: web}}}')), {
    policies: ['shop/p WORKLOAD_SELECTOR'],
    names: { 'shop/web': ['shop/p'] },
  });
});

t.test('without a selector it is for the namespace, in the root namespace for the mesh', async t => {
  t.same(
    attached(pods + policy('p', '{}') + policy('q', '{selector: {}}', 'other') + policy('r', '{}', root)),
    {
      policies: ['culvert-system/r GLOBAL', 'other/q NAMESPACE', 'shop/p NAMESPACE'],
      names: {},
    },
  );
  const config =
    '{apiVersion: culvert.dev/v1, kind: MeshConfig, metadata: {name: default}, spec: {rootNamespace: shop}}\n---\n';
  t.same(attached(config + pods + policy('p', '{}')).policies, ['shop/p GLOBAL']);
});

t.test('a selector in the root namespace chooses in all of them', async t => {
  t.same(attached(pods + policy('p', '{selector: {matchLabels: {app: web}}}', root)).names, {
    'other/web': ['culvert-system/p'],
    'shop/web': ['culvert-system/p'],
  });
});

t.test('names are sorted, whatever the order of the files', async t => {
  const select = '{selector: {matchLabels: {app: web}}}';
  t.same(attached(pods + policy('b', select) + policy('a', select)).names, {
    'shop/web': ['shop/a', 'shop/b'],
  });
});

t.test('rules arrive as they are written', async t => {
  const rules = '[{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ["80"]}}]}]';
  const [built] = configured(pods + policy('p', `{action: DENY, rules: ${rules}}`)).mesh.policies;
  t.match(built, {
    action: 'DENY',
    dryRun: false,
    rules: [
      {
        clauses: [
          { matches: [{ namespaces: [{ kind: 'exact', value: 'shop' }] }] },
          { matches: [{ destinationPorts: [80] }] },
        ],
      },
    ],
  });
  const dry = policy('p', '{}', 'shop', 'annotations: {culvert.dev/dry-run: "true"}');
  t.match(configured(pods + dry), { mesh: { policies: [{ dryRun: true }] }, findings: [] });
});

t.test('STRICT becomes a policy that the workloads refer to', async t => {
  const { policies, names } = attached(pods + peer('strict', '{mtls: {mode: STRICT}}'));
  t.same(policies, ['culvert-system/istio_converted_static_strict WORKLOAD_SELECTOR']);
  t.same(names, {
    'shop/api': ['culvert-system/istio_converted_static_strict'],
    'shop/web': ['culvert-system/istio_converted_static_strict'],
  });
  const ports =
    '{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {"8080": {mode: PERMISSIVE}}}';
  t.same(attached(pods + peer('web', ports)).names, {
    'shop/web': ['shop/converted_peer_authentication_web'],
  });
});

t.test('the older of two for one namespace counts', async t => {
  const at = (time: string): string => `creationTimestamp: "2026-11-21T0${time}:00:00Z"`;
  const strict = peer('a', '{mtls: {mode: STRICT}}', 'shop', at('9'));
  const permissive = peer('b', '{mtls: {mode: PERMISSIVE}}', 'shop', at('8'));
  t.same(attached(pods + strict + permissive).names, {});
  t.match(configured(pods + strict + permissive).findings, [
    { code: 'not-applied', object: 'PeerAuthentication shop/a', line: 7 },
  ]);
});

t.test('what a node does not enforce is said where it stands', async t => {
  const cases: readonly (readonly [text: string, findings: readonly string[], policies: number])[] = [
    [policy('p', '{action: AUDIT}'), ['warning unsupported-value 3 spec.action'], 0],
    [policy('p', '{action: CUSTOM, provider: {name: x}}'), ['error unsupported-value 3 spec.action'], 0],
    [
      policy('p', '{targetRefs: [{kind: Service, name: web}]}'),
      ['warning policy-without-workloads 3 spec.targetRefs[0]'],
      0,
    ],
    [
      policy('p', '{rules: [{to: [{operation: {methods: [GET]}}]}]}'),
      ['warning l7-rule-ignored 3 spec.rules[0].to[0].operation.methods'],
      1,
    ],
    [
      policy('p', '{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}'),
      ['warning l7-rule-denies-all 3 spec.rules[0].to[0].operation.methods'],
      1,
    ],
    [peer('p', '{mtls: {mode: DISABLE}}'), ['warning unsupported-value 3 spec.mtls.mode'], 1],
    [
      peer('p', '{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}', root),
      ['error not-applied 3 spec.selector'],
      1,
    ],
  ];
  for (const [text, findings, policies] of cases) {
    const built = configured(web + text);
    t.same(brief(built.findings), findings, text);
    t.equal(built.mesh.policies.length, policies);
  }
});

t.test('policies that are in force nowhere, or not everywhere', async t => {
  const select = '{selector: {matchLabels: {app: web}}}';
  const out = pod({ name: 'out', ip: '10.0.0.9', metadata: { labels: { app: 'web' } } });
  const cases: readonly (readonly [text: string, findings: readonly string[]])[] = [
    [
      web + policy('p', '{selector: {matchLabels: {app: none}}}'),
      ['warning policy-without-workloads 3 spec.selector'],
    ],
    [
      web + peer('p', '{selector: {matchLabels: {app: none}}}'),
      ['warning policy-without-workloads 3 spec.selector'],
    ],
    [web + policy('p', '{}', 'empty'), ['warning policy-without-workloads 3 null']],
    [policy('p', '{}', root), []],
    [out + policy('p', select), ['warning policy-not-enforced 3 spec.selector']],
    [web + out + policy('p', select), ['warning policy-not-enforced 5 spec.selector']],
    [out + policy('p', '{}'), ['warning policy-not-enforced 3 null']],
    [web + out + policy('p', '{}'), [], 'some of a namespace may well be out'],
    [web + policy('p', select), []],
  ].map(([text, findings]) => [text as string, findings as string[]]);
  for (const [text, findings] of cases) t.same(brief(configured(text).findings), findings, text);
});

t.test('two PeerAuthentications that choose one pod are both told of', async t => {
  const select = '{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}';
  t.same(brief(configured(web + peer('a', select) + peer('b', select)).findings), [
    'warning overlapping-selectors 3 spec.selector',
    'warning overlapping-selectors 5 spec.selector',
  ]);
});

t.test('pods in the network of their node have no policies', async t => {
  const host = pod({
    name: 'h',
    ip: '172.18.0.3',
    metadata: { labels: { app: 'web' } },
    spec: { hostNetwork: true },
  });
  const { names } = attached(
    host +
      web +
      policy('r', '{selector: {matchLabels: {app: web}}}', root) +
      policy('p', '{selector: {matchLabels: {app: web}}}') +
      peer('s', '{mtls: {mode: STRICT}}'),
  );
  t.same(Object.keys(names), ['shop/web']);
});
