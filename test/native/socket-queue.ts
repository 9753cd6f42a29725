/** Sockets that one thread hands to another: with their number, their peer, and to whoever takes them at last. */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import t from 'tap';
import * as native from '../../native/native.ts';
import { failure, ownNamespace } from './fixtures.ts';

type Owner = Parameters<typeof ownNamespace>[0];

function queue(t: Owner): native.SocketQueueEnds {
  const ends = native.socketQueue();
  t.teardown(() => [ends.in, ends.out].forEach(native.close));
  return ends;
}

/** The socket of what was taken; throws where there is none. */
function socketOf(passed: native.PassedSocket | null): number {
  if (passed === null || passed.fd === null) throw new Error('no socket came');
  return passed.fd;
}

/** A socket of the addon, connected with one of Node. */
async function pair(t: Owner): Promise<{ fd: number; peer: net.Socket; port: number }> {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const [fd = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  const accepted = once(server, 'connection');
  native.connect(fd, '127.0.0.1', port);
  const [peer] = (await accepted) as [net.Socket];
  peer.on('error', () => {});
  t.teardown(() => peer.destroy());
  server.close();
  return { fd, peer, port };
}

t.test('a socket goes through with its number', async t => {
  const ends = queue(t);
  t.equal(native.takeSocket(ends.out), null, 'nothing yet');
  const { fd, peer, port } = await pair(t);
  t.ok(native.passSocket(ends.in, fd, 2 ** 32 - 1));
  native.close(fd);
  const passed = native.takeSocket(ends.out);
  const received = socketOf(passed);
  t.match(passed, { tag: 2 ** 32 - 1, address: '127.0.0.1', port });
  native.send(received, Buffer.from('on'), false);
  t.same((await once(peer, 'data'))[0], Buffer.from('on'), 'and is the connection that it was');
  native.close(received);
  t.equal(native.takeSocket(ends.out), null);
});

t.test('a loop tells of what waits', async t => {
  const ends = queue(t);
  const { fd } = await pair(t);
  const events = new Uint32Array(8);
  const told = new Promise<number>(resolve => {
    const loop = new native.SocketLoop(events, () => resolve(events[0] ?? -1));
    t.teardown(() => loop.close());
    const out = native.duplicate(ends.out);
    loop.listen(out);
    const awake = setInterval(() => {}, 1_000);
    t.teardown(() => clearInterval(awake));
  });
  native.passSocket(ends.in, fd, 1);
  native.close(fd);
  t.ok((await told) > 0);
  native.close(socketOf(native.takeSocket(ends.out)));
});

t.test('one that was reset under way says so, and leaves nothing open', async t => {
  const ends = queue(t);
  const { fd, peer } = await pair(t);
  native.passSocket(ends.in, fd, 7);
  const closed = once(peer, 'close');
  peer.resetAndDestroy();
  await closed;
  native.close(fd);
  t.same(native.takeSocket(ends.out), { tag: 7, fd: null });
});

t.test('a full queue takes no more', async t => {
  const ends = queue(t);
  const { fd } = await pair(t);
  let waiting = 0;
  while (native.passSocket(ends.in, fd, waiting)) waiting += 1;
  t.ok(waiting >= 64, `${waiting} wait`);
  const tags = Array.from({ length: waiting }, () => {
    const passed = native.takeSocket(ends.out);
    native.close(socketOf(passed));
    return passed?.tag;
  });
  t.same(tags, [...Array(waiting).keys()], 'and keeps their order');
  native.close(fd);
});

t.test('what waits ends with the queue', async t => {
  const ends = native.socketQueue();
  const { fd, peer } = await pair(t);
  native.passSocket(ends.in, fd, 0);
  native.close(fd);
  peer.resume();
  const ended = once(peer, 'end');
  for (const end of [ends.out, ends.in]) native.close(end);
  await ended;
});

t.test('what cannot be handed over', async t => {
  const ends = queue(t);
  t.match(
    failure(() => native.passSocket(ends.in, 99_999, 0)),
    { code: 'EBADF' },
  );
  t.throws(() => native.passSocket(ends.in, 0, 2 ** 32), { name: 'TypeError' });
});
