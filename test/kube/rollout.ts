/**
 * An upgrade reaches the agents of all nodes while pods talk: no connection is refused, and what is open may end by itself.
 */
import t from 'tap';
import { peerAuthentication } from '../help/policies.ts';
import { talkPod } from '../lab/cluster/talk.ts';
import { eventually } from '../lab/eventually.ts';
import type { LabProcess } from '../lab/process.ts';
import { Mesh } from './mesh.ts';
import { flows, players, Stage, type Player } from './stage.ts';

const mesh = await Mesh.up('command');
t.teardown(() => mesh.cluster.dispose());
const { cluster } = mesh;
const { kubectl } = cluster;
const stage = await Stage.set(mesh);
t.teardown(() => stage.clear());
const { namespace } = stage;
await mesh.enrol(namespace, players);
// From here on an unprotected connection is a refused one.
await kubectl.apply([peerAuthentication({ namespace, mode: 'STRICT' })]);
await eventually(async () => (await stage.ask('stranger', 'far')).code !== 0, {
  what: 'STRICT to be in force',
});

const pairs: readonly (readonly [Player, Player])[] = [
  ['client', 'near'],
  ['client', 'far'],
  ['far', 'client'],
];

/** A new connection every 50 ms. */
function talk([from, to]: readonly [Player, Player]): LabProcess {
  return cluster.spawnInPod({ name: from, namespace }, ['talk', 'steady', `${to}.${namespace}:9090`]);
}

t.test('agents are rolled out while pods talk and are made', async t => {
  const before = await Promise.all(['node-a', 'node-b'].map(node => mesh.agentOn(node)));
  const talks = pairs.map(talk);
  await Promise.all(talks.map(it => it.says(/^ok$/m)));
  const stream = stage.stream('client', 'far');
  await flows(stream);

  // Another value each time: a cluster that was kept may have seen this test before.
  const upgrade = mesh.culvert('upgrade', '--set', `agent.annotations.rolled=by-${process.pid}`);
  const made = Promise.all(
    ['node-a', 'node-b'].map(async node => {
      const name = `new-on-${node}`;
      await kubectl.apply([talkPod({ name, namespace, node, serviceAccount: 'near' })]);
      await kubectl.waitFor('condition=Ready', [`pod/${name}`, `--namespace=${namespace}`], 120_000);
      await mesh.untilEnrolled(namespace, [name]);
    }),
  );
  const taken = (node: string): Promise<number> =>
    mesh.metric(node, 'culvert_handovers_total', 'outcome="taken"').catch(() => 0);
  await eventually(async () => (await taken('node-a')) + (await taken('node-b')) > 0, {
    timeoutMs: 60_000,
    what: 'the first new agent to have taken over',
  });
  await flows(stream);
  t.ok(stream.running, 'an open connection goes on');
  await stream.stop();
  t.match(await upgrade, /changed +DaemonSet culvert-system\/culvert-agent/);
  await mesh.rolledOut();
  await made;

  for (const [index, it] of talks.entries()) {
    await it.stop();
    const lines = it.stdout().trim().split('\n');
    const failed = lines.filter(line => line !== 'ok');
    t.same(failed, [], `${pairs[index]?.join(' to ')}: all of ${lines.length} connections`);
    t.ok(lines.length > 50);
  }
  for (const [index, node] of ['node-a', 'node-b'].entries()) {
    t.not((await mesh.agentOn(node)).name, before[index]?.name, `${node} has a new agent`);
    t.equal(await taken(node), 1, 'which took over');
  }
});
