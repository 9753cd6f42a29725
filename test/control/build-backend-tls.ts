/** From BackendTLSPolicies to the TLS of services: which is in force where, and what can not be done. */
import t from 'tap';
import { policyFor, type TrafficPolicy } from '../../model/traffic-policy.ts';
import { makeRoot } from '../tunnel/pki.ts';
import { brief, configured, pod } from '../help/configuration.ts';

const { pem } = makeRoot();
const web = 'shop/web.shop.svc.cluster.local';
const mesh = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  clusterIP: 10.96.0.10
  selector: { app: web }
  ports: [{ name: http, port: 80 }, { name: admin, port: 81 }]
---
${pod({ name: 'v1', ip: '10.0.0.1', labels: { app: 'web', version: 'v1' } })}
---
${JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ca', namespace: 'shop' }, data: { 'ca.crt': pem } })}
---
apiVersion: v1
kind: ConfigMap
metadata: { name: empty, namespace: shop }
data: { ca.crt: nothing }
`;

function policy(
  name: string,
  validation: string,
  more: { created?: string; target?: string; rest?: string } = {},
): string {
  const {
    created = '2026-01-01T00:00:00Z',
    target = '{ group: "", kind: Service, name: web }',
    rest = '',
  } = more;
  return `
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: ${name}, namespace: shop, creationTimestamp: "${created}" }
spec:
  targetRefs: [${target}]
  validation: ${validation}
  ${rest}
`;
}

const system = (hostname: string): string => `{ hostname: ${hostname}, wellKnownCACertificates: System }`;

function built(objects: string): { policyOf: (port: number) => TrafficPolicy | null; findings: string[] } {
  const { l7, findings } = configured(mesh + objects);
  const [rule] = l7.traffic.find(({ service }) => service === web)?.rules ?? [];
  const about = findings.filter(({ object }) => /^(BackendTLSPolicy|DestinationRule) /.test(object ?? ''));
  return {
    policyOf: port => (rule === undefined ? null : policyFor(rule.settings, port)),
    findings: brief(about).map(line => line.replace(/ \d+ /, ' ')),
  };
}

t.test('names and authorities of a policy', async t => {
  const { policyOf, findings } = built(policy('p', system('web.example.com')));
  t.same(findings, []);
  t.strictSame(policyOf(80)?.tls, {
    source: 'BackendTLSPolicy shop/p',
    namespace: 'shop',
    sni: 'web.example.com',
    names: [{ type: 'dns', value: 'web.example.com' }],
    client: null,
    revoked: null,
    trust: { type: 'system' },
  });
  const alternative = `{ hostname: web.example.com, caCertificateRefs: [{ group: "", kind: ConfigMap, name: ca }], subjectAltNames: [
    { type: Hostname, hostname: "*.example.com" }, { type: URI, uri: "spiffe://a/b" }] }`;
  t.match(built(policy('p', alternative)).policyOf(81)?.tls, {
    sni: 'web.example.com',
    names: [
      { type: 'dns', value: '*.example.com' },
      { type: 'uri', value: 'spiffe://a/b' },
    ],
    trust: { type: 'pem', pem },
  });
});

t.test('of two the oldest is in force, and one for a port before one for all', async t => {
  const port = '{ group: "", kind: Service, name: web, sectionName: admin }';
  const { policyOf, findings } = built(
    policy('new', system('new.example.com'), { created: '2026-02-01T00:00:00Z' }) +
      policy('old', system('old.example.com')) +
      policy('port', system('port.example.com'), { target: port, created: '2026-03-01T00:00:00Z' }),
  );
  t.equal(policyOf(80)?.tls?.sni, 'old.example.com');
  t.equal(policyOf(81)?.tls?.sni, 'port.example.com');
  t.same(findings, ['error conflicting-policy spec.targetRefs[0]']);
  const same = built(policy('b', system('b.example.com')) + policy('a', system('a.example.com')));
  t.equal(same.policyOf(80)?.tls?.sni, 'a.example.com', 'then the first by name');
  const only = built(policy('port', system('port.example.com'), { target: port }));
  t.equal(only.policyOf(80)?.tls, undefined);
  t.equal(only.policyOf(81)?.tls?.sni, 'port.example.com');
});

t.test('what can not be done refuses, and is said', async t => {
  const refs = (...names: string[]): string =>
    `{ hostname: a.example.com, caCertificateRefs: [${names.map(name => `{ group: "", kind: ConfigMap, name: ${name} }`).join()}] }`;
  for (const [validation, finding] of [
    ['{ hostname: a.example.com }', 'error invalid-tls-policy spec.validation'],
    [system('"*.example.com"'), 'error invalid-tls-policy spec.validation.hostname'],
    [
      '{ hostname: a.example.com, wellKnownCACertificates: Acme }',
      'error invalid-tls-policy spec.validation.wellKnownCACertificates',
    ],
    [
      '{ hostname: a.example.com, wellKnownCACertificates: System, pinned: yes }',
      'error invalid-tls-policy spec.validation.pinned',
    ],
    [
      '{ hostname: a.example.com, wellKnownCACertificates: System, subjectAltNames: [{ type: Email }] }',
      'error invalid-tls-policy spec.validation.subjectAltNames[0]',
    ],
  ] as const) {
    const { policyOf, findings } = built(policy('p', validation));
    t.same(findings, [finding]);
    t.type(policyOf(80)?.refusal, 'string', validation);
    t.equal(policyOf(80)?.tls, undefined);
  }
  const none = built(policy('p', refs('empty', 'gone')));
  t.same(none.findings, [
    'error no-ca-certificate spec.validation.caCertificateRefs',
    'error invalid-ca-ref spec.validation.caCertificateRefs[0]',
    'error invalid-ca-ref spec.validation.caCertificateRefs[1]',
  ]);
  t.match(none.policyOf(80)?.refusal, /no reference leads to a certificate/);
  const some = built(policy('p', refs('gone', 'ca')));
  t.match(some.policyOf(80)?.tls?.trust, { type: 'pem', pem });
  t.same(some.findings, ['error invalid-ca-ref spec.validation.caCertificateRefs[0]']);
  const kind = built(
    policy('p', '{ hostname: a.example.com, caCertificateRefs: [{ group: "", kind: Secret, name: ca }] }'),
  );
  t.equal(kind.findings.at(-1), 'error invalid-ca-kind spec.validation.caCertificateRefs[0]');
  const gone = built(
    policy('p', system('a.example.com'), { target: '{ group: "", kind: Service, name: gone }' }),
  );
  t.same(gone.findings, ['warning unknown-target spec.targetRefs[0]']);
  t.equal(gone.policyOf(80), null);
});

t.test('a DestinationRule says the rest, and TLS where it says any', async t => {
  const rule = (policyText: string): string => `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: d, namespace: shop }
