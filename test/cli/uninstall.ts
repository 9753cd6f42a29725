import t from 'tap';
import { applyAll } from '../../cli/install.ts';
import { cleanNodes, removeAll } from '../../cli/uninstall.ts';
import { installation, type Manifest } from '../../daemonset/installation.ts';
import { cleanupDaemonSet } from '../../daemonset/manifests/cleanup.ts';
import { defaultValues } from '../../daemonset/values.ts';
import { FakeApi } from './fake-api.ts';

const patience = { timeoutMs: 1000, show: () => {}, intervalMs: 1 };
const base = '/apis/apps/v1/namespaces/mesh/daemonsets';
const pods = '/api/v1/namespaces/mesh/pods';

/** A cluster with an installation, in which pods of the cleanup become ready at once. */
async function cluster(): Promise<FakeApi> {
  const api = new FakeApi();
  api.answers.set(pods, { items: [] });
  api.answers.set('/api/v1/pods', {
    metadata: {},
    items: [
      { metadata: { name: 'a', namespace: 'shop', annotations: { 'culvert.dev/redirection': 'enabled' } } },
      { metadata: { name: 'b', namespace: 'shop' } },
    ],
  });
  api.onChange = change => {
    const made = api.objects.get(`${base}/culvert-cleanup`);
    if (change === `PATCH ${base}/culvert-cleanup` && made !== undefined)
      made['status'] = { observedGeneration: 1, desiredNumberScheduled: 3, numberReady: 3 };
  };
  const objects = installation('mesh', defaultValues);
  await applyAll(api, { namespace: 'mesh', objects, changes: {}, dryRun: false, patience });
  api.changes.length = 0;
  return api;
}

t.test('nodes are cleaned after the agents have gone, before anything else goes', async t => {
  const api = await cluster();
  t.equal(await cleanNodes(api, 'mesh', patience), 3);
  t.strictSame(api.changes, [
    `PATCH ${base}/culvert-cleanup`,
    `DELETE ${base}/culvert-agent`,
    `DELETE ${base}/culvert-cleanup`,
  ]);
  t.equal(await cleanNodes(api, 'mesh', patience), 0, 'a second time there is nothing to do');
});

t.test('who was interrupted goes on with the pods that are there', async t => {
  const api = await cluster();
  api.onChange = change => {
    if (change.startsWith('DELETE')) throw new Error('interrupted');
  };
  await t.rejects(cleanNodes(api, 'mesh', patience), /interrupted/);
  api.onChange = () => {};
  const made = api.objects.get(`${base}/culvert-cleanup`);
  if (made !== undefined)
    made['status'] = { observedGeneration: 1, desiredNumberScheduled: 3, numberReady: 3 };
  t.equal(await cleanNodes(api, 'mesh', patience), 3);
});

t.test('everything goes but policies and what belongs to others', async t => {
  const api = await cluster();
  api.objects.set('/api/v1/namespaces/mesh/secrets/culvert-ca', { metadata: {} });
  api.objects.set('/api/v1/namespaces/mesh/secrets/other', { metadata: {} });
  await cleanNodes(api, 'mesh', patience);
  const options = { namespace: 'mesh', timeout: '1s', output: 'table' };
  const removed = await removeAll(api, options, patience);
  t.ok(removed.includes('Namespace mesh'));
  t.strictSame(
    [...api.objects.keys()].filter(path => !path.includes('customresourcedefinitions')),
    ['/api/v1/namespaces/mesh/secrets/other', '/api/v1/namespaces/shop/pods/a'],
  );
  t.ok(api.changes.includes('PATCH /api/v1/namespaces/shop/pods/a'), 'the annotation is taken off');
  t.notOk(api.changes.includes('PATCH /api/v1/namespaces/shop/pods/b'));
  await removeAll(api, { ...options, crds: true }, patience);
  t.notOk([...api.objects.keys()].some(path => path.includes('customresourcedefinitions')));
});

interface PodSpec {
  readonly initContainers: {
    args: string[];
    volumeMounts: { name: string; mountPath: string }[];
    securityContext: object;
  }[];
  readonly containers: { securityContext: object }[];
  readonly volumes: { name: string }[];
}

t.test("a node is cleaned with the agent's own mounts and rights, and nothing that may be gone", async t => {
  const agent = installation('mesh', defaultValues).find(({ kind }) => kind === 'DaemonSet') as Manifest;
  const cleanup = cleanupDaemonSet(agent);
  const { spec } = (cleanup['spec'] as { template: { spec: PodSpec } }).template;
  const [detach] = spec.initContainers;
  t.strictSame(detach?.args, [
    'detach',
    '--node=$(NODE_NAME)',
    '--bpffs=/sys/fs/bpf',
    '--state-dir=/host/state/culvert/agent',
    '--cni-bin-dir=/host/opt/cni/bin',
    '--cni-conf-dir=/host/etc/cni/net.d',
  ]);
  const mounted = detach?.volumeMounts.map(({ name }) => name).sort();
  t.strictSame(mounted, spec.volumes.map(({ name }) => name).sort());
  t.notOk(mounted?.includes('root'));
  t.match(
    spec.volumes.find(({ name }) => name === 'state'),
    { hostPath: { path: '/run', type: 'Directory' } },
    'what the directory is in, or it could not be removed',
  );
  t.match(
    detach?.volumeMounts.find(({ name }) => name === 'state'),
    { mountPath: '/host/state' },
  );
  t.match(detach?.securityContext, { privileged: false });
  t.match(spec.containers[0]?.securityContext, { runAsUser: 65532, capabilities: { drop: ['ALL'] } });
  t.match(cleanup.metadata, { name: 'culvert-cleanup', namespace: 'mesh' });
});

t.test('what was made for waypoints goes, and their Gateways stay', async t => {
  const api = await cluster();
  const path = '/apis/apps/v1/namespaces/shop/deployments/wp';
  const metadata = { name: 'wp', namespace: 'shop' };
  api.objects.set(path, { metadata });
  api.answers.set('/apis/apps/v1/deployments', { items: [{ metadata }] });
  const options = { namespace: 'mesh', timeout: '1s', output: 'table' };
  const removed = await removeAll(api, options, patience);
  t.ok(removed.includes('Deployment shop/wp'));
  t.notOk(api.objects.has(path));
});
