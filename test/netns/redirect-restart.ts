/**
 * What is pinned: a new agent takes over while connections go on, what it cannot understand it replaces, and detach
 * leaves nothing behind.
 */
import { readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { abi } from '../../agent/redirect-abi.ts';
import { Redirect } from '../../agent/redirect.ts';
import * as native from '../../native/native.ts';
import { eventually } from '../lab/eventually.ts';
import { RedirectLab } from './redirect-lab.ts';

const stage = await RedirectLab.create('restart', ['a', 'b', 'gone']);
t.teardown(() => stage[Symbol.asyncDispose]());
const a = stage.pod('a');
const b = stage.pod('b');
const pinned = join(stage.bpffs, 'culvert', 'node%2Etest', `v${abi}`);

const untilTold = `
import select, socket, sys
early = socket.create_connection(("192.0.2.99", 80))
print("begun", flush=True)
done = 0
while not select.select([sys.stdin], [], [], 0)[0]:
  s = socket.create_connection(("192.0.2.%d" % (done % 90 + 1), 80)); s.shutdown(1)
  assert s.makefile().read().count('"port":"outbound"') == 1
  done += 1
early.sendall(b"late"); early.shutdown(1)
assert '"got":"late"' in early.makefile().read()
print("done", done, flush=True)`;

t.test('programs are replaced under traffic: every connection works', async t => {
  const agent = await stage.enrol(a);
  const client = a.spawn('python3', ['-c', untilTold]);
  await client.says(/begun/);
  for (let n = 0; n < 10; n += 1) {
    const next = stage.open();
    t.ok(next.adopted);
    t.equal(next.enrolled().length, 1);
    stage.redirect.close();
    stage.redirect = next;
  }
  client.stdin.write('\n');
  const [, done] = await client.says(/done (\d+)/);
  t.ok(Number(done) > 0, `${done} connections`);
  const { flow_opened, flow_accepted, flow_unknown, connect_passed_stale } = stage.redirect.counters();
  t.equal(flow_accepted, flow_opened);
  t.equal(flow_unknown + connect_passed_stale, 0n);
  await agent.stop();
});

t.test('only root may look', async t => {
  for (const path of [join(stage.bpffs, 'culvert'), pinned, join(pinned, 'maps')])
    t.equal(statSync(path).mode & 0o777, 0o700);
});

t.test('a map of another shape is not read but replaced, with all the rest', async t => {
  const wrong = native.openPinned(join(pinned, 'maps/heartbeat')) ?? -1;
  native.unpin(join(pinned, 'maps/pods'));
  native.pin(wrong, join(pinned, 'maps/pods'));
  native.close(wrong);
  stage.redirect.close();
  stage.redirect = stage.open();
  t.notOk(stage.redirect.adopted);
  t.same(stage.redirect.enrolled(), []);
  await using _server = await stage.serve(b, '::', 8000, '46');
  t.match(
    (await stage.call(a, { to: [b.address, 8000] })).received,
    /getpeername/,
    'nothing of the old one captures',
  );
});

t.test('what another version has pinned goes away', async t => {
  const agent = await stage.enrol(b);
  stage.redirect.close();
  renameSync(pinned, join(pinned, '../v0'));
  stage.redirect = stage.open();
  t.notOk(stage.redirect.adopted);
  t.same(readdirSync(join(pinned, '..')), [`v${abi}`]);
  await using _server = await stage.serve(a, '::', 8000, '46');
  t.match((await stage.call(b, { to: [a.address, 8000] })).received, /getpeername/);
  await agent.stop();
});

t.test('a pod whose namespace is gone is swept', async t => {
  const gone = stage.pod('gone');
  const agent = await stage.enrol(gone, { failMode: 'closed' });
  t.equal(stage.redirect.enrolled().length, 1);
  await agent.stop();
  await gone.delete();
  stage.redirect.close();
  // It ends some time after the last that held it.
  await eventually(() => {
    stage.redirect = stage.open();
    if (stage.redirect.enrolled().length === 0) return true;
    stage.redirect.close();
    return false;
  });
  t.notOk(readdirSync(join(pinned, 'links')).includes(`lookup-${agent.cookie}`));
});

t.test('two instances share a cgroup root', async t => {
  const other = stage.open({ instance: 'other node/2' });
  const agent = await stage.enrol(a);
  t.match((await stage.call(a, { to: ['192.0.2.1', 80] })).received, /192\.0\.2\.1/);
  t.same(other.enrolled(), []);
  other.detach();
  t.match(
    (await stage.call(a, { to: ['192.0.2.1', 80] })).received,
    /192\.0\.2\.1/,
    'and one goes without the other',
  );
  await agent.stop();
});

t.test('retire ends the capture of new connections, and a listener can be replaced', async t => {
  const agent = await stage.enrol(a);
  const fd = native.tcpListener(agent.netnsFd, {
    address: '::',
    port: 15_006,
    backlog: 9,
    reusePort: true,
    v6Only: false,
  });
  stage.redirect.replaceListener(agent.cookie, fd);
  t.match((await stage.call(b, { to: [a.address, 1] })).received ?? 'plaintext', /plaintext/);
  native.close(fd);
  stage.redirect.retire(agent.cookie);
  stage.redirect.retire(agent.cookie);
  await using _server = await stage.serve(b, '::', 8000, '46');
  t.match((await stage.call(a, { to: [b.address, 8000] })).received, /getpeername/);
  t.equal((await stage.call(b, { to: [a.address, 1] })).error, 'ECONNREFUSED', 'inbound too');
  await agent.stop();
});

t.test('detach leaves nothing', async t => {
  await stage.enrol(a);
  const links = readdirSync(join(pinned, 'links')).map(
    name => native.openPinned(join(pinned, 'links', name)) ?? -1,
  );
  t.equal(links.length, 10);
  stage.redirect.detach();
  for (const link of links) {
    const { cgroupId, netnsInode } = native.linkInfo(link);
    t.ok(cgroupId === 0n || netnsInode === 0, 'detached even for those who hold it');
    native.close(link);
  }
  t.notOk(readdirSync(stage.bpffs).includes('culvert'), 'no pin, no directory');
  await using _server = await stage.serve(b, '::', 8000, '46');
  t.match((await stage.call(a, { to: [b.address, 8000] })).received, /getpeername/);
});

t.test('what cannot work says why', async t => {
  const { cgroup } = stage.node;
  t.throws(
    () => stage.open({ agentCgroup: cgroup }),
    { code: 'REDIRECT_AGENT_CGROUP' },
    'pods would be the agent',
  );
  t.throws(() => stage.open({ agentCgroup: '/sys/fs/cgroup/nowhere' }), { code: 'REDIRECT_AGENT_CGROUP' });
  t.throws(() => stage.open({ agentCgroup: join(cgroup, 'nowhere') }), { code: 'REDIRECT_NO_CGROUP2' });
  t.throws(() => stage.open({ bpffs: '/proc/nowhere' }), { code: 'REDIRECT_NO_BPFFS', fix: /mount -t bpf/ });
  t.throws(() => stage.open({ instance: '' }), { code: 'REDIRECT_BAD_INSTANCE' });
});

t.test('bpffs is mounted where there is none', async t => {
  const bpffs = join(t.testdir({}), 'bpf');
  const redirect = Redirect.open({ ...stage.options, bpffs });
  try {
    t.notOk(native.mountBpffs(bpffs), 'it is one now');
    redirect.detach();
  } finally {
    native.unmount(bpffs);
  }
});
