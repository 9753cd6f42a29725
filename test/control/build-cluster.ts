import t from 'tap';
import { build, type BuildResult } from '../../control/build.ts';
import { clusterOrigin } from '../../control/located.ts';
import type { NodePod } from '../../model/node-pod.ts';
import { brief, objectsOf, pod } from '../help/configuration.ts';

/** What becomes of objects that an API server has. */
function inCluster(text: string): BuildResult {
  const objects = objectsOf(text).map(object => ({ ...object, origin: clusterOrigin() }));
  return build(objects, { mode: 'cluster' });
}

const started = '2026-11-28T08:00:00Z';
const ready = (status: string, at = started): Record<string, unknown> => ({
  startTime: started,
  conditions: [
    { type: 'PodScheduled', status: 'True', lastTransitionTime: started },
    { type: 'Ready', status, lastTransitionTime: at },
  ],
});
const enabled = { 'culvert.dev/redirection': 'enabled' };
const ambient =
  '{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {culvert.dev/dataplane-mode: ambient}}}\n---\n';
/** As in a cluster: no annotation says where it lives, and its namespace enrols it. */
const web = (given: Partial<Parameters<typeof pod>[0]> = {}): string =>
  pod({ name: 'web', metadata: { uid: 'u-1', labels: {}, annotations: {} }, ...given });

t.test('a pod is reached by its tunnel once its agent has said that it redirects it', async t => {
  const annotated = (annotations: Record<string, string>, status: Record<string, unknown>): string =>
    pod({
      name: 'web',
      metadata: { uid: 'u-1', annotations, labels: { 'culvert.dev/dataplane-mode': 'ambient' } },
      status,
    });
  const later = '2026-11-28T08:30:00Z';
  const cases: readonly (readonly [why: string, text: string, protocol: string, findings: string[]])[] = [
    ['redirected', annotated(enabled, ready('True')), 'HBONE', []],
    [
      'redirected, as another mesh writes it',
      annotated({ 'ambient.istio.io/redirection': 'enabled' }, ready('True')),
      'HBONE',
      [],
    ],
    ['ready and not redirected', annotated({}, ready('True')), 'NONE', ['error not-redirected null null']],
    [
      'not all the way',
      annotated({ 'culvert.dev/redirection': 'pending' }, ready('True')),
      'NONE',
      ['error not-redirected null null'],
    ],
    ['never ready: it runs only once it is enrolled', annotated({}, ready('False')), 'HBONE', []],
    ['no word of its being ready yet', annotated({}, {}), 'HBONE', []],
    ['it was ready before', annotated({}, ready('False', later)), 'NONE', ['error not-redirected null null']],
  ];
  for (const [why, text, protocol, findings] of cases) {
    const built = inCluster(text);
    t.equal(built.mesh.workloads[0]?.tunnelProtocol, protocol, why);
    t.same(brief(built.findings), findings, why);
  }
});

t.test('an annotation alone enrols nobody', async t => {
  const { mesh, nodePods } = inCluster(
    pod({ name: 'web', metadata: { labels: {}, annotations: enabled }, status: ready('True') }),
  );
  t.match(mesh.workloads, [{ tunnelProtocol: 'NONE' }]);
  t.match(nodePods, [{ pod: { wanted: false } }]);
});

t.test('a pod without word of its being ready is not', async t => {
  const status = (given: Record<string, unknown>) =>
    inCluster(web({ status: given })).mesh.workloads.map(workload => workload.status);
  t.same(status({}), ['UNHEALTHY']);
  t.same(status(ready('True')), ['HEALTHY']);
  t.same(status(ready('False')), ['UNHEALTHY']);
});

t.test('a node hears of its pods from the moment they are on it, wanted or not', async t => {
  const told = (text: string): Partial<NodePod>[] =>
    inCluster(ambient + text).nodePods.map(({ node, pod: { podUid, addresses, wanted } }) => ({
      node,
      podUid,
      addresses,
      wanted,
    }));
  t.same(told(web()), [{ node: 'node-1', podUid: 'u-1', addresses: ['10.0.0.1'], wanted: true }]);
  t.same(told(web({ ip: '' })), [{ node: 'node-1', podUid: 'u-1', addresses: [], wanted: true }]);
  t.same(told(web({ spec: { nodeName: undefined } })), [], 'on no node yet');
  t.same(told(web({ spec: { hostNetwork: true } })), [], 'in the network of its node');
  t.same(told(web({ status: { phase: 'Succeeded' } })), [], 'a job that is done leaves');
  t.same(told(web({ status: { phase: 'Failed' } })), []);
  const none = { uid: 'u-1', annotations: {}, labels: { 'culvert.dev/dataplane-mode': 'none' } };
  t.match(told(web({ metadata: none })), [{ wanted: false }]);
  const sidecar = { uid: 'u-1', labels: {}, annotations: { 'sidecar.istio.io/status': '{}' } };
  t.match(told(pod({ name: 'web', metadata: sidecar })), [{ wanted: false }]);
});

t.test('without an address a pod is known to its node only, and nothing is wrong with that', async t => {
  const { mesh, findings } = inCluster(ambient + web({ ip: '' }));
  t.same([mesh.workloads, findings], [[], []]);
});

