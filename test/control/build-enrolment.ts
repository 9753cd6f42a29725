import t from 'tap';
import { brief, configured, pod } from '../help/configuration.ts';

const namespace = (labels: string): string =>
  `{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: ${labels}}}\n---\n`;
const config = (spec: string): string =>
  `{apiVersion: culvert.dev/v1, kind: MeshConfig, metadata: {name: default}, spec: ${spec}}\n---\n`;
const netns = 'metadata.annotations["culvert.dev/netns"]';
const ours = 'metadata.labels["culvert.dev/dataplane-mode"]';
const theirs = 'metadata.labels["istio.io/dataplane-mode"]';

/** Whether the pod is in, and what is said about it. */
function outcome(text: string): readonly [boolean, string[]] {
  const { enrolments, findings, mesh } = configured(text);
  const isIn = enrolments.length === 1;
  for (const workload of mesh.workloads) t.equal(workload.tunnelProtocol, isIn ? 'HBONE' : 'NONE');
  return [isIn, brief(findings)];
}

/** A pod with just these labels. */
const labelled = (labels: Record<string, string>): string =>
  pod({ name: 'web', metadata: { labels }, annotations: {} });

t.test('the label of the pod, else that of its namespace', async t => {
  const ambient = { 'culvert.dev/dataplane-mode': 'ambient' };
  const none = { 'culvert.dev/dataplane-mode': 'none' };
  const nsAmbient = namespace('{culvert.dev/dataplane-mode: ambient}');
  const nsNone = namespace('{culvert.dev/dataplane-mode: none}');
  const cases: readonly (readonly [text: string, isIn: boolean])[] = [
    [labelled({}), false],
    [labelled(ambient), true],
    [labelled(none), false],
    [nsAmbient + labelled({}), true],
    [nsAmbient + labelled(none), false],
    [nsAmbient + labelled(ambient), true],
    [nsNone + labelled({}), false],
    [nsNone + labelled(ambient), true],
    [labelled({ 'istio.io/dataplane-mode': 'ambient' }), true],
    [namespace('{istio.io/dataplane-mode: ambient}') + labelled({}), true],
    [
      namespace('{istio.io/dataplane-mode: ambient}') + labelled({ 'istio.io/dataplane-mode': 'none' }),
      false,
    ],
    [namespace('{istio.io/dataplane-mode: ambient}') + labelled(none), false],
  ];
  for (const [text, isIn] of cases) t.same(outcome(text), [isIn, []], text);
});

t.test('two spellings that disagree: ours is in force, and it is said', async t => {
  const labels = { 'culvert.dev/dataplane-mode': 'none', 'istio.io/dataplane-mode': 'ambient' };
  t.same(outcome(labelled(labels)), [false, [`warning conflicting-labels 1 ${ours}`]]);
});

t.test('a value that means nothing is reported, and counts as absent', async t => {
  t.same(outcome(labelled({ 'istio.io/dataplane-mode': 'ambeint' })), [
    false,
    [`warning unknown-dataplane-mode 1 ${theirs}`],
  ]);
  t.match(configured(labelled({ 'istio.io/dataplane-mode': 'ambeint' })).findings, [
    { message: /did you mean ambient\?/ },
  ]);
  const inNamespace = namespace('{culvert.dev/dataplane-mode: enabled}') + labelled({});
  t.same(
    outcome(inNamespace),
    [false, [`warning unknown-dataplane-mode 1 ${ours}`]],
    'once, at the namespace',
  );
  const ambient = namespace('{culvert.dev/dataplane-mode: ambient}');
  t.same(outcome(ambient + labelled({ 'istio.io/dataplane-mode': 'on' })), [
    true,
    [`warning unknown-dataplane-mode 3 ${theirs}`],
  ]);
});

t.test('what keeps a pod out in spite of its label is said', async t => {
  const cases: readonly (readonly [why: string, text: string, findings: readonly string[]])[] = [
    ['host network', pod({ name: 'web', spec: { hostNetwork: true } }), [`warning host-network 1 ${ours}`]],
    [
      'a sidecar',
      pod({ name: 'web', annotations: { 'sidecar.istio.io/status': '{}' } }),
      [`warning has-sidecar 1 ${ours}`],
    ],
    [
      'an excluded namespace',
      pod({ name: 'web', namespace: 'kube-system' }),
      [`warning excluded-namespace 1 ${ours}`],
    ],
    ['no address', pod({ name: 'web', ip: '' }), [`error pod-without-address 1 ${ours}`]],
    ['no node', pod({ name: 'web', spec: { nodeName: undefined } }), [`error pod-without-node 1 ${ours}`]],
    [
      'no network namespace',
      pod({ name: 'web', metadata: { annotations: {} } }),
      [`error pod-without-netns 1 ${ours}`],
    ],
    ['it has ended', pod({ name: 'web', status: { phase: 'Succeeded' } }), []],
    ['it has failed', pod({ name: 'web', status: { phase: 'Failed' } }), []],
  ];
  for (const [why, text, findings] of cases) t.same(outcome(text), [false, findings], why);
});

