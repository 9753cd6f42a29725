/**
 * The cluster of the lab is one, before anything of the product is in it: nodes are ready, pods reach each other by address,
 * by Service and by name, within a node and between nodes.
 */
import t from 'tap';
import { Cluster } from '../lab/cluster/cluster.ts';
import { echoPort, httpPort, talkPod, talkService } from '../lab/cluster/talk.ts';
import { namespaceObject } from '../lab/kubernetes.ts';

// A cluster that is kept may have one that is still being deleted.
const namespace = `lab-${process.pid}`;

const cluster = await Cluster.up();
t.teardown(() => cluster.dispose());
const { kubectl } = cluster;
const pod = (name: string): { namespace: string; name: string } => ({ namespace, name });

interface PodStatus {
  readonly status: { readonly podIP: string };
}

t.teardown(() => kubectl.abandon(namespace));
await kubectl.apply([
  namespaceObject(namespace),
  talkPod({ name: 'one', namespace, node: 'node-a' }),
  talkPod({ name: 'two', namespace, node: 'node-a' }),
  talkPod({ name: 'three', namespace, node: 'node-b' }),
  ...['one', 'two', 'three'].map(app => talkService(namespace, app)),
]);
await kubectl.waitFor('condition=Ready', ['pod', '--all', `--namespace=${namespace}`]);

await t.test('nodes have the networks of their numbers', async t => {
  const { status } = await kubectl.get<PodStatus>('pod', 'three', `--namespace=${namespace}`);
  t.match(status.podIP, /^10\.244\.2\./);
});

for (const [target, where] of [
  ['two', 'the same node'],
  ['three', 'another node'],
] as const) {
  await t.test(`a Service is reached by name on ${where}, and the client keeps its address`, async t => {
    const asked = await kubectl.exec(pod('one'), ['talk', 'ask', `http://${target}/hello`]);
    const { status } = await kubectl.get<PodStatus>('pod', 'one', `--namespace=${namespace}`);
    t.equal(asked.code, 0, asked.stderr);
    t.match(JSON.parse(asked.stdout), { pod: target, from: status.podIP, path: '/hello' });
  });
}

await t.test('a name that nobody has is soon known to have no address', async t => {
  const asked = await kubectl.exec(pod('one'), ['talk', 'ask', 'http://nobody/']);
  t.equal(asked.code, 1);
  t.match(asked.stderr, /no such host/);
});

await t.test('a connection streams for as long as it is let', async t => {
  await using stream = cluster.spawnInPod(pod('one'), ['talk', 'stream', `three:${echoPort}`]);
  await stream.says(/^20$/m);
  t.ok(stream.running);
});

await t.test('a container runs programs without the API server', async t => {
  const id = await kubectl.containerId(pod('one'));
  const said = await cluster
    .node('node-a')
    .runInContainer(id, ['talk', 'ask', `http://localhost:${httpPort}/`]);
  t.match(JSON.parse(said.stdout), { pod: 'one' });
});

await t.test('the API server can be killed and comes back with what it knew', async t => {
  await cluster.daemon('kube-apiserver').restart();
  await cluster.answers();
  const { items } = await kubectl.get<{ items: unknown[] }>('pods', `--namespace=${namespace}`);
  t.equal(items.length, 3);
});
