/** What BPF remembers of a socket, read and written by its descriptor. */
import type net from 'node:net';
import t from 'tap';
import * as native from '../../native/native.ts';
import { cgroup, connect, descriptor, enter, failure, ownNamespace, sample, serve, u32 } from './fixtures.ts';

const loopback = { address: '127.0.0.1', port: 0, backlog: 16, reusePort: false, v6Only: false };

t.test('an accepted socket tells where its client wanted to go', async t => {
  const group = cgroup(t);
  const object = sample(t);
  enter(t, group);
  const link = native.attachCgroup(object.programFd('on_accept'), group.fd, 'sock_ops');
  t.teardown(() => native.close(link));
  const names = object.mapFd('names');
  const listener = native.tcpListener(ownNamespace(t), loopback);
  const { port } = native.socketAddress(listener);
  const { promise, resolve } = Promise.withResolvers<native.SocketAddress | null>();
  await serve(t, listener, socket => {
    resolve(native.originalDestination(names, descriptor(socket)));
    socket.end();
  });
  const [fd = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  await connect(t, fd, '127.0.0.1', port);
  t.same(await promise, { address: '192.0.2.9', port: 4321, chosen: null });
  t.equal(native.originalDestination(names, fd), null, 'nothing is known of the client');
});

t.test('a peer name is what the application sees', async t => {
  const group = cgroup(t);
  const object = sample(t);
  enter(t, group);
  const link = native.attachCgroup(object.programFd('show_name'), group.fd, 'getpeername4');
  t.teardown(() => native.close(link));
  const listener = native.tcpListener(ownNamespace(t), loopback);
  const { port } = native.socketAddress(listener);
  await serve(t, listener, socket => socket.end());
  const [fd = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  native.setPeerName(object.mapFd('names'), fd, '192.0.2.7', 4242);
  const socket = (await connect(t, fd, '127.0.0.1', port)) as net.Socket;
  t.match(socket, { remoteAddress: '192.0.2.7', remotePort: 4242 });
});

t.test('a name is stored as bpf/culvert.h has it, in both families', async t => {
  const names = sample(t).mapFd('names');
  const [fd = -1] = native.tcpSockets(ownNamespace(t), 6, 1);
  t.teardown(() => native.close(fd));
  const stored = (address: string) => {
    native.setPeerName(names, fd, address, 0x1234);
    return native.mapLookup(names, u32(fd))?.toString('hex') ?? '';
  };
  t.match(stored('10.0.0.1'), /^00000000000000000000ffff0a0000011234/);
  t.match(stored('fd00::a'), /^fd00000000000000000000000000000a1234/);
  t.match(stored('::ffff:10.0.0.1'), /^00000000000000000000ffff0a0000011234/);
  t.equal(native.originalDestination(names, fd), null, 'a name to be shown is no original destination');
});

t.test('an original destination of IPv6 is canonical', async t => {
  const names = sample(t).mapFd('names');
  const [fd = -1] = native.tcpSockets(ownNamespace(t), 6, 1);
  t.teardown(() => native.close(fd));
  native.setPeerName(names, fd, 'fd00:0:0:0:1:0:0:a', 80);
  const value = native.mapLookup(names, u32(fd)) ?? Buffer.alloc(0);
  value.writeUInt16LE(2, 18); // CULVERT_NAME_ACCEPTED
  native.mapUpdate(names, u32(fd), value, 'any');
  t.same(native.originalDestination(names, fd), { address: 'fd00::1:0:0:a', port: 80, chosen: null });
});

t.test('what cannot be stored is refused', async t => {
  const object = sample(t);
  const names = object.mapFd('names');
  const [fd = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  t.teardown(() => native.close(fd));
  t.match(
    failure(() => native.setPeerName(names, fd, 'nowhere', 1)),
    { code: 'EINVAL', message: /not an IP address/ },
  );
  t.throws(() => native.setPeerName(names, fd, '10.0.0.1', 65536), TypeError);
  t.match(
    failure(() => native.setPeerName(names, 0x7fff_ffff, '10.0.0.1', 1)),
    { code: 'EBADF' },
  );
  t.match(
    failure(() => native.setPeerName(object.mapFd('table'), fd, '10.0.0.1', 1)),
    { code: 'EINVAL', message: /no socket storage/ },
  );
  t.match(
    failure(() => native.originalDestination(object.mapFd('table'), fd)),
    { code: 'EINVAL', message: /no socket storage/ },
  );
  t.match(
    failure(() => native.originalDestination(names, 0x7fff_ffff)),
    { code: 'EBADF' },
  );
});
