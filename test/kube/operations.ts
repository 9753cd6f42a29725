/**
 * What operators do, and what happens to clusters, while pods talk: the mesh neither lets anybody through unprotected nor
 * stands in the way longer than it must.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { controlName } from '../../daemonset/names.ts';
import { peerAuthentication } from '../help/policies.ts';
import { cniConfiguration } from '../lab/cluster/node-files.ts';
import { talkPod } from '../lab/cluster/talk.ts';
import { eventually } from '../lab/eventually.ts';
import { namespaceObject } from '../lab/kubernetes.ts';
import { dataplaneMode, Mesh, system } from './mesh.ts';
import { flows, players, Stage } from './stage.ts';

const mesh = await Mesh.up('kustomize');
t.teardown(() => mesh.cluster.dispose());
const { cluster } = mesh;
const { kubectl } = cluster;
const stage = await Stage.set(mesh);
t.teardown(() => stage.clear());
const { namespace } = stage;
const here = `--namespace=${namespace}`;
await mesh.enrol(namespace, players);
// From here on an unprotected connection is a refused one.
await kubectl.apply([peerAuthentication({ namespace, mode: 'STRICT' })]);
await eventually(async () => (await stage.ask('stranger', 'far')).code !== 0, {
  what: 'STRICT to be in force',
});

/** What a client says in all requests, to be looked for on the wire. */
const canary = 'the-canary-sings';

async function everybodyTalks(t: Test, when: string): Promise<void> {
  for (const to of ['near', 'far'] as const) {
    const talks = async (): Promise<boolean> => (await stage.ask('client', to, `/${canary}`)).code === 0;
    await eventually(talks, { timeoutMs: 60_000, what: `${to} answering the client ${when}` });
    t.pass(`${to} answers ${when}`);
  }
  t.not((await stage.ask('stranger', 'near')).code, 0, 'and no stranger');
}

/** A pod of the namespace that is made now is enrolled before it runs. */
async function newPod(t: Test, name: string, node: string): Promise<void> {
  await kubectl.apply([talkPod({ name, namespace, node })]);
  await kubectl.waitFor('condition=Ready', [`pod/${name}`, here], 120_000);
  await mesh.untilEnrolled(namespace, [name]);
  const asked = await kubectl.exec({ name, namespace }, ['talk', 'ask', `http://far.${namespace}/`]);
  t.equal(asked.code, 0, `the new pod ${name} is in the mesh ${asked.stderr}`);
}

t.test('an agent is deleted', async t => {
  const old = await mesh.agentOn('node-a');
  const heard = await mesh.overheard(async () => {
    await kubectl.delete('pod', old.name, `--namespace=${system}`);
    await everybodyTalks(t, 'after the agent of its node was replaced');
  });
  t.notOk(heard.contains(canary), 'nobody said anything in the clear meanwhile');
  t.not((await mesh.agentOn('node-a')).name, old.name);
  await mesh.rolledOut();
});

for (const node of ['node-a', 'node-b']) {
  t.test(`the agent of ${node} crashes`, async t => {
    const { name } = await mesh.agentOn(node);
    const heard = await mesh.overheard(async () => {
      await mesh.crashAgent(node);
      const asked = (['near', 'far', 'near', 'far'] as const).map(to =>
        stage.ask('client', to, `/${canary}`),
      );
      // A client has patience for two seconds, which a busy machine may need to start an agent.
      for (const { stderr } of await Promise.all(asked))
        t.notMatch(stderr, /refused|reset/, 'everybody waits');
      await everybodyTalks(t, 'after the agent has crashed');
    });
    t.notOk(heard.contains(canary), 'nobody said anything in the clear meanwhile');
    t.equal((await mesh.agentOn(node)).name, name);
    t.equal(
      await mesh.metric(node, 'culvert_agent_crashes_total'),
      1,
      'it was started again in its container',
    );
  });

  t.test(`the container of the agent of ${node} is killed`, async t => {
    const heard = await mesh.overheard(async () => {
      await mesh.killAgent(node);
      // Of what is asked now some is refused, for there is nobody to protect it.
      await everybodyTalks(t, 'after the agent was killed');
    });
    t.notOk(heard.contains(canary), 'nobody said anything in the clear meanwhile');
    await mesh.rolledOut();
  });
}

t.test('kubelet and container runtime are restarted', async t => {
  const node = cluster.node('node-a');
  await node.kubelet.stop();
  await node.containerd.stop();
  await node.startContainerd();
  await node.kubelet.start();
  // Under STRICT it becomes ready only if the agent knows the new kubelet, and enrolled only if it finds the new runtime.
  await newPod(t, 'after-kubelet', 'node-a');
  await everybodyTalks(t, 'after the restarts');
});

