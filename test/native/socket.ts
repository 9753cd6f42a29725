/** Sockets made and tuned by the addon, used by node:net and node:dgram. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import t from 'tap';
import * as native from '../../native/native.ts';
import {
  command,
  connect,
  descriptor,
  failure,
  namespace,
  openFiles,
  ownNamespace,
  serve,
} from './fixtures.ts';

const loopback = { address: '127.0.0.1', port: 0, backlog: 16, reusePort: false, v6Only: false };

/** Opens a listener in the test's own namespace. */
function listener(t: Parameters<typeof ownNamespace>[0], options: Partial<native.ListenOptions> = {}) {
  const fd = native.tcpListener(ownNamespace(t), { ...loopback, ...options });
  return { fd, port: native.socketAddress(fd).port };
}

t.test('members of a reuseport group share a port, others find it taken', async t => {
  const place = namespace(t);
  const first = native.tcpListener(place.fd, { ...loopback, reusePort: true });
  const { port } = native.socketAddress(first);
  const second = native.tcpListener(place.fd, { ...loopback, port, reusePort: true });
  const error = failure(() => native.tcpListener(place.fd, { ...loopback, port }));
  t.match(error, { code: 'EADDRINUSE', syscall: `bind 127.0.0.1:${port}`, fix: /another program/ });
  for (const fd of [first, second]) native.close(fd);
});

t.test('an address that the namespace does not have, or that is none', async t => {
  const place = namespace(t);
  t.match(
    failure(() => native.tcpListener(place.fd, { ...loopback, address: '192.0.2.1' })),
    { code: 'EADDRNOTAVAIL', fix: /no such address/ },
  );
  t.match(
    failure(() => native.tcpListener(place.fd, { ...loopback, address: 'localhost' })),
    { code: 'EINVAL', message: /not an IP address/ },
  );
  t.match(
    failure(() => native.tcpListener(place.fd, { ...loopback, address: '::2', port: 80 })),
    { syscall: 'bind [::2]:80' },
  );
});

t.test('v6Only decides whether an IPv6 listener takes IPv4', async t => {
  const place = namespace(t);
  for (const v6Only of [true, false]) {
    const fd = native.tcpListener(place.fd, { ...loopback, address: '::', v6Only });
    const { port } = native.socketAddress(fd);
    await serve(t, fd, socket => socket.end());
    const [client = -1] = native.tcpSockets(place.fd, 4, 1);
    const got = await connect(t, client, '127.0.0.1', port);
    t.equal(got === 'ECONNREFUSED', v6Only);
  }
});

t.test('addresses are canonical', async t => {
  const place = namespace(t);
  const mapped = native.tcpListener(place.fd, { ...loopback, address: '::ffff:127.0.0.1' });
  t.equal(native.socketAddress(mapped).address, '127.0.0.1');
  native.close(mapped);
  const long = native.tcpListener(place.fd, { ...loopback, address: '0:0:0:0:0:0:0:1' });
  t.equal(native.socketAddress(long).address, '::1');
  native.close(long);
});

t.test('a listener accepts whole connections on node:net', async t => {
  const { fd, port } = listener(t);
  await serve(t, fd, socket => socket.pipe(socket));
  const socket = net.connect(port, '127.0.0.1');
  socket.end('over and back');
  const [echo] = (await once(socket, 'data')) as [Buffer];
  t.equal(echo.toString(), 'over and back');
});

t.test('a UDP socket is bound inside the namespace', async t => {
  const place = namespace(t);
  const bound = { address: '127.0.0.1', port: 0, reusePort: false, v6Only: false };
  const server = native.udpSocket(place.fd, bound);
  const client = native.udpSocket(place.fd, bound);
  const { port } = native.socketAddress(server);
  t.match(
    failure(() => native.udpSocket(place.fd, { ...bound, port })),
    { code: 'EADDRINUSE' },
  );
  const [receive, send] = [createSocket('udp4'), createSocket('udp4')];
  t.teardown(() => [receive, send].forEach(socket => socket.close()));
  receive.bind({ fd: server });
  send.bind({ fd: client });
  const message = once(receive, 'message') as Promise<[Buffer, { port: number }]>;
  const sender = native.socketAddress(client).port;
  send.send('ping', port, '127.0.0.1');
  const [bytes, from] = await message;
  t.equal(bytes.toString(), 'ping');
  t.equal(from.port, sender);
});

t.test('resetOnClose makes the other side see a reset', async t => {
  for (const reset of [true, false]) {
    const { fd, port } = listener(t);
    await serve(t, fd, socket => {
      if (reset) native.resetOnClose(descriptor(socket));
      socket.destroy();
    });
    const client = net.connect(port, '127.0.0.1').resume();
    const ended = await new Promise(resolve => {
      client.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      client.once('end', () => resolve('end'));
    });
    t.equal(ended, reset ? 'ECONNRESET' : 'end');
  }
});

t.test('keep-alive runs on the timers asked for', async t => {
  const { fd, port } = listener(t);
  await serve(t, fd, () => {});
  const [own = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  native.setKeepalive(own, 4000, 7, 3);
  const socket = await connect(t, own, '127.0.0.1', port);
  if (!(socket instanceof net.Socket)) throw new Error(socket);
  // The remaining seconds of the timer of kind 2 (keep-alive) in 1/100 s, as /proc/net/tcp shows them.
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .find(text =>
      text.includes(`:${socket.localPort?.toString(16).toUpperCase().padStart(4, '0')} 0100007F`),
    );
  const [, kind, left] = / (\d\d):([0-9A-F]{8}) /.exec(line ?? '') ?? [];
  t.equal(kind, '02');
  const seconds = Number.parseInt(left ?? '', 16) / 100;
  t.ok(seconds > 3900 && seconds < 4300, `${seconds} s`);
  t.match(
    failure(() => native.setKeepalive(0x7fff_ffff, 1, 1, 1)),
    { code: 'EBADF' },
  );
});

t.test('descriptors are close-on-exec, duplicated and closed', async t => {
  const before = openFiles();
  const [fd = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  const copy = native.duplicate(fd);
  for (const open of [fd, copy]) {
    const flags = Number.parseInt(
      /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${open}`, 'utf8'))?.[1] ?? '',
      8,
    );
    t.ok(flags & 0o2000000, 'O_CLOEXEC');
    t.ok(flags & 0o4000, 'O_NONBLOCK');
  }
  native.close(fd);
  t.equal(native.socketAddress(copy).port, 0, 'the copy lives on');
  native.close(copy);
  t.match(
    failure(() => native.close(copy)),
    { code: 'EBADF', syscall: 'close' },
  );
  t.match(
    failure(() => native.duplicate(copy)),
    { code: 'EBADF' },
  );
  t.match(
    failure(() => native.socketAddress(copy)),
    { code: 'EBADF', syscall: 'getsockname' },
  );
  t.equal(openFiles(), before + 1, 'all but the namespace of this test');
});

t.test('the limit of open files goes up to the hard limit', async t => {
  const hard = Number(
    command('sh', '-c', `awk '/^Max open files/ { print $5 }' /proc/${process.pid}/limits`),
  );
  t.equal(native.raiseFileLimit(), hard);
  const soft = Number(
    command('sh', '-c', `awk '/^Max open files/ { print $4 }' /proc/${process.pid}/limits`),
  );
  t.equal(soft, hard);
});
