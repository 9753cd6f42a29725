/**
 * The same on another kind of node: pods have two addresses, and cgroups are as this machine has them, which where version 1
 * is still around is the hybrid kind. Installed by Helm, which is told where cgroup v2 is.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import type { AgentStatus } from '../../agent/status.ts';
import { peerAuthentication } from '../help/policies.ts';
import { machineLayout } from '../lab/cluster/cgroups.ts';
import { defaultName } from '../lab/cluster/cluster.ts';
import { staticPods } from '../lab/cluster/node-files.ts';
import { httpPort, talkPod } from '../lab/cluster/talk.ts';
import { eventually } from '../lab/eventually.ts';
import type { Finished } from '../lab/run.ts';
import { Mesh } from './mesh.ts';
import { players, Stage } from './stage.ts';

const mesh = await Mesh.up('helm', {
  name: `${defaultName()}-dual`,
  cgroups: machineLayout(),
  ipv6: true,
});
t.teardown(() => mesh.cluster.dispose());
const { kubectl } = mesh.cluster;
const stage = await Stage.set(mesh, 'dual');
t.teardown(() => stage.clear());
const { namespace, street } = stage;
await mesh.enrol(namespace, players);

function ask(name: string, address: string, path: string): Promise<Finished> {
  const host = isIPv6(address) ? `[${address}]` : address;
  const pod = { name, namespace: name === 'stranger' ? street : namespace };
  return kubectl.exec(pod, ['talk', 'ask', `http://${host}:${httpPort}${path}`]);
}

for (const family of [4, 6] as const) {
  t.test(`by IPv${family}`, async t => {
    for (const player of ['near', 'far'] as const) {
      const { podIPs } = (await stage.pod(player)).status;
      const address = podIPs.map(({ ip }) => ip).find(ip => isIPv6(ip) === (family === 6)) ?? '';
      const song = `/canary-${family}-${player}`;
      const heard = await mesh.overheard(async () => {
        const asked = await ask('client', address, song);
        t.equal(asked.code, 0, `${player} answers ${asked.stderr}`);
        const { podIPs } = (await stage.pod('client')).status;
        const { from } = JSON.parse(asked.stdout) as { from: string };
        t.ok(
          podIPs.some(({ ip }) => ip === from),
          `and sees the client's own address, ${from}`,
        );
      });
      t.notOk(heard.contains(song), 'nobody heard it');
    }
  });
}

t.test('a stranger has two addresses as well, and is refused by both of them', async t => {
  await kubectl.apply([peerAuthentication({ namespace, mode: 'STRICT' })]);
  for (const player of ['near', 'far'] as const) {
    for (const { ip } of (await stage.pod(player)).status.podIPs) {
      await eventually(async () => (await ask('stranger', ip, '/')).code !== 0, {
        what: `a stranger being refused by ${ip}`,
      });
      t.equal((await ask('client', ip, '/')).code, 0, `the client is heard at ${ip}`);
    }
  }
});

t.test('and the kubelet has its answers', async t => {
  await kubectl.apply([talkPod({ name: 'late', namespace, node: 'node-b' })]);
  await kubectl.waitFor('condition=Ready', ['pod/late', `--namespace=${namespace}`]);
  await mesh.untilEnrolled(namespace, ['late']);
  t.pass('a pod that is probed becomes ready');
});

t.test('a static pod, which the API server has a mirror of, is in the mesh from its start', async t => {
  const pod = talkPod({ name: 'fixed', namespace });
  const { serviceAccountName: _, ...spec } = pod.spec as Record<string, unknown>;
  const folder = join(mesh.cluster.node('node-b').state, staticPods);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'fixed.yaml'), stringify({ ...pod, spec }));
  const name = 'fixed-node-b';
  await eventually(async () => (await kubectl.get('pod', name, `--namespace=${namespace}`)) !== null, {
    timeoutMs: 60_000,
    what: 'the mirror',
  });
  await kubectl.waitFor('condition=Ready', [`pod/${name}`, `--namespace=${namespace}`]);
  await mesh.untilEnrolled(namespace, [name]);
  const { status } = await kubectl.get<{ status: { podIP: string } }>(
    'pod',
    name,
    `--namespace=${namespace}`,
  );
  const song = '/canary-static';
  const heard = await mesh.overheard(async () => {
    t.equal((await ask('client', status.podIP, song)).code, 0, 'the mesh is heard under STRICT');
  });
  t.notOk(heard.contains(song), 'nobody else heard it');
  t.not((await ask('stranger', status.podIP, '/')).code, 0, 'a stranger is not');
  await mesh.line('node-b', {
    'dst.workload': name,
    'dst.identity': `spiffe://cluster.local/ns/${namespace}/sa/default`,
  });
  rmSync(join(folder, 'fixed.yaml'));
});

t.test('agents that know only what their nodes need carry the first connection already', async t => {
  await mesh.change('agent.meshState=on-demand');
  const before = await mesh.admin<AgentStatus>('node-a', '/status');
  t.equal(before.mesh.services, 0, 'no Service was asked for');
  await mesh.untilEnrolled(namespace, players);
  const song = '/canary-on-demand';
  const heard = await mesh.overheard(async () => {
    const { podIPs } = (await stage.pod('far')).status;
    for (const { ip } of podIPs) t.equal((await ask('client', ip, song)).code, 0, ip);
    const asked = await stage.ask('client', 'far', song);
    t.equal(asked.code, 0, `by name ${asked.stderr}`);
  });
  t.notOk(heard.contains(song), 'nobody heard it');
  const after = await mesh.admin<AgentStatus>('node-a', '/status');
  t.equal(after.mesh.services, 1);
  t.ok((await mesh.metric('node-a', 'culvert_xds_names', 'answer="found"')) >= 2);
  await mesh.line('node-b', { direction: 'inbound', 'src.workload': 'client' });
});
