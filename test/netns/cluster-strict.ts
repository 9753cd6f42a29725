/**
 * Kubelet probes through a whole agent: a STRICT workload answers them, sees the kubelet's address, and refuses the same
 * connection from anybody else; counted, in the access log with the reason, and not cut by a policy that comes later.
 */
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findKubelet } from '../../agent/cluster/kubelet.ts';
import { abi, encodeIndex, encodeKubelet } from '../../agent/redirect-abi.ts';
import { formatHostPort } from '../../model/address.ts';
import * as native from '../../native/native.ts';
import { AgentLab } from '../help/agent-lab.ts';
import { FakeKubelet } from '../help/fake-kubelet.ts';
import { authorizationPolicy, peerAuthentication } from '../help/policies.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const stage = await AgentLab.create({
  name: 'strict',
  nodes: ['node-a'],
  objects: [peerAuthentication({ mode: 'STRICT' }), authorizationPolicy({ action: 'ALLOW', rules: [] })],
  pods: [
    { name: 'web', namespace: 'shop', node: 'node-a', serviceAccount: 'web' },
    { name: 'foreign', namespace: 'legacy', node: 'node-a' },
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const web = stage.pod('web');
const node = stage.lab.node('node-a');
const agent = stage.agent('node-a');
await (await stage.sockets(web)).serve('::', 8080);

// Until an agent finds the kubelet of a lab's node by itself, this stands for it: nothing else is told to it.
const kubelet = await FakeKubelet.start(node, stage.lab.directory);
const found = findKubelet(
  { cgroupRoot: node.cgroup, name: 'kubelet', cgroup: null },
  readlinkSync(`/proc/${kubelet.pid}/ns/net`),
);
const map = native.openPinned(join(agent.bpffs, `culvert/node-a/v${abi}/maps/kubelet`)) ?? -1;
native.mapUpdate(map, encodeIndex(0), encodeKubelet(found?.process ?? null), 'any');
native.close(map);

const reason = "kubelet probe: opened by this node's kubelet, let in without policy";
const events = (): Promise<number> => agent.metric('culvert_events_total', { code: 'KUBELET_PROBE' });

t.test('a STRICT workload answers the kubelet', async t => {
  for (const [host, source] of [
    [web.address, `10.244.${node.wiring.index}.1`],
    [web.address6, `fd00:10:244:${node.wiring.index}::1`],
  ] as const) {
    t.equal(await kubelet.probe(host, 8080, 'are-you-well'), 'are-you-well', host);
    const line = await stage.line('node-a', { 'dst.addr': formatHostPort(host, 8080), reason });
    t.ok(String(line['src.addr']).includes(source), 'in its own name');
    t.match(line, { level: 'info', direction: 'inbound', security: 'plaintext' });
    t.notOk(line['policy']);
  }
  t.equal(await events(), 2);
});

t.test('and nobody else', async t => {
  await using namesake = await FakeKubelet.start(node, stage.lab.directory);
  await using hostNetwork = await FakeKubelet.start(node, stage.lab.directory, { group: 'host-network' });
  await using foreign = await FakeKubelet.start(stage.pod('foreign'), stage.lab.directory, { group: '' });
  for (const [who, other] of Object.entries({ namesake, hostNetwork, foreign })) {
    for (const host of [web.address, web.address6]) t.equal(await other.probe(host, 8080), 'nothing', who);
  }
  await stage.line('node-a', { 'dst.workload': 'web', code: 'POLICY_DENIED' });
  t.equal(await events(), 2);
});

t.test('a policy that comes later does not cut it', async t => {
  t.equal(await kubelet.probe(web.address, 8080, 'hold'), 'hold');
  await stage.apply('later.yaml', [authorizationPolicy({ name: 'later', action: 'DENY', rules: [{}] })]);
  const connections = JSON.parse(await agent.admin('/connections')) as {
    direction: string;
    destination: string;
    state: string;
  }[];
  t.match(
    connections.filter(({ direction }) => direction === 'inbound'),
    [{ destination: `${web.address}:8080`, state: 'open' }],
  );
  t.equal(await kubelet.probe(web.address, 8080), 'ping');
  await kubelet[Symbol.asyncDispose]();
});