t.test(
  'a namespace label is about pods in general: what can not be in by nature is worth a note only',
  async t => {
    const ambient = namespace('{culvert.dev/dataplane-mode: ambient}');
    const host = pod({ name: 'web', metadata: { labels: {} }, spec: { hostNetwork: true } });
    t.same(outcome(ambient + host), [false, ['info host-network 3 null']]);
    const bare = pod({ name: 'web', metadata: { labels: {}, annotations: {} } });
    t.same(
      outcome(ambient + bare),
      [false, ['error pod-without-netns 3 null']],
      'but this one is not protected',
    );
    const system = ambient.replace('shop', 'kube-system');
    t.same(outcome(system + pod({ name: 'web', namespace: 'kube-system', metadata: { labels: {} } })), [
      false,
      [],
    ]);
  },
);

t.test('excluded namespaces are a setting', async t => {
  const text = pod({ name: 'web', namespace: 'kube-system' });
  t.same(outcome(config('{excludedNamespaces: []}') + text), [true, []]);
  t.same(outcome(config('{excludedNamespaces: [shop]}') + pod({ name: 'web' })), [
    false,
    [`warning excluded-namespace 3 ${ours}`],
  ]);
});

t.test('paths of network namespaces', async t => {
  const at = (path: string) => configured(pod({ name: 'web', annotations: { 'culvert.dev/netns': path } }));
  t.equal(at('/run/netns/web').enrolments[0]?.netns, '/run/netns/web');
  t.equal(at('/proc/42/ns/net').enrolments[0]?.netns, '/proc/42/ns/net');
  t.equal(at('//run//netns/web').enrolments[0]?.netns, '/run/netns/web');
  for (const path of [
    '',
    'web',
    'run/netns/web',
    '/',
    '/run/netns/',
    '/run/netns/../web',
    '/run/./web',
    '/run/a\0b',
  ]) {
    const { enrolments, findings } = at(path);
    t.same(
      [enrolments, brief(findings)],
      [[], [`error invalid-annotation 1 ${netns}`]],
      JSON.stringify(path),
    );
  }
});

t.test('the fail mode: the annotation, else the setting, and closed when in doubt', async t => {
  const mode = (value: string | null, settings = '{}') => {
    const annotations = value === null ? {} : { 'culvert.dev/fail-mode': value };
    const { enrolments, findings } = configured(config(settings) + pod({ name: 'web', annotations }));
    return [enrolments[0]?.failMode, findings.map(({ severity, code }) => `${severity} ${code}`)];
  };
  t.same(mode(null), ['closed', []]);
  t.same(mode('open'), ['open', []]);
  t.same(mode(null, '{defaultFailMode: open}'), ['open', []]);
  t.same(mode('closed', '{defaultFailMode: open}'), ['closed', []]);
  t.same(mode('clsoed', '{defaultFailMode: open}'), ['closed', ['error invalid-annotation']]);
});

t.test('capture of DNS: either annotation, else the setting', async t => {
  const capture = (annotations: Record<string, string>, settings = '{}') => {
    const { enrolments, findings } = configured(config(settings) + pod({ name: 'web', annotations }));
    return [enrolments[0]?.dnsCapture, findings.map(({ severity, code }) => `${severity} ${code}`)];
  };
  t.same(capture({}), [true, []]);
  t.same(capture({ 'culvert.dev/dns-capture': 'false' }), [false, []]);
  t.same(capture({ 'ambient.istio.io/dns-capture': 'false' }), [false, []]);
  t.same(
    capture({ 'culvert.dev/dns-capture': 'true', 'ambient.istio.io/dns-capture': 'false' }),
    [true, []],
    'ours first',
  );
  t.same(capture({}, '{dnsCapture: false}'), [false, []]);
  t.same(capture({ 'culvert.dev/dns-capture': 'true' }, '{dnsCapture: false}'), [true, []]);
  t.same(capture({ 'culvert.dev/dns-capture': 'no' }), [true, ['error invalid-annotation']]);
});

t.test('an enrolment has all an agent needs', async t => {
  const { enrolments, findings } = configured(
    pod({
      name: 'web',
      metadata: { uid: 'u-1' },
      status: { podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] },
    }) + pod({ name: 'api', ip: '10.0.0.2' }),
  );
  t.same(findings, []);
  t.same(enrolments, [
    {
      workloadUid: 'Kubernetes//Pod/shop/api',
      podUid: 'Kubernetes//Pod/shop/api',
      addresses: ['10.0.0.2'],
      netns: '/run/netns/shop-api',
      failMode: 'closed',
      dnsCapture: true,
    },
    {
      workloadUid: 'Kubernetes//Pod/shop/web',
      podUid: 'u-1',
      addresses: ['10.0.0.1', 'fd00::1'],
      netns: '/run/netns/shop-web',
      failMode: 'closed',
      dnsCapture: true,
    },
  ]);
});
