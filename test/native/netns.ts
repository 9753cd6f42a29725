/** Other network namespaces: opened, told apart, entered for the time of a socket(2), and left again. */
import { constants } from 'node:os';
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import * as native from '../../native/native.ts';
import {
  command,
  connect,
  directory,
  failure,
  namespace,
  openFiles,
  ownNamespace,
  runModule,
  serve,
} from './fixtures.ts';

const anywhere = { address: '0.0.0.0', port: 0, backlog: 16, reusePort: false, v6Only: false };

t.test('cookies tell namespaces apart and stay the same', async t => {
  const [one, other] = [namespace(t), namespace(t)];
  const again = native.openNetns(one.path);
  t.teardown(() => native.close(again));
  t.not(native.netnsCookie(one.fd), native.netnsCookie(other.fd));
  t.equal(native.netnsCookie(one.fd), native.netnsCookie(again));
  t.not(native.netnsCookie(one.fd), native.netnsCookie(ownNamespace(t)));
});

t.test('a listener inside is reachable only from inside', async t => {
  const place = namespace(t);
  const listener = native.tcpListener(place.fd, anywhere);
  const { port } = native.socketAddress(listener);
  let peers = 0;
  await serve(t, listener, socket => {
    peers += 1;
    socket.end();
  });
  const [inside = -1] = native.tcpSockets(place.fd, 4, 1);
  const [outside = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  t.equal(await connect(t, outside, '127.0.0.1', port), 'ECONNREFUSED');
  const socket = await connect(t, inside, '127.0.0.1', port);
  t.type(socket, 'object', 'connected');
  t.equal(peers, 1);
});

t.test('a namespace stays usable by its descriptor after its name is gone', async t => {
  const place = namespace(t);
  const kept = native.openNetns(place.path);
  t.teardown(() => native.close(kept));
  const cookie = native.netnsCookie(kept);
  command('ip', 'netns', 'delete', place.name);
  t.match(
    failure(() => native.openNetns(place.path)),
    { code: 'ENOENT', fix: /gone/ },
  );
  t.equal(native.netnsCookie(kept), cookie);
  command('ip', 'netns', 'add', place.name); // for the teardown; the same name is another namespace
  const reborn = native.openNetns(place.path);
  t.teardown(() => native.close(reborn));
  t.not(native.netnsCookie(reborn), cookie);
});

t.test('no thread of Node leaves its namespace', async t => {
  const place = namespace(t);
  const home = readlinkSync('/proc/self/ns/net');
  for (let round = 0; round < 50; round++)
    for (const fd of native.tcpSockets(place.fd, 4, 1)) native.close(fd);
  const threads = command('sh', '-c', `readlink /proc/${process.pid}/task/*/ns/net`).trim().split('\n');
  t.ok(threads.length > 1);
  t.same([...new Set(threads)], [home]);
});

t.test('a network parameter is set in one namespace only', async t => {
  const [one, other] = [namespace(t), namespace(t)];
  const name = 'ipv4/ip_default_ttl';
  t.equal(native.netnsSysctl(one.fd, name, '77'), '64', 'the value before');
  t.equal(native.netnsSysctl(one.fd, name, '78'), '77');
  t.equal(native.netnsSysctl(other.fd, name, '64'), '64');
  t.match(
    failure(() => native.netnsSysctl(one.fd, 'ipv4/absent', '1')),
    { code: 'ENOENT', syscall: /absent/ },
  );
  t.match(
    failure(() => native.netnsSysctl(one.fd, name, 'many')),
    { code: 'EINVAL' },
  );
});

t.test('what is not a network namespace is refused', async t => {
  const before = openFiles();
  t.match(
    failure(() => native.openNetns('/etc/passwd')),
    { code: 'EINVAL', syscall: /\/etc\/passwd/, fix: /plain file/ },
  );
  t.match(
    failure(() => native.openNetns('/proc/self/ns/mnt')),
    { code: 'EINVAL', fix: /network namespace/ },
  );
  t.match(
    failure(() => native.openNetns('/run/netns/cvnat-none')),
    { code: 'ENOENT', syscall: /^open\(network namespace\)/ },
  );
  t.equal(openFiles(), before);
  t.match(
    failure(() => native.netnsCookie(0x7fff_ffff)),
    { code: 'EBADF', syscall: 'setns(CLONE_NEWNET)' },
  );
});

t.test('a FIFO in place of a namespace does not hold the event loop', async t => {
  const path = join(directory(t), 'fifo');
  command('mkfifo', path);
  t.match(
    failure(() => native.openNetns(path)),
    { code: 'EINVAL' },
  );
});

t.test('IPv6 is told by opening it', async t => {
  t.equal(native.hasIpv6(namespace(t).fd), native.hasIpv6(ownNamespace(t)));
});

t.test('sockets of both families come in the number asked for', async t => {
  const place = namespace(t);
  for (const family of [4, 6] as const) {
    const fds = native.tcpSockets(place.fd, family, 100);
    t.equal(new Set(fds).size, 100);
    t.equal(native.socketAddress(fds[0] ?? -1).address, family === 4 ? '0.0.0.0' : '::');
    for (const fd of fds) native.close(fd);
  }
});

t.test('when descriptors run out, all sockets of the call are given back', async t => {
  // In a child, so that this process keeps its limit.
  const script = `
    import * as native from '${join(import.meta.dirname, '../../native/native.ts')}';
    import { readdirSync } from 'node:fs';
    const place = native.openNetns('/proc/self/ns/net');
    native.netnsCookie(place); // the namespace thread opens its home
    const before = readdirSync('/proc/self/fd').length;
    let error = null;
    try { native.tcpSockets(place, 4, 1024); } catch (thrown) { error = thrown; }
    const after = readdirSync('/proc/self/fd').length;
    console.log(error.code, error.errno, error.fix);
    console.log(after - before);`;
  const said = runModule(script, 'prlimit', '--nofile=200').split('\n');
  t.match(said[0], new RegExp(`^EMFILE ${constants.errno.EMFILE} .*ulimit -n`));
  t.equal(said[1], '0');
});

t.test('without privileges the error says which one is missing', async t => {
  const script = `
    import * as native from '${join(import.meta.dirname, '../../native/native.ts')}';
    const place = native.openNetns('/proc/self/ns/net');
    try { native.netnsCookie(place); } catch (error) { console.log(error.code, error.syscall, '|', error.fix); }
    console.log(native.probe().filter(feature => !feature.available).map(feature => feature.name).join());`;
  const nobody = [
    'setpriv',
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    '--inh-caps=-all',
    '--bounding-set=-all',
  ];
  const said = runModule(script, ...nobody).split('\n');
  t.match(said[0], /^EPERM setns\(CLONE_NEWNET\) \| .*CAP_SYS_ADMIN/);
  t.match(
    said[1],
    /CAP_BPF.*CAP_SYS_ADMIN.*connect programs.*sk_lookup programs.*cgroup links/,
    'and probing throws nothing',
  );
});

t.test('a thread that cannot come back ends the process, loudly', async t => {
  const place = namespace(t);
  const script = `
    import * as native from '${join(import.meta.dirname, '../../native/native.ts')}';
    import { readdirSync, readlinkSync } from 'node:fs';
    const place = native.openNetns('${place.path}');
    native.netnsCookie(place);
    const isNetns = fd => { try { return readlinkSync('/proc/self/fd/' + fd).startsWith('net:['); } catch { return false; } };
    // The way home is the other namespace descriptor of this process.
    native.close(readdirSync('/proc/self/fd').map(Number).find(fd => fd !== place && isNetns(fd)));
    native.netnsCookie(place);
    console.log('still here');`;
  let ended: unknown;
  try {
    runModule(script);
  } catch (error) {
    ended = error;
  }
  const stderr = /cannot return to its own network namespace: .*aborting/;
  t.match(ended, { signal: 'SIGABRT', stdout: '', stderr });
});
