/**
 * Who passes for the node's kubelet: itself, over both families, and nobody else on the node, whatever name, cgroup,
 * namespace or address they have.
 */
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findKubelet, type FoundKubelet, type KubeletOptions } from '../../agent/cluster/kubelet.ts';
import { KubeletWatch } from '../../agent/cluster/kubelet-watch.ts';
import { abi, encodeIndex, encodeKubelet } from '../../agent/redirect-abi.ts';
import { createLogger } from '../../base/log.ts';
import * as native from '../../native/native.ts';
import { FakeKubelet, type FakeKubeletOptions } from '../help/fake-kubelet.ts';
import { hardwareAddress } from '../lab/addresses.ts';
import { eventually } from '../lab/eventually.ts';
import type { Place } from '../lab/place.ts';
import type { Told } from './redirect-agent.ts';
import { RedirectLab } from './redirect-lab.ts';

const stage = await RedirectLab.create('probes', ['a', 'b', 'plain']);
t.teardown(() => stage[Symbol.asyncDispose]());
const { node, lab } = stage;
const [a, b, plain] = [stage.pod('a'), stage.pod('b'), stage.pod('plain')];
for (const pod of [a, b]) await stage.enrol(pod, { failMode: 'closed' });

const dials = native.openPinned(`${stage.bpffs}/culvert/node%2Etest/v${abi}/maps/kubelet_dials`) ?? -1;
const known = native.openPinned(`${stage.bpffs}/culvert/node%2Etest/v${abi}/maps/kubelet`) ?? -1;
t.teardown(() => [dials, known].forEach(native.close));

const start = (place: Place, options: FakeKubeletOptions = {}): Promise<FakeKubelet> =>
  FakeKubelet.start(place, lab.directory, options);
const kubelet = await start(node);
const nodeNetns = readlinkSync(`/proc/${kubelet.pid}/ns/net`);
const options: KubeletOptions = { cgroupRoot: node.cgroup, name: 'kubelet', cgroup: null };
const log = createLogger({ component: 'test', level: 'silent' });
const watch = new KubeletWatch({
  ...options,
  redirect: { setKubelet: process => stage.redirect.setKubelet(process) },
  expected: true,
  netns: nodeNetns,
  log,
});
watch.start();
t.teardown(() => watch.stop());

/** What the agent in pod `a` was told of a connection. */
async function told(from: FakeKubelet, host = a.address): Promise<Told> {
  const answer = await from.probe(host, 8080, 'until-end');
  try {
    return JSON.parse(answer) as Told;
  } catch {
    throw new Error(`the pod answered ${answer}`);
  }
}

t.test('the kubelet is found by its executable in its namespace', async t => {
  const found = findKubelet(options, nodeNetns);
  t.equal(found?.pid, kubelet.pid);
  t.equal(found?.cgroup, join(node.cgroup, '_kubelet'));
  t.equal(watch.kubelet?.pid, kubelet.pid);
  t.equal(findKubelet(options, 'net:[1]'), null, 'not in another namespace');
  t.equal(findKubelet({ ...options, name: 'containerd' }, nodeNetns), null);
  t.equal(findKubelet({ ...options, cgroup: join(node.cgroup, '_kubelet') }, nodeNetns)?.pid, kubelet.pid);
  t.equal(findKubelet({ ...options, cgroup: join(node.cgroup, '_node') }, nodeNetns), null);
  t.equal(
    findKubelet({ ...options, cgroupRoot: a.cgroup }, nodeNetns),
    null,
    "not where the hooks don't reach",
  );
});

t.test('its connections are known in the pod', async t => {
  for (const host of [a.address, a.address6]) {
    const counted = await stage.counted(async () => {
      t.match(await told(kubelet, host), { port: 'plaintext', local: host, localPort: 8080, kubelet: true });
    });
    t.match(counted, { kubelet_opened: 1, kubelet_arrived: 1, lookup_steered: 1 });
  }
  t.equal(native.mapEntriesBatch(dials).count, 0, 'each entry was for one connection');
});

t.test('nobody else on the node passes for it', async t => {
  const others: readonly (readonly [string, Place, FakeKubeletOptions, Record<string, number>])[] = [
    ['a daemon in its cgroup', node, { name: 'containerd' }, {}],
    ['one that calls itself kubelet there', node, {}, { kubelet_unproven: 1 }],
    ['a process of the node', node, { name: 'curl', group: '_node' }, {}],
    ['a host-network pod that calls itself kubelet', node, { group: 'pod-host-network' }, {}],
    ['a pod that calls itself kubelet', plain, { group: '' }, {}],
  ];
  for (const [who, place, fake, counts] of others) {
    await using other = await start(place, fake);
    for (const host of [a.address, a.address6]) {
      const counted = await stage.counted(async () => {
        t.match(await told(other, host), { port: 'plaintext', kubelet: false }, who);
      });
      t.match(counted, { lookup_steered: 1, ...counts }, who);
      t.notOk(counted['kubelet_opened'] || counted['kubelet_arrived'], who);
    }
  }
  await using enrolled = await start(b, { group: '' });
  t.match(
    await told(enrolled),
    { port: 'outbound', kubelet: false },
    'a pod of the mesh is captured as ever',
  );
});

