import * as fc from 'fast-check';
import t from 'tap';
import { peerAuthenticationPolicies } from '../../model/peer-authentication.ts';
import type {
  MtlsMode,
  PeerAuthenticationInput,
  PeerAuthenticationSpec,
} from '../../model/peer-authentication.ts';
import { decide, policyKey } from '../../model/policy.ts';
import { connection } from './objects.ts';

const root = 'culvert-system';
const strict = `${root}/istio_converted_static_strict`;
const web = { namespace: 'shop', labels: { app: 'web' } };
const db = { namespace: 'shop', labels: { app: 'db' } };

function object(
  namespace: string,
  name: string,
  spec: PeerAuthenticationSpec,
  created: string | null = null,
): PeerAuthenticationInput {
  return { name, namespace, creationTimestamp: created, spec };
}

function mode(mode: MtlsMode): PeerAuthenticationSpec {
  return { mtls: { mode } };
}

const toWeb = { selector: { matchLabels: { app: 'web' } } };

/** Whether plaintext gets to a port of a workload, by the policies that were made. */
function plaintextPasses(
  result: ReturnType<typeof peerAuthenticationPolicies>,
  workload: typeof web,
  port: number,
): boolean {
  const names = result.namesFor(workload);
  const policies = result.policies.filter(policy => names.includes(policyKey(policy)));
  t.equal(policies.length, names.length, 'every name has its policy');
  t.equal(decide(policies, connection({ destinationPort: port })).allowed, true, 'an identity always passes');
  return decide(policies, connection({ sourceIdentity: null, destinationPort: port })).allowed;
}

t.test('without any object workloads are permissive and there is no policy', async t => {
  const result = peerAuthenticationPolicies([], root);
  t.strictSame(result.policies, []);
  t.strictSame(result.namesFor(web), []);
  t.equal(result.modeFor(web, 80), 'PERMISSIVE');
});

t.test('STRICT is the static policy that denies what has no identity', async t => {
  const result = peerAuthenticationPolicies([object('shop', 'default', mode('STRICT'))], root);
  t.strictSame(result.namesFor(web), [strict]);
  t.strictSame(result.namesFor({ namespace: 'bank', labels: {} }), []);
  t.match(result.policies, [
    { namespace: root, name: 'istio_converted_static_strict', scope: 'WORKLOAD_SELECTOR', action: 'DENY' },
  ]);
  t.equal(plaintextPasses(result, web, 80), false);
  t.equal(result.modeFor(web, 80), 'STRICT');
});

/** Modes of mesh, namespace, workload and port 80 (null: no such object or entry), and what results. */
const precedence: readonly (readonly [
  MtlsMode | null,
  MtlsMode | null,
  MtlsMode | null,
  MtlsMode | null,
  'STRICT' | 'PERMISSIVE',
])[] = [
  [null, null, null, null, 'PERMISSIVE'],
  ['UNSET', null, null, null, 'PERMISSIVE'],
  ['STRICT', null, null, null, 'STRICT'],
  ['STRICT', 'PERMISSIVE', null, null, 'PERMISSIVE'],
  ['STRICT', 'DISABLE', null, null, 'PERMISSIVE'],
  ['STRICT', 'UNSET', null, null, 'STRICT'],
  ['PERMISSIVE', 'STRICT', null, null, 'STRICT'],
  ['PERMISSIVE', 'STRICT', 'PERMISSIVE', null, 'PERMISSIVE'],
  ['PERMISSIVE', 'STRICT', 'UNSET', null, 'STRICT'],
  ['STRICT', 'UNSET', 'UNSET', null, 'STRICT'],
  [null, null, 'STRICT', null, 'STRICT'],
  [null, null, 'STRICT', 'PERMISSIVE', 'PERMISSIVE'],
  [null, null, 'STRICT', 'DISABLE', 'PERMISSIVE'],
  [null, null, 'STRICT', 'UNSET', 'STRICT'],
  [null, null, 'PERMISSIVE', 'STRICT', 'STRICT'],
  [null, 'STRICT', 'UNSET', 'PERMISSIVE', 'PERMISSIVE'],
  ['STRICT', null, 'UNSET', 'UNSET', 'STRICT'],
  ['STRICT', 'PERMISSIVE', 'UNSET', 'STRICT', 'STRICT'],
];

for (const [mesh, namespace, workload, port, expected] of precedence) {
  t.test(`mesh ${mesh}, namespace ${namespace}, workload ${workload}, port ${port}: ${expected}`, async t => {
    const objects: PeerAuthenticationInput[] = [];
    if (mesh !== null) objects.push(object(root, 'default', mode(mesh)));
    if (namespace !== null) objects.push(object('shop', 'default', mode(namespace)));
    if (workload !== null) {
      const ports = port === null ? {} : { portLevelMtls: { 80: { mode: port } } };
      objects.push(object('shop', 'web', { ...toWeb, ...mode(workload), ...ports }));
    }
    const result = peerAuthenticationPolicies(objects, root);
    t.equal(result.modeFor(web, 80), expected);
    t.equal(plaintextPasses(result, web, 80), expected === 'PERMISSIVE', 'the policies say the same');
  });
}

t.test('ports that differ become a policy of their own, in place of the static one', async t => {
  const ports = { 9090: { mode: 'PERMISSIVE' }, 80: { mode: 'PERMISSIVE' }, 81: { mode: 'STRICT' } } as const;
  const result = peerAuthenticationPolicies(
    [object('shop', 'web', { ...toWeb, ...mode('STRICT'), portLevelMtls: ports })],
    root,
  );
  t.strictSame(result.namesFor(web), ['shop/converted_peer_authentication_web']);
  t.strictSame(result.namesFor(db), []);
  const converted = result.policies.find(policy => policy.name === 'converted_peer_authentication_web');
  const parts = converted?.rules.map(rule => rule.clauses.flatMap(clause => clause.matches));
  t.match(parts, [
    [
      { notPrincipals: [{ kind: 'presence' }] },
      { notDestinationPorts: [80] },
      { notDestinationPorts: [9090] },
    ],
  ]);
  t.equal(plaintextPasses(result, web, 9090), true);
  t.equal(plaintextPasses(result, web, 81), false);
  t.equal(plaintextPasses(result, web, 1), false);
});

