/** One object against the kind that it says it is: every problem has its line, its field, and what would be right. */
import t from 'tap';
import { brief, parseFile } from '../help/configuration.ts';

/** What is said about a text, in the order of its lines. */
function findings(text: string): string[] {
  return brief(parseFile(text, 'mesh.yaml').findings);
}

function messages(text: string): string[] {
  return parseFile(text, 'mesh.yaml').findings.map(({ message }) => message);
}

const policy = (spec: string): string => `apiVersion: culvert.dev/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec:
${spec}`;

const service = (spec: string): string => `apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
${spec}`;

t.test('kinds that are not read are named, each by how much it matters', async t => {
  const of = (apiVersion: string, kind: string): string[] =>
    findings(`apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: x }\n`);
  t.same(of('apps/v1', 'Deployment'), ['info kind-not-read 2 kind']);
  t.same(of('batch/v1', 'Job'), ['info kind-not-read 2 kind']);
  t.same(of('example.org/v1', 'Widget'), ['warning unknown-kind 2 kind']);
  t.same(of('serving.knative.dev/v1', 'Service'), ['warning unknown-kind 1 apiVersion']);
  t.same(of('networking.istio.io/v1', 'Sidecar'), ['warning unsupported-kind 2 kind']);
  t.same(of('access.smi-spec.io/v1alpha3', 'TrafficTarget'), ['warning unsupported-kind 2 kind']);
  t.same(of('gateway.networking.k8s.io/v1', 'UDPRoute'), ['warning unsupported-kind 2 kind']);
  t.same(of('security.istio.io/v9', 'PeerAuthentication'), ['error unknown-version 1 apiVersion']);
  t.same(of('culvert.dev/v2', 'MeshConfig'), ['error unknown-version 1 apiVersion']);
  t.same(of('culvert.dev/v1', 'MeshConfg'), ['error unknown-kind 2 kind'], 'our own group has no such kind');
  t.match(messages('apiVersion: culvert.dev/v1\nkind: MeshConfg\nmetadata: { name: x }\n'), [
    /did you mean MeshConfig\?/,
  ]);
  t.match(messages('apiVersion: v1\nkind: Pods\nmetadata: { name: x }\n'), [/did you mean Pod\?/]);
});

t.test('a misspelt field of a policy refuses it', async t => {
  const text = policy(`  acton: DENY
  rules:
    - from:
        - source:
            namespace: [shop]
`);
  t.same(findings(text), [
    'error unknown-field 5 spec.acton',
    'error unknown-field 9 spec.rules[0].from[0].source.namespace',
  ]);
  t.match(messages(text), [
    /^unknown field spec\.acton, did you mean action\?$/,
    /did you mean namespaces\?$/,
  ]);
  t.same(parseFile(text, 'a.yaml').objects, []);
});

t.test('a misspelt field of a core kind is a warning, and the rest counts', async t => {
  const file = parseFile(
    `apiVersion: v1
kind: Pod
metadata:
  name: web
  lables: { app: web }
spec:
  nodename: node-1
  containers:
    - ports:
        - { containerPort: 80, nme: http }
`,
    'a.yaml',
  );
  t.notOk(file.refused);
  t.same(brief(file.findings), [
    'warning unknown-field 5 metadata.lables',
    'warning unknown-field 7 spec.nodename',
    'warning unknown-field 10 spec.containers[0].ports[0].nme',
  ]);
  t.match(
    file.findings.map(({ message }) => message),
    [/did you mean labels\?/, /did you mean nodeName\?/, /did you mean name\?/],
  );
  t.match(file.objects, [{ kind: 'Pod', name: 'web' }]);
});

t.test('a member without a value: absent in core kinds, refused in a policy', async t => {
  t.same(findings(service('  selector:\n  ports:\n  clusterIP: 10.96.0.1\n')), []);
  t.same(findings(policy('  rules:\n    - from:\n')), ['error empty-value 6 spec.rules[0].from']);
  t.same(findings(policy('  rules:\n    -\n')), ['error wrong-type 6 spec.rules[0]']);
  const created = policy('  rules: [{}]\n').replace('name: web,', 'name: web, creationTimestamp: null,');
  t.same(findings(created), [], 'kubectl writes creationTimestamp: null');
});