t.test('neither does what has all but one of its marks', async t => {
  const real = watch.kubelet as FoundKubelet;
  const as = (change: Partial<FoundKubelet['process']>): void =>
    native.mapUpdate(known, encodeIndex(0), encodeKubelet({ ...real.process, ...change }), 'any');
  await using unprivileged = await start(node, { user: 65_534 });
  as({ pid: unprivileged.pid });
  t.match(await stage.counted(() => told(unprivileged)), { kubelet_unproven: 1 }, 'not root');
  t.teardown(() => as({}));
  as({ pid: real.process.pid + 1 });
  t.match(await stage.counted(() => told(kubelet)), { kubelet_unproven: 1 });
  as({ pidNamespace: { ...real.process.pidNamespace, inode: 1n } });
  t.notOk((await told(kubelet)).kubelet);
  as({ cgroup: 1n });
  t.notOk((await told(kubelet)).kubelet);
  as({ netns: 1n });
  t.notOk((await told(kubelet)).kubelet);
  as({ name: 'kubele' });
  t.notOk((await told(kubelet)).kubelet);
  native.mapUpdate(known, encodeIndex(0), encodeKubelet(null), 'any');
  t.notOk((await told(kubelet)).kubelet, 'nobody is the kubelet while none is known');
  as({});
  t.ok((await told(kubelet)).kubelet);
});

t.test("the node's address proves nothing, even where answers to it reach another pod", async t => {
  // As after poisoning the neighbour table, for which a pod needs rights that it should not have.
  const gateway = node.wiring.index;
  const bridge = `10.244.${gateway}.1`;
  await a.run('ip', ['neigh', 'replace', bridge, 'lladdr', hardwareAddress(plain.address), 'dev', 'eth0']);
  await plain.run('ip', ['addr', 'add', `${bridge}/32`, 'dev', 'lo']);
  await plain.run('ip', ['route', 'add', `${a.address}/32`, 'dev', 'eth0', 'src', bridge]);
  t.teardown(async () => {
    await a.run('ip', ['neigh', 'del', bridge, 'dev', 'eth0']);
    await plain.run('ip', ['route', 'del', `${a.address}/32`, 'dev', 'eth0']);
    await plain.run('ip', ['addr', 'del', `${bridge}/32`, 'dev', 'lo']);
  });
  await using forger = await start(plain, { group: '' });
  t.match(await told(forger), { port: 'plaintext', client: bridge, kubelet: false });
});

t.test('a source port that the kubelet had before is like any other', async t => {
  const { clientPort, client, kubelet: was } = await told(kubelet);
  t.ok(was);
  const calls = [{ to: [a.address, 8080], bind: [client, clientPort] }];
  const script = join(import.meta.dirname, 'redirect-client.py');
  // From a process of the node, as soon as the port is free again.
  const { stdout } = await eventually(
    async () => {
      const result = await node.run('python3', [script, JSON.stringify(calls)]);
      return result.stdout.includes('EADDR') ? null : result;
    },
    { what: 'the port being free again' },
  );
  const [seen] = JSON.parse(stdout) as { received: string }[];
  t.match(JSON.parse(seen?.received ?? '{}') as Told, { clientPort, kubelet: false });
});

t.test('what it opens to others leaves nothing behind', async t => {
  const opened = async (host: string): Promise<void> => {
    const { kubelet_opened: before } = stage.redirect.counters();
    kubelet.process.stdin.write(`x ${host} 8080 silent\n`);
    await eventually(() => stage.redirect.counters().kubelet_opened > before, { what: 'the connection' });
  };
  // Listens and accepts nothing.
  const server = "import socket as s; l = s.create_server(('', 8080)); print('ready', flush=True); input()";
  await lab.outside.spawn('python3', ['-c', server]).says(/ready/);
  await opened(lab.outside.address);
  t.equal(native.mapEntriesBatch(dials).count, 1, 'nobody here has accepted it');
  await plain.spawn('python3', ['-c', server]).says(/ready/);
  await opened(plain.address);
  await kubelet[Symbol.asyncDispose]();
  await eventually(() => native.mapEntriesBatch(dials).count === 0, { what: 'the end of its connections' });
});

t.test('a kubelet that was restarted is known again', async t => {
  watch.look();
  t.equal(watch.kubelet, null);
  await using next = await start(node);
  t.notOk((await told(next)).kubelet, 'not before it was looked for');
  watch.look();
  t.equal(watch.kubelet?.pid, next.pid);
  t.ok((await told(next)).kubelet);

  // Full: a probe is refused like anybody's, and never the other way.
  const { keySize } = native.mapInfo(dials);
  const key = Buffer.alloc(keySize);
  for (let index = 0; index < native.mapInfo(dials).maxEntries; index += 1) {
    key.writeUInt32LE(index, 8);
    native.mapUpdate(dials, key, Buffer.alloc(8), 'create');
  }
  const counted = await stage.counted(async () => t.notOk((await told(next)).kubelet, 'the map is full'));
  t.match(counted, { kubelet_lost: 1 });
});