t.test('strict ports of a permissive workload are a rule each', async t => {
  const ports = { 9090: { mode: 'STRICT' }, 80: { mode: 'STRICT' } } as const;
  const result = peerAuthenticationPolicies(
    [object('shop', 'web', { ...toWeb, portLevelMtls: ports })],
    root,
  );
  const converted = result.policies.find(policy => policy.name === 'converted_peer_authentication_web');
  t.match(converted?.rules, [
    { clauses: [{ matches: [{ notPrincipals: [{ kind: 'presence' }], destinationPorts: [80] }] }] },
    { clauses: [{ matches: [{ destinationPorts: [9090] }] }] },
  ]);
  t.equal(plaintextPasses(result, web, 80), false);
  t.equal(plaintextPasses(result, web, 81), true);
});

t.test('ports that all have the mode of the workload need no policy of their own', async t => {
  const strictPorts = { ...toWeb, ...mode('STRICT'), portLevelMtls: { 80: { mode: 'STRICT' } } } as const;
  t.strictSame(peerAuthenticationPolicies([object('shop', 'web', strictPorts)], root).namesFor(web), [
    strict,
  ]);
});

t.test('the oldest of one level counts; the others are named', async t => {
  const young = object('shop', 'a', mode('PERMISSIVE'), '2026-02-01T00:00:00Z');
  const old = object('shop', 'b', mode('STRICT'), '2026-01-31T23:59:59Z');
  const result = peerAuthenticationPolicies([young, old], root);
  t.equal(result.modeFor(web, 80), 'STRICT');
  t.match(result.findings, [{ severity: 'error', code: 'not-applied', object: 'shop/a' }]);
  const ageless = object('shop', 'c', mode('PERMISSIVE'));
  t.equal(
    peerAuthenticationPolicies([old, ageless], root).modeFor(web, 80),
    'PERMISSIVE',
    'no age is oldest',
  );
  const first = object('shop', 'a', { ...toWeb, ...mode('STRICT') });
  const second = object('shop', 'b', { ...toWeb, ...mode('PERMISSIVE') });
  t.equal(peerAuthenticationPolicies([second, first], root).modeFor(web, 80), 'STRICT', 'then by name');
});

t.test('what has no effect is named', async t => {
  const found = (spec: PeerAuthenticationSpec, namespace = 'shop'): string[] =>
    peerAuthenticationPolicies([object(namespace, 'x', spec)], root).findings.map(
      f => `${f.severity} ${f.code} ${f.field}`,
    );
  t.strictSame(found(mode('DISABLE')), ['warning unsupported-value spec.mtls.mode']);
  t.strictSame(found({ ...toWeb, portLevelMtls: { 80: { mode: 'DISABLE' } } }), [
    'warning unsupported-value spec.portLevelMtls["80"].mode',
  ]);
  t.strictSame(found({ portLevelMtls: { 80: { mode: 'STRICT' } } }), [
    'error not-applied spec.portLevelMtls',
  ]);
  t.strictSame(found({ ...toWeb, portLevelMtls: { http: { mode: 'STRICT' } } }), [
    'error invalid-value spec.portLevelMtls["http"]',
  ]);
  t.strictSame(found({ ...toWeb, ...mode('STRICT') }, root), ['error not-applied spec.selector']);
  t.strictSame(found(mode('STRICT')), []);
  const inRoot = peerAuthenticationPolicies([object(root, 'x', { ...toWeb, ...mode('STRICT') })], root);
  t.equal(inRoot.modeFor(web, 80), 'PERMISSIVE');
  t.equal(inRoot.modeFor({ ...web, namespace: root }, 80), 'PERMISSIVE');
});

const anyMode = fc.constantFrom<MtlsMode>('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT');
const anySpec = fc.record({
  selector: fc.constantFrom({ matchLabels: { app: 'web' } }, { matchLabels: {} }, undefined),
  mtls: fc.option(fc.record({ mode: anyMode }), { nil: undefined }),
  portLevelMtls: fc.dictionary(fc.constantFrom('80', '81'), fc.record({ mode: anyMode })),
});
const anyObject = fc.record({
  name: fc.constantFrom('a', 'b', 'c'),
  namespace: fc.constantFrom('shop', root),
  creationTimestamp: fc.constantFrom(null, '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'),
  spec: anySpec,
});

t.test('the policies a workload gets do exactly what its mode says, for any set of objects', async () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(anyObject, { selector: o => `${o.namespace}/${o.name}`, maxLength: 6 }),
      objects => {
        const result = peerAuthenticationPolicies(objects, root);
        for (const workload of [web, db]) {
          const names = result.namesFor(workload);
          const policies = result.policies.filter(policy => names.includes(policyKey(policy)));
          if (policies.length !== names.length) return false;
          for (const port of [80, 81, 82]) {
            const plaintext = decide(
              policies,
              connection({ sourceIdentity: null, destinationPort: port }),
            ).allowed;
            if (plaintext !== (result.modeFor(workload, port) === 'PERMISSIVE')) return false;
            if (!decide(policies, connection({ destinationPort: port })).allowed) return false;
          }
        }
        return true;
      },
    ),
    { numRuns: 3000 },
  );
});