t.test('wrong types and values say what is expected', async t => {
  const cases: readonly (readonly [text: string, finding: string, message: RegExp])[] = [
    [
      service('  ports: [{ port: "80" }]\n'),
      'error wrong-type 5 spec.ports[0].port',
      /a whole number, not "80": remove the quotes/,
    ],
    [
      service('  ports: [{ port: 80.5 }]\n'),
      'error wrong-type 5 spec.ports[0].port',
      /a whole number, not 80\.5/,
    ],
    [service('  ports: [{ port: 0 }]\n'), 'error invalid-value 5 spec.ports[0].port', /at least 1, not 0/],
    [
      service('  ports: [{ port: 65536 }]\n'),
      'error invalid-value 5 spec.ports[0].port',
      /at most 65535, not 65536/,
    ],
    [service('  ports: [{ name: http }]\n'), 'error missing-field 5 spec.ports[0].port', /missing field/],
    [service('  ports: { port: 80 }\n'), 'error wrong-type 5 spec.ports', /a list, not a map/],
    [service('  ports: [80]\n'), 'error wrong-type 5 spec.ports[0]', /a map, not 80/],
    [
      service('  ports: [{ port: 80, protocol: tcp }]\n'),
      'error invalid-value 5 spec.ports[0].protocol',
      /one of TCP, UDP, SCTP, not "tcp", did you mean TCP\?/,
    ],
    [
      service('  ports: [{ port: 80, targetPort: "8080" }]\n'),
      'error invalid-value 5 spec.ports[0].targetPort',
      /at least one of them a letter; a number is written without quotes/,
    ],
    [
      service('  clusterIP: 10.96.0.256\n'),
      'error invalid-value 5 spec.clusterIP',
      /"10\.96\.0\.256": not an IPv4 or IPv6 address/,
    ],
    [service('  clusterIP: 127.0.0.1\n'), 'error invalid-value 5 spec.clusterIP', /loopback/],
    [
      service('  selector: { app: 1.0 }\n'),
      'error wrong-type 5 spec.selector.app',
      /text, not 1: put it in quotes/,
    ],
    [service('  selector: { app: a b }\n'), 'error invalid-value 5 spec.selector.app', /label value/],
    [service('  selector: { "a b": c }\n'), 'error invalid-value 5 spec.selector["a b"]', /not a valid key/],
    [
      service('  publishNotReadyAddresses: "true"\n'),
      'error wrong-type 5 spec.publishNotReadyAddresses',
      /true or false, not "true": remove the quotes/,
    ],
    [policy('  action: DENNY\n'), 'error invalid-value 5 spec.action', /did you mean DENY\?/],
    [policy('  action: DENY\n'), 'error missing-field 4 spec.rules', /never denies anything/],
  ];
  for (const [text, finding, message] of cases.slice(0, -1)) {
    t.same(findings(text), [finding]);
    t.match(messages(text), [message]);
  }
  t.same(findings(policy('  action: DENY\n')), ['error invalid-value 4 spec.rules']);
});

