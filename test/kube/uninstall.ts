/**
 * Leaving: after an uninstall the nodes are as they were, and pods that were in the mesh talk as if it had never been. By
 * the command, and by Helm, whose hook runs the same.
 */
import t, { type Test } from 'tap';
import { eventually } from '../lab/eventually.ts';
import { helm } from './helm.ts';
import { Mesh, system } from './mesh.ts';
import { players, Stage } from './stage.ts';

const mesh = await Mesh.up('command');
t.teardown(() => mesh.cluster.dispose());
const { cluster } = mesh;
const { kubectl } = cluster;
const nodes = ['node-a', 'node-b'];
const stage = await Stage.set(mesh, 'leaving');
t.teardown(() => stage.clear());

/** Names of ours on a node: in the CNI directories, in bpffs, and the state directory; and the CNI configuration. */
async function traces(node: string): Promise<string> {
  const script = `find /etc/cni/net.d /opt/cni/bin /sys/fs/bpf -mindepth 1 2>/dev/null | grep -i culvert
    find /run/culvert 2>/dev/null
    cat /etc/cni/net.d/*`;
  return (await cluster.node(node).run('sh', ['-c', script], { check: false })).stdout;
}

async function isInTheMesh(t: Test): Promise<void> {
  await mesh.enrol(stage.namespace, players);
  const before = await mesh.metric('node-a', 'istio_tcp_connections_opened_total', 'mutual_tls');
  t.equal((await stage.ask('client', 'far')).code, 0);
  await eventually(
    async () => (await mesh.metric('node-a', 'istio_tcp_connections_opened_total', 'mutual_tls')) > before,
    { what: 'a connection by mutual TLS' },
  );
  for (const node of nodes) t.match(await traces(node), 'culvert', `${node} has an agent`);
}

async function isAsBefore(t: Test): Promise<void> {
  for (const node of nodes) t.notMatch(await traces(node), 'culvert', `${node} is as it was`);
  for (const to of ['near', 'far'] as const) {
    const asked = await stage.ask('client', to);
    t.equal(asked.code, 0, `${to} answers ${asked.stderr}`);
  }
  t.equal((await stage.ask('stranger', 'far')).code, 0, 'and anybody');
  // Helm does not wait for pods that take their time to end.
  const pods = (): Promise<string> => kubectl.text('get', 'pods', `--namespace=${system}`, '--output=name');
  await eventually(async () => (await pods()) === '', { timeoutMs: 60_000, what: 'nothing of it to run' });
}

t.test('the command cleans the nodes and removes what it made', async t => {
  await isInTheMesh(t);
  t.match(await mesh.culvert('status', '--cluster'), /culvert-agent +2\/2/);
  const said = await mesh.culvert('uninstall');
  t.match(said, /cleaned +2 nodes/);
  await isAsBefore(t);
  t.notMatch(await kubectl.text('get', 'namespaces,clusterroles'), 'culvert');
  t.match(await kubectl.text('get', 'crd'), 'authorizationpolicies.culvert.dev', 'policies are kept');
  t.match(await mesh.culvert('uninstall'), /cleaned +0 nodes/, 'a second time there is nothing to do');
});

t.test('so does Helm', async t => {
  await kubectl.text('create', 'namespace', system);
  await mesh.install('helm');
  await isInTheMesh(t);
  const kubeconfig = `--kubeconfig=${kubectl.kubeconfig}`;
  await helm(['uninstall', 'culvert', '--namespace', system, kubeconfig], {
    timeoutMs: 240_000,
  });
  await isAsBefore(t);
});