t.test('a node is told all its agent needs', async t => {
  const containers = [
    {
      ports: [{ name: 'http', containerPort: 8080 }],
      readinessProbe: { httpGet: { port: 'http', path: '/ready' }, periodSeconds: 1 },
      livenessProbe: { tcpSocket: { port: 9000 } },
    },
    { startupProbe: { grpc: { port: 50_051 } }, livenessProbe: { exec: { command: ['true'] } } },
    { readinessProbe: { httpGet: { port: 'nobody' } }, livenessProbe: { httpGet: { port: '7070' } } },
  ];
  const initContainers = [{ restartPolicy: 'Always', startupProbe: { tcpSocket: { port: 15_090 } } }];
  const { nodePods } = inCluster(
    ambient +
      pod({
        name: 'web',
        metadata: {
          uid: 'u-1',
          labels: {},
          annotations: { 'culvert.dev/fail-mode': 'open', 'culvert.dev/dns-capture': 'false' },
        },
        spec: { serviceAccountName: 'web', containers, initContainers },
      }),
  );
  t.same(nodePods, [
    {
      node: 'node-1',
      pod: {
        podUid: 'u-1',
        runtimeUid: 'u-1',
        workloadUid: 'Kubernetes//Pod/shop/web',
        namespace: 'shop',
        name: 'web',
        serviceAccount: 'web',
        addresses: ['10.0.0.1'],
        wanted: true,
        failMode: 'open',
        dnsCapture: false,
        probePorts: [7070, 8080, 9000, 15_090, 50_051],
      },
    },
  ]);
});

t.test('of a static pod its node is told by which UID it knows it', async t => {
  const mirror = (annotation: string, kind: string): string =>
    pod({
      name: 'web',
      metadata: {
        uid: 'u-1',
        annotations: { [annotation]: 'hash', 'kubernetes.io/config.source': 'file' },
        ownerReferences: [{ apiVersion: 'v1', kind, name: 'node-1', uid: 'n', controller: true }],
      },
    });
  const uids = (object: string): (string | undefined)[] =>
    inCluster(ambient + object).nodePods.map(({ pod: { runtimeUid } }) => runtimeUid);
  t.same(uids(mirror('kubernetes.io/config.mirror', 'Node')), ['hash']);
  t.same(uids(mirror('kubernetes.io/config.mirror', 'ReplicaSet')), ['u-1'], 'not of its node');
  t.same(uids(mirror('kubernetes.io/config.hash', 'Node')), ['u-1']);
});

t.test('of two pods with one address the younger has it: it was given anew', async t => {
  const at = (name: string, created: string): string =>
    pod({ name, metadata: { uid: name, creationTimestamp: created } });
  const { mesh, findings } = inCluster(
    at('old', '2026-11-28T08:00:00Z') + at('young', '2026-11-28T09:00:00Z'),
  );
  t.same(
    mesh.workloads.map(({ name, addresses }) => [name, addresses]),
    [
      ['old', []],
      ['young', ['10.0.0.1']],
    ],
  );
  t.match(
    findings.filter(({ code }) => code === 'address-conflict'),
    [{ object: 'Pod shop/old' }],
  );
});

t.test('the settings of the mesh: the namespaces whose new pods wait for it', async t => {
  const named = (name: string, mode: string): string =>
    `{apiVersion: v1, kind: Namespace, metadata: {name: ${name}, labels: {istio.io/dataplane-mode: ${mode}}}}\n---\n`;
  const config =
    '{apiVersion: culvert.dev/v1, kind: MeshConfig, metadata: {name: default}, spec: {trustDomain: example.org, certificateTtl: 1h}}\n---\n';
  const { settings, enrolments } = inCluster(
    config +
      ambient +
      named('bank', 'ambient') +
      named('out', 'none') +
      named('kube-system', 'ambient') +
      web(),
  );
  t.same(settings, {
    trustDomain: 'example.org',
    network: '',
    clusterId: 'Kubernetes',
    clusterDomain: 'cluster.local',
    accessLog: true,
    certificateTtlMs: 3_600_000,
    enrolledNamespaces: ['bank', 'shop'],
    excludedNamespaces: ['culvert-system', 'kube-system'],
  });
  t.same(enrolments, [], 'who is enrolled is for its node to say');
});

t.test('of a policy that two groups have, ours is in force', async t => {
  const policy = (group: string, action: string) =>
    objectsOf(
      `{apiVersion: ${group}/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: shop}, spec: {action: ${action}, rules: [{}]}}`,
    );
  const [ours] = policy('culvert.dev', 'DENY');
  const [theirs] = policy('security.istio.io', 'ALLOW');
  if (ours === undefined || theirs === undefined) throw new Error('no policies');
  const both = [
    { ...theirs, origin: clusterOrigin(1) },
    { ...ours, origin: clusterOrigin(0) },
  ];
  const { mesh, findings } = build(both, { mode: 'cluster' });
  t.match(mesh.policies, [{ action: 'DENY' }]);
  t.match(findings.filter(({ code }) => code === 'duplicate-object').length, 1);
});