t.test('policies that can not work are refused where they stand', async t => {
  const cases: readonly (readonly [spec: string, finding: string])[] = [
    [
      '  rules:\n    - from:\n        - source: { ipBlocks: [10.0.0.0/8, 10.0.0.0/33] }\n',
      'error invalid-value 7 spec.rules[0].from[0].source.ipBlocks[1]',
    ],
    [
      '  rules: [{ to: [{ operation: { ports: ["0"] } }] }]\n',
      'error invalid-value 5 spec.rules[0].to[0].operation.ports[0]',
    ],
    [
      '  rules: [{ from: [{ source: { principals: ["spiffe://a/ns/b/sa/c"] } }] }]\n',
      'error invalid-value 5 spec.rules[0].from[0].source.principals[0]',
    ],
    [
      '  rules: [{ from: [{ source: { serviceAccounts: ["shop/*"] } }] }]\n',
      'error invalid-value 5 spec.rules[0].from[0].source.serviceAccounts[0]',
    ],
    ['  rules:\n    - when:\n        - key: source.ip\n', 'error invalid-value 7 spec.rules[0].when[0]'],
    [
      '  rules:\n    - when:\n        - { key: source.ipp, values: ["1.2.3.4"] }\n',
      'error invalid-value 7 spec.rules[0].when[0].key',
    ],
    ['  rules:\n    - from: []\n', 'error empty-match 6 spec.rules[0].from'],
    ['  rules:\n    - from:\n        - source: {}\n', 'error empty-match 7 spec.rules[0].from[0].source'],
    ['  selector: { matchLabels: { app: "*" } }\n', 'error invalid-value 5 spec.selector.matchLabels.app'],
    ['  selector: {}\n  targetRefs: [{ kind: Service, name: web }]\n', 'error invalid-value 5 spec.selector'],
    ['  action: CUSTOM\n', 'error invalid-value 4 spec.provider'],
  ];
  for (const [spec, finding] of cases) t.same(findings(policy(spec)), [finding], spec);
});

t.test('names follow the rules of Kubernetes', async t => {
  const named = (kind: string, metadata: string): string[] =>
    findings(`apiVersion: v1\nkind: ${kind}\nmetadata: ${metadata}\n${kind === 'Pod' ? 'spec: {}\n' : ''}`);
  t.same(named('Namespace', '{ name: shop-1 }'), []);
  t.same(named('Namespace', '{ name: shop.one }'), ['error invalid-value 3 metadata.name']);
  t.same(named('Namespace', '{ name: -shop }'), ['error invalid-value 3 metadata.name']);
  t.same(named('Namespace', `{ name: ${'a'.repeat(64)} }`), ['error invalid-value 3 metadata.name']);
  t.same(named('Namespace', '{ labels: {} }'), ['error missing-field 3 metadata.name']);
  t.same(named('Namespace', '{ name: shop, namespace: shop }'), [
    'warning unexpected-namespace 3 metadata.namespace',
  ]);
  t.same(named('Pod', '{ name: web.0, namespace: shop }'), []);
  t.same(named('Pod', '{ name: web, namespace: Shop }'), ['error invalid-value 3 metadata.namespace']);
  t.same(named('Pod', '{ name: web, labels: { "app": "x y" } }'), [
    'error invalid-value 3 metadata.labels.app',
  ]);
});

t.test('labels and annotations of ours that mean nothing', async t => {
  const marked = (metadata: string): string[] =>
    findings(`apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  ${metadata}\n`);
  t.same(marked('labels: { culvert.dev/dataplane-mode: ambient, app: web }'), []);
  t.same(marked('labels: { culvert.dev/dataplane: ambient }'), [
    'warning unknown-label 5 metadata.labels["culvert.dev/dataplane"]',
  ]);
  for (const key of ['culver.dev/dataplane-mode', 'istio.io/dataplane-mod', 'istio.io/dataplan-mode']) {
    t.same(marked(`labels: { ${key}: ambient }`), [`warning unknown-label 5 metadata.labels["${key}"]`]);
  }
  t.same(
    marked('labels: { app.kubernetes.io/name: web, istio.io/rev: x, topology.istio.io/network: n }'),
    [],
    'labels of others',
  );
  t.same(marked('annotations: { culvert.dev/netsn: /x, other.example/note: x }'), [
    'warning unknown-annotation 5 metadata.annotations["culvert.dev/netsn"]',
  ]);
  t.same(marked('annotations: { istio.io/dataplane-mode: ambient }'), [
    'warning misplaced-mark 5 metadata.annotations["istio.io/dataplane-mode"]',
  ]);
  t.same(marked('labels: { culvert.dev/fail-mode: open }'), [
    'warning misplaced-mark 5 metadata.labels["culvert.dev/fail-mode"]',
  ]);
});