t.test('the control plane is away', async t => {
  const scale = (replicas: number): Promise<string> =>
    kubectl.text('scale', `deployment/${controlName}`, `--namespace=${system}`, `--replicas=${replicas}`);
  await using far = stage.stream('client', 'far');
  await using near = stage.stream('client', 'near');
  await Promise.all([flows(far), flows(near)]);
  await scale(0);
  await kubectl.waitFor('delete', [
    'pod',
    `--namespace=${system}`,
    '--selector=app.kubernetes.io/component=control',
  ]);
  await Promise.all([flows(far), flows(near)]);
  await everybodyTalks(t, 'without a control plane');
  // An agent that starts now knows nothing of the mesh, and may wait for long: it must not be killed for that.
  await mesh.killAgent('node-b');
  const health = async (of: 'live' | 'ready'): Promise<string> => {
    const url = `http://127.0.0.1:15021/healthz/${of}`;
    return (await cluster.node('node-b').place.run('curl', ['-s', url], { check: false })).stdout;
  };
  await eventually(async () => (await health('ready')).includes('configuration'), {
    timeoutMs: 60_000,
    what: 'the agent of node-b to say what it waits for',
  });
  t.equal(await health('live'), 'alive\n', 'it lives');
  // A pod of the mesh must not start unprotected. It waits.
  await kubectl.apply([talkPod({ name: 'waits', namespace, node: 'node-b' })]);
  await kubectl.waitFor(`jsonpath={.status.phase}=Pending`, ['pod/waits', here]);
  await scale(2);
  await mesh.rolledOut();
  await kubectl.waitFor('condition=Ready', ['pod/waits', here], 120_000);
  await flows(near);
  t.ok(near.running, 'and the open connection never noticed');
});

t.test('the API server is away, and restarted', async t => {
  const client = await stage.container('client');
  await cluster.daemon('kube-apiserver').stop();
  for (const to of ['near', 'far'] as const)
    t.ok(await stage.askWithoutApi(client, to), `${to} answers without it`);
  await cluster.daemon('kube-apiserver').start();
  await cluster.answers();
  await everybodyTalks(t, 'after it is back');
  await newPod(t, 'after-api', 'node-a');
  const open = peerAuthentication({ namespace, mode: 'PERMISSIVE' });
  await kubectl.apply([open]);
  await eventually(async () => (await stage.ask('stranger', 'near')).code === 0, {
    timeoutMs: 60_000,
    what: 'a change after the restart to be in force',
  });
  await kubectl.apply([peerAuthentication({ namespace, mode: 'STRICT' })]);
  await eventually(async () => (await stage.ask('stranger', 'near')).code !== 0, { what: 'STRICT again' });
});

t.test('another program writes the CNI configuration anew', async t => {
  const file = join(cluster.node('node-b').state, cniConfiguration);
  t.match(readFileSync(file, 'utf8'), 'culvert', 'our plugin is in it');
  const { plugins, ...rest } = JSON.parse(readFileSync(file, 'utf8')) as { plugins: { type: string }[] };
  const without = plugins.filter(({ type }) => !type.includes('culvert'));
  writeFileSync(file, JSON.stringify({ ...rest, plugins: without }));
  await eventually(() => readFileSync(file, 'utf8').includes('culvert'), { what: 'our plugin to be back' });
  await newPod(t, 'after-cni', 'node-b');
});

t.test('a node is drained, and used again', async t => {
  await kubectl.text(
    'drain',
    'node-b',
    '--ignore-daemonsets',
    '--force',
    '--delete-emptydir-data',
    '--timeout=90s',
  );
  await mesh.rolledOut();
  t.equal((await stage.ask('client', 'near')).code, 0, 'the others talk');
  await kubectl.text('uncordon', 'node-b');
  await newPod(t, 'far', 'node-b');
  await everybodyTalks(t, 'with a new pod on the drained node');
});

t.test('a pod of the same name takes the place of another', async t => {
  await kubectl.delete('pod', 'far', here);
  await kubectl.apply([talkPod({ name: 'far', namespace, node: 'node-b', serviceAccount: 'near' })]);
  await kubectl.waitFor('condition=Ready', ['pod/far', here]);
  await everybodyTalks(t, 'after it was made anew with another account');
  const identity = stage.identity('near');
  await mesh.line('node-b', { direction: 'inbound', 'dst.workload': 'far', 'dst.identity': identity });
});

t.test('a namespace is deleted while its pods talk', async t => {
  const doomed = `doomed-${process.pid}`;
  await kubectl.apply([
    namespaceObject(doomed, { [dataplaneMode]: 'ambient' }),
    talkPod({ name: 'one', namespace: doomed, node: 'node-a' }),
    talkPod({ name: 'two', namespace: doomed, node: 'node-b' }),
  ]);
  await kubectl.waitFor('condition=Ready', ['pod', '--all', `--namespace=${doomed}`]);
  await mesh.untilEnrolled(doomed, ['one', 'two']);
  const target = `near.${namespace}:9090`;
  const streams = ['one', 'two'].map(name =>
    cluster.spawnInPod({ name, namespace: doomed }, ['talk', 'stream', target]),
  );
  await Promise.all(streams.map(stream => flows(stream)));
  await kubectl.delete('namespace', doomed);
  await Promise.all(streams.map(stream => stream.exited));
  await everybodyTalks(t, 'as before');
  for (const node of ['node-a', 'node-b']) {
    const { pods } = await mesh.admin<{ pods: { namespace: string }[] }>(node, '/status');
    t.notOk(
      pods.some(pod => pod.namespace === doomed),
      `the agent of ${node} has forgotten its pods`,
    );
  }
});
