/** Many sockets on one epoll: who is told of what, and who closes what. */
import { once } from 'node:events';
import net from 'node:net';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import * as native from '../../native/native.ts';
import { failure, openFiles, ownNamespace } from './fixtures.ts';

const loopback = { address: '127.0.0.1', port: 0, backlog: 16, reusePort: false, v6Only: false };
const EAGAIN = -11;
const ECONNREFUSED = 111;

type Told = [fd: number, events: number];

/** A loop whose wake-ups can be waited for. */
function loopOf(t: { teardown(end: () => void): void }) {
  const events = new Uint32Array(64);
  let waiting: ((told: Told[]) => void) | null = null;
  let told: Told[] = [];
  const give = (): void => {
    if (waiting === null || told.length === 0) return;
    const [resolve, all] = [waiting, told];
    [waiting, told] = [null, []];
    resolve(all);
  };
  const loop = new native.SocketLoop(events, count => {
    for (let at = 0; at < count; at += 1) told.push([events[2 * at] ?? -1, events[2 * at + 1] ?? 0]);
    give();
  });
  t.teardown(() => loop.close());
  const awake = setInterval(() => {}, 1_000);
  t.teardown(() => clearInterval(awake));
  const next = (): Promise<Told[]> =>
    new Promise(resolve => {
      waiting = resolve;
      give();
    });
  return { loop, next };
}

function listener(t: Parameters<typeof ownNamespace>[0]) {
  const fd = native.tcpListener(ownNamespace(t), loopback);
  return { fd, port: native.socketAddress(fd).port };
}

t.test('connects at once on one machine, and both ends are told of bytes and ends', async t => {
  const { loop, next } = loopOf(t);
  const { fd: listening, port } = listener(t);
  loop.listen(listening);
  const [client = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  loop.adopt(client);
  t.equal(native.connect(client, '127.0.0.1', port), 0);
  t.equal((await next())[0]?.[0], listening);
  const accepted = loop.accept(listening);
  if (accepted === null) throw new Error('nobody there');
  t.equal(accepted.address, '127.0.0.1');
  t.equal(accepted.port, native.socketAddress(client).port);
  t.equal(loop.accept(listening), null);

  const inbox = Buffer.alloc(16);
  t.equal(native.receive(accepted.fd, inbox, 0), EAGAIN);
  loop.watch(accepted.fd);
  t.same(await next(), [[accepted.fd, native.readyBits.out]]);
  t.equal(native.send(client, Buffer.from('hello'), false), 5);
  t.same(await next(), [[accepted.fd, native.readyBits.out | native.readyBits.in]]);
  t.equal(native.receive(accepted.fd, inbox, 3), 5);
  t.equal(inbox.toString('utf8', 3, 8), 'hello');
  native.endWrites(client);
  t.ok((await next()).some(([, told]) => told & native.readyBits.peerEnded));
  t.equal(native.receive(accepted.fd, inbox, 0), 0);
  loop.release(client, true);
  loop.release(accepted.fd, true);
});

for (const well of [true, false]) {
  t.test(`a socket that is closed ${well ? 'well' : 'in the middle'}`, async t => {
    const { loop, next } = loopOf(t);
    const { fd: listening, port } = listener(t);
    loop.listen(listening);
    const opened = net.connect(port, '127.0.0.1').resume();
    const end = once(opened, 'end');
    await next();
    const { fd = -1 } = loop.accept(listening) ?? {};
    loop.release(fd, well);
    await (well ? t.resolves(end) : t.rejects(end, { code: 'ECONNRESET' }));
    opened.destroy();
  });
}

t.test('a refused connection is told at once on one machine', async t => {
  const { loop } = loopOf(t);
  const { fd: gone, port } = listener(t);
  native.close(gone);
  const [client = -1] = native.tcpSockets(ownNamespace(t), 4, 1);
  loop.adopt(client);
  t.equal(native.connect(client, '127.0.0.1', port), ECONNREFUSED);
  t.match(
    failure(() => native.connect(client, 'nobody', 1)),
    { code: 'EINVAL' },
  );
});

t.test('a listener that others hold too is told of no more once it is not watched', async t => {
  const { loop, next } = loopOf(t);
  const { fd: theirs, port } = listener(t);
  const ours = native.duplicate(theirs);
  loop.listen(ours);
  loop.unwatch(ours);
  loop.release(ours, true);
  const { fd: second, port: secondPort } = listener(t);
  loop.listen(second);
  for (const to of [port, secondPort]) net.connect(to, '127.0.0.1').on('error', () => {});
  t.same(
    (await next()).map(([fd]) => fd),
    [second],
  );
  native.close(theirs);
});

t.test('all sockets end with the loop, and with the thread', async t => {
  const { fd: listening, port } = listener(t);
  const netns = ownNamespace(t);
  const before = openFiles();
  const { loop } = loopOf(t);
  const fds = native.tcpSockets(netns, 4, 3);
  for (const fd of fds) loop.adopt(fd);
  loop.close();
  t.same(openFiles(), before);
  t.match(
    failure(() => loop.adopt(0)),
    { code: 'EBADF' },
  );
  t.throws(() => native.connect(-1, '127.0.0.1', 1), TypeError);

  const source = `
    import { workerData, parentPort } from 'node:worker_threads';
    const native = await import(workerData.native);
    const loop = new native.SocketLoop(new Uint32Array(8), () => {});
    const [fd] = native.tcpSockets(workerData.netns, 4, 1);
    loop.adopt(fd);
    native.connect(fd, '127.0.0.1', workerData.port);
    parentPort.postMessage('connected');
    setInterval(() => {}, 1000);`;
  const worker = new Worker(source, {
    eval: true,
    workerData: {
      native: new URL('../../native/native.ts', import.meta.url).href,
      netns,
      port,
    },
  });
  const server = net.createServer().listen({ fd: listening });
  const [[socket]] = await Promise.all([once(server, 'connection'), once(worker, 'message')]);
  (socket as net.Socket).resume();
  const broken = t.rejects(once(socket as net.Socket, 'end'), { code: 'ECONNRESET' }, 'what was not over');
  await Promise.all([broken, worker.terminate()]);
  server.close();
});
