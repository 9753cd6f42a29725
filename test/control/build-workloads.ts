import t from 'tap';
import type { Workload } from '../../model/workload.ts';
import { type PodText, configured, pod } from '../help/configuration.ts';

function workload(text: Partial<PodText>, more = ''): Workload {
  const [first] = configured(pod({ name: 'web', ...text }) + more).mesh.workloads;
  if (first === undefined) throw new Error('no workload');
  return first;
}

const owned = (kind: string, name: string, controller = true) => ({
  ownerReferences: [{ apiVersion: 'x/v1', kind, name, controller, uid: 'u' }],
});

t.test('a pod with nothing but what it needs', async t => {
  t.same(workload({}), {
    uid: 'Kubernetes//Pod/shop/web',
    name: 'web',
    namespace: 'shop',
    serviceAccount: 'default',
    trustDomain: 'cluster.local',
    addresses: ['10.0.0.1'],
    hostname: '',
    network: '',
    node: 'node-1',
    clusterId: 'Kubernetes',
    tunnelProtocol: 'HBONE',
    networkMode: 'STANDARD',
    status: 'HEALTHY',
    canonicalName: 'web',
    canonicalRevision: 'latest',
    workloadName: 'web',
    workloadType: 'pod',
    services: {},
    authorizationPolicies: [],
    waypoint: null,
    locality: null,
    capacity: 1,
  });
});

t.test('the service account, also by its old name', async t => {
  t.equal(workload({ spec: { serviceAccountName: 'a', serviceAccount: 'b' } }).serviceAccount, 'a');
  t.equal(workload({ spec: { serviceAccount: 'b' } }).serviceAccount, 'b');
});

t.test('settings of the mesh', async t => {
  const settings = '{trustDomain: example.org, clusterId: east, network: net-1}';
  const config = `{apiVersion: culvert.dev/v1, kind: MeshConfig, metadata: {name: default}, spec: ${settings}}`;
  t.match(workload({}, config), {
    uid: 'east//Pod/shop/web',
    trustDomain: 'example.org',
    clusterId: 'east',
    network: 'net-1',
  });
});

t.test('healthy is what is ready and stays', async t => {
  const status = (conditions: unknown) => workload({ status: { conditions } }).status;
  t.equal(status(undefined), 'HEALTHY', 'a status written by hand');
  t.equal(status([{ type: 'Initialized', status: 'True' }]), 'HEALTHY');
  t.equal(status([{ type: 'Ready', status: 'True' }]), 'HEALTHY');
  t.equal(status([{ type: 'Ready', status: 'False' }]), 'UNHEALTHY');
  t.equal(status([{ type: 'Ready', status: 'Unknown' }]), 'UNHEALTHY');
  t.equal(workload({ metadata: { deletionTimestamp: '2026-11-21T08:00:00Z' } }).status, 'UNHEALTHY');
});

t.test('what made the pod', async t => {
  const of = (metadata: Record<string, unknown>, labels = {}) => {
    const { workloadName, workloadType } = workload({ metadata: { ...metadata, labels } });
    return [workloadName, workloadType];
  };
  const hash = { 'pod-template-hash': '5d9c7b8f6d' };
  t.same(of(owned('ReplicaSet', 'shop-web-5d9c7b8f6d'), hash), ['shop-web', 'deployment']);
  t.same(of(owned('ReplicaSet', 'shop-web'), hash), ['web', 'pod'], 'a ReplicaSet nobody made');
  t.same(of(owned('ReplicaSet', 'shop-web-5d9c7b8f6d')), ['web', 'pod']);
  t.same(of(owned('Job', 'backup')), ['backup', 'job']);
  t.same(of(owned('Job', 'backup-29394000')), ['backup', 'cronjob']);
  t.same(of(owned('Job', 'backup-2026')), ['backup-2026', 'job']);
  t.same(of(owned('StatefulSet', 'db')), ['web', 'pod']);
  t.same(of(owned('Job', 'backup', false)), ['web', 'pod'], 'an owner that does not control');
  t.same(of(owned('Job', 'backup'), { 'service.istio.io/workload-name': 'named' }), ['named', 'job']);
});

t.test('names for telemetry, the first label that is there', async t => {
  const of = (labels: Record<string, string>) => {
    const { canonicalName, canonicalRevision } = workload({ metadata: { labels, ...owned('Job', 'job') } });
    return [canonicalName, canonicalRevision];
  };
  t.same(of({}), ['job', 'latest']);
  t.same(of({ app: 'a', version: '1' }), ['a', '1']);
  t.same(of({ app: 'a', 'app.kubernetes.io/name': 'b', 'app.kubernetes.io/version': '2', version: '1' }), [
    'b',
    '2',
  ]);
  t.same(
    of({
      'app.kubernetes.io/name': 'b',
      'service.istio.io/canonical-name': 'c',
      'service.istio.io/canonical-revision': '3',
    }),
    ['c', '3'],
  );
});

t.test('the place of the node', async t => {
  const node = (labels: string): string =>
    `{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: ${labels}}}`;
  t.equal(workload({}, node('{}')).locality, null);
  t.same(
    workload(
      {},
      node(
        '{topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-a, topology.istio.io/subzone: r1}',
      ),
    ).locality,
    { region: 'eu', zone: 'eu-a', subzone: 'r1' },
  );
  t.same(workload({}, node('{topology.kubernetes.io/zone: eu-a}')).locality, {
    region: '',
    zone: 'eu-a',
    subzone: '',
  });
});
