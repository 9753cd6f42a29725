/** Programs attached to cgroups and namespaces: taking effect, replaced, pinned, adopted and gone. */
import { mkdirSync, rmdirSync, statSync, openSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import net from 'node:net';
import t from 'tap';
import * as native from '../../native/native.ts';
import {
  bpffs,
  cgroup,
  compile,
  connect,
  enter,
  failure,
  namespace,
  noOptions,
  ownNamespace,
  sample,
  serve,
} from './fixtures.ts';

/** What a connect() of this process to a listener of this process comes to. */
async function attempt(t: Parameters<typeof ownNamespace>[0], port: number): Promise<string> {
  const [fd = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  const got = await connect(t, fd, '127.0.0.1', port);
  return got instanceof net.Socket ? 'connected' : got;
}

async function listening(t: Parameters<typeof ownNamespace>[0]): Promise<number> {
  const options = { address: '127.0.0.1', port: 0, backlog: 16, reusePort: false, v6Only: false };
  const fd = native.tcpListener(ownNamespace(t), options);
  const { port } = native.socketAddress(fd);
  await serve(t, fd, socket => socket.end());
  return port;
}

t.test(
  'a connect program decides for the cgroup, is replaced without a gap, and goes with its link',
  async t => {
    const group = cgroup(t);
    const object = sample(t);
    const port = await listening(t);
    enter(t, group);
    const link = native.attachCgroup(object.programFd('forbid'), group.fd, 'connect4');
    t.equal(await attempt(t, port), 'EPERM');
    native.updateLink(link, object.programFd('permit'), null);
    t.equal(await attempt(t, port), 'connected');
    native.updateLink(link, object.programFd('forbid'), object.programFd('permit'));
    t.equal(await attempt(t, port), 'EPERM');
    const stale = failure(() =>
      native.updateLink(link, object.programFd('permit'), object.programFd('permit')),
    );
    t.match(stale, { code: 'EPERM', syscall: 'bpf(BPF_LINK_UPDATE)' });
    native.close(link);
    t.equal(await attempt(t, port), 'connected');
  },
);

t.test('detachLink takes effect whoever else holds the link', async t => {
  const group = cgroup(t);
  const object = sample(t);
  const port = await listening(t);
  enter(t, group);
  const link = native.attachCgroup(object.programFd('forbid'), group.fd, 'connect4');
  const held = native.duplicate(link);
  native.detachLink(link);
  t.equal(await attempt(t, port), 'connected');
  t.equal(native.linkInfo(held).cgroupId, 0n);
  const gone = failure(() => native.updateLink(link, object.programFd('permit'), null));
  t.match(gone, { code: 'ENOLINK', fix: /attach again/ });
  for (const fd of [link, held]) native.close(fd);
});

t.test('a pinned link outlives its descriptors and is adopted by path', async t => {
  const fs = bpffs(t);
  const group = cgroup(t);
  const object = sample(t);
  const port = await listening(t);
  enter(t, group);
  const path = join(fs, 'connect4');
  t.equal(native.openPinned(path), null);
  const link = native.attachCgroup(object.programFd('forbid'), group.fd, 'connect4');
  const { id } = native.linkInfo(link);
  native.pin(link, path);
  native.close(link);
  object.close();
  t.equal(await attempt(t, port), 'EPERM', 'in force with nobody holding it');
  const adopted = native.openPinned(path) ?? -1;
  t.equal(native.linkInfo(adopted).id, id);
  t.match(
    failure(() => native.pin(adopted, path)),
    { code: 'EEXIST', fix: /adopt or unpin/ },
  );
  native.updateLink(adopted, sample(t).programFd('permit'), null);
  t.equal(await attempt(t, port), 'connected');
  t.equal(native.unpin(path), true);
  t.equal(native.unpin(path), false);
  native.close(adopted);
});

t.test('maps and programs are pinned too; elsewhere than on bpffs is refused with the remedy', async t => {
  const fs = bpffs(t);
  const object = sample(t);
  native.pin(object.mapFd('table'), join(fs, 'table'));
  native.pin(object.programFd('permit'), join(fs, 'permit'));
  for (const name of ['table', 'permit']) {
    const fd = native.openPinned(join(fs, name)) ?? -1;
    t.equal((name === 'table' ? native.mapInfo(fd) : native.programInfo(fd)).name, name);
    native.close(fd);
    native.unpin(join(fs, name));
  }
  const plain = t.testdir({ file: '' });
  t.match(
    failure(() => native.pin(object.mapFd('table'), join(plain, 'x'))),
    { syscall: /BPF_OBJ_PIN/, fix: /mount -t bpf/ },
  );
  t.match(
    failure(() => native.openPinned(join(plain, 'file'))),
    { syscall: /BPF_OBJ_GET/, fix: /mount -t bpf/ },
  );
});

t.test('an sk_lookup program decides for one namespace only', async t => {
  const [one, other] = [namespace(t), namespace(t)];
  const object = sample(t);
  const link = native.attachNetns(object.programFd('hide'), one.fd);
  const outcome: string[] = [];
  for (const place of [one, other]) {
    const options = { address: '127.0.0.1', port: 7, backlog: 16, reusePort: false, v6Only: false };
    await serve(t, native.tcpListener(place.fd, options), socket => socket.end());
    const [fd = -1] = native.tcpSockets(place.fd, 4, 1);
    const got = await connect(t, fd, '127.0.0.1', 7);
    outcome.push(got instanceof net.Socket ? 'connected' : got);
  }
  t.same(outcome, ['ECONNREFUSED', 'connected']);
  native.updateLink(link, object.programFd('admit'), object.programFd('hide'));
  const [fd = -1] = native.tcpSockets(one.fd, 4, 1);
  t.ok((await connect(t, fd, '127.0.0.1', 7)) instanceof net.Socket, 'after the update');
  t.match(native.linkInfo(link), {
    type: 'netns',
    attachType: 'sk_lookup',
    programId: native.programInfo(object.programFd('admit')).id,
    netnsInode: statSync(one.path).ino,
    cgroupId: null,
  });
  native.close(link);
});

t.test('what a link tells of its cgroup', async t => {
  const group = cgroup(t);
  const object = sample(t);
  const link = native.attachCgroup(object.programFd('show_name'), group.fd, 'getpeername4');
  t.match(native.linkInfo(link), {
    type: 'cgroup',
    attachType: 'getpeername4',
    programId: native.programInfo(object.programFd('show_name')).id,
    cgroupId: native.cgroupId(group.path),
    netnsInode: null,
  });
  native.close(link);
});

t.test('a link whose cgroup was removed says so', async t => {
  const parent = cgroup(t);
  const path = join(parent.path, 'child');
  mkdirSync(path);
  const fd = openSync(path, 'r');
  const link = native.attachCgroup(sample(t).programFd('permit'), fd, 'connect4');
  closeSync(fd);
  rmdirSync(path);
  // The kernel releases what hangs on a removed cgroup from a work queue.
  const { eventually } = await import('../lab/eventually.ts');
  await eventually(() => native.linkInfo(link).cgroupId === 0n, { what: 'the end of the cgroup' });
  t.equal(native.linkInfo(link).cgroupId, 0n);
  native.close(link);
});

t.test('wrong descriptors and attach types are refused', async t => {
  const group = cgroup(t);
  const object = sample(t);
  const program = object.programFd('permit');
  t.match(
    failure(() => native.attachCgroup(program, group.fd, 'connect6')),
    { code: 'EINVAL', syscall: 'bpf(BPF_LINK_CREATE) connect6' },
  );
  t.match(
    failure(() => native.attachCgroup(0x7fff_ffff, group.fd, 'connect4')),
    { code: 'EBADF' },
  );
  t.match(
    failure(() => native.attachNetns(object.programFd('admit'), group.fd)),
    { code: 'EINVAL' },
  );
  t.match(
    failure(() => native.linkInfo(program)),
    { code: 'EINVAL', message: /is no BPF link/ },
  );
  t.match(
    failure(() => native.programInfo(object.mapFd('table'))),
    { code: 'EINVAL', message: /is no BPF program/ },
  );
  t.match(
    failure(() => native.mapInfo(0x7fff_ffff)),
    { code: 'EBADF' },
  );
});

t.test('equal programs have equal tags, and a program knows its maps', async t => {
  const [one, two] = [sample(t), sample(t)];
  t.equal(native.programInfo(one.programFd('hide')).tag, native.programInfo(two.programFd('hide')).tag);
  t.not(native.programInfo(one.programFd('hide')).tag, native.programInfo(one.programFd('admit')).tag);
  const names = native.mapInfo(one.mapFd('names')).id;
  t.ok(native.programInfo(one.programFd('show_name')).mapIds.includes(names));
  t.notOk(native.programInfo(one.programFd('admit')).mapIds.includes(names));
});

t.test('a tracing program runs where its object says, until its link is closed', async t => {
  const object = native.openObject(compile(t, 'trace'), noOptions);
  t.teardown(() => object.close());
  object.load();
  const count = (): bigint =>
    native.mapLookup(object.mapFd('changes'), Buffer.alloc(4))?.readBigUInt64LE(0) ?? -1n;
  const port = await listening(t);
  const link = native.attachTracing(object.programFd('on_change'));
  t.equal(await attempt(t, port), 'connected');
  t.ok(count() > 0n);
  native.close(link);
  t.match(
    failure(() => native.attachTracing(sample(t).programFd('permit'))),
    { code: 'EINVAL', syscall: 'bpf(BPF_RAW_TRACEPOINT_OPEN)' },
  );
});