spec: { host: web, subsets: [{ name: v1, labels: { version: v1 } }], trafficPolicy: ${policyText} }
`;
  const both = policy('p', system('a.example.com'));
  const beside = built(both + rule('{ loadBalancer: { simple: RANDOM } }'));
  t.match(beside.policyOf(80), { balancing: { type: 'random' }, tls: { sni: 'a.example.com' } });
  t.same(beside.findings, []);
  for (const tls of ['{ mode: DISABLE }', '{ mode: SIMPLE, sni: b.example.com }']) {
    const { policyOf, findings } = built(both + rule(`{ tls: ${tls} }`));
    t.not(policyOf(80)?.tls?.sni, 'a.example.com');
    t.ok(findings.includes('warning shadowed-policy spec.trafficPolicy.tls'), tls);
  }
  const bad = built(
    policy('p', '{ hostname: a.example.com }') + rule('{ loadBalancer: { simple: RANDOM } }'),
  );
  t.match(bad.policyOf(80)?.refusal, /^BackendTLSPolicy shop\/p: either/);
  const port = policy('p', system('a.example.com'), {
    target: '{ group: "", kind: Service, name: web, sectionName: admin }',
  });
  const ports = built(port + rule('{ loadBalancer: { simple: RANDOM } }'));
  t.match(ports.policyOf(81), { balancing: { type: 'random' }, tls: { sni: 'a.example.com' } });
  t.equal(ports.policyOf(80)?.tls, undefined);
});
