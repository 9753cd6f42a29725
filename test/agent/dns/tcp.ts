import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { frame } from '../../../agent/dns/frames.ts';
import { eventually } from '../../lab/eventually.ts';
import { query, read, reply } from './packets.ts';
import { place, tcpClient } from './place.ts';

t.test('pipelined queries share one connection to the server', async t => {
  const here = await place(t);
  const stream = await tcpClient(t, here);
  const asked = [query('a.example', { id: 1 }), query('web', { id: 2 }), query('b.example', { id: 3 })];
  stream.socket.write(Buffer.concat(asked.map(frame)));
  const got = new Map<number, ReturnType<typeof read>>();
  for (let count = 0; count < 3; count += 1) {
    const message = read(await stream.next());
    got.set(message.id, message);
  }
  t.strictSame(
    [got.get(1)?.answers[0]?.ttl, got.get(2)?.answers[0]?.ttl, got.get(3)?.answers[0]?.ttl],
    [999, 30, 999],
  );
  t.equal(here.upstream.connections, 1);
  t.strictSame(here.upstream.got, [asked[0], asked[2]]);
});

t.test('a query in small pieces, and a client that says no more', async t => {
  const here = await place(t, { limits: { tcpIdleMs: 120_000 } });
  const stream = await tcpClient(t, here);
  stream.socket.setNoDelay(true);
  for (const byte of frame(query('example.com', { id: 6 }))) stream.socket.write(Buffer.of(byte));
  stream.socket.end();
  t.match(read(await stream.next()), { id: 6, answers: [{ ttl: 999 }] });
  if (!stream.socket.readableEnded) await once(stream.socket, 'end');
  t.pass('and the server ends too');
});

t.test('a server that breaks off or sleeps means SERVFAIL, and is asked anew', async t => {
  const here = await place(t, { limits: { queryMs: 500 } });
  const stream = await tcpClient(t, here);
  here.upstream.answer = () => [Buffer.alloc(0)];
  stream.send(query('example.com', { id: 1 }));
  t.match(read(await stream.next()), { id: 1, rcode: 2 });
  here.upstream.answer = () => [];
  stream.send(query('example.com', { id: 2 }));
  t.match(read(await stream.next()), { id: 2, rcode: 2 });
  here.upstream.answer = packet => [reply(packet, { address: [1, 1, 1, 1] })];
  stream.send(query('example.com', { id: 3 }));
  t.match(read(await stream.next()), { id: 3, rcode: 0 });
  t.match(here.counted, { DNS_UPSTREAM_FAILED: 1, DNS_UPSTREAM_TIMEOUT: 1 });
});

t.test('a zone transfer comes through whole', async t => {
  const here = await place(t);
  const stream = await tcpClient(t, here);
  here.upstream.answer = packet => [0, 1, 2, 3].map(last => reply(packet, { address: [1, 1, 1, last] }));
  stream.send(query('example.com', { type: 252 }));
  const ends: string[] = [];
  for (let count = 0; count < 4; count += 1) ends.push(read(await stream.next()).answers[0]?.data ?? '');
  t.strictSame(ends, ['01010100', '01010101', '01010102', '01010103']);
});

t.test('idle clients, too many clients and garbage are turned away', async t => {
  const here = await place(t, { limits: { tcpIdleMs: 700, tcpConnectionsPerPod: 2 } });
  const [first, second] = [await tcpClient(t, here), await tcpClient(t, here)];
  first.send(query('web'));
  await first.next();
  second.send(query('web'));
  await second.next();
  const third = net.connect({ port: here.tcpPort, host: '127.0.0.1' }).on('error', () => {});
  await eventually(() => third.destroyed);
  t.equal(here.counted.DNS_CONNECTION_LIMIT, 1);
  await eventually(() => first.socket.readableEnded);
  t.pass('the idle one is closed');
  const fourth = await tcpClient(t, here);
  fourth.socket.write(Buffer.of(0, 3, 1, 2, 3));
  await eventually(() => fourth.socket.readableEnded || fourth.socket.destroyed);
  t.equal(here.counted.DNS_NOT_A_QUERY, 1);
});

t.test('a client that reads nothing holds back only itself', async t => {
  const here = await place(t, { limits: { tcpIdleMs: 3_000 } });
  const greedy = await tcpClient(t, here);
  greedy.socket.pause();
  const burst = Buffer.concat(Array.from({ length: 2_000 }, () => frame(query('many'))));
  greedy.socket.write(burst);
  const other = await tcpClient(t, here);
  other.send(query('web'));
  t.match(read(await other.next()), { answers: [{ data: '0a600005' }] });
  await eventually(
    () => greedy.socket.destroyed || greedy.socket.errored !== null || greedy.socket.writableLength === 0,
  );
  t.pass('and its connection ends or its queries wait in the kernel');
});

t.test('a query whose name the mesh is asked about waits, and the connection with it', async t => {
  const waiting: (() => void)[] = [];
  const asked: (readonly string[])[] = [];
  const here = await place(t, {
    limits: { tcpIdleMs: 120_000, tcpQueriesPerConnection: 2 },
    learn: (_, needs, done) => {
      asked.push(needs());
      waiting.push(done);
    },
  });
  const stream = await tcpClient(t, here);
  stream.socket.write(Buffer.concat([1, 2, 3].map(id => frame(query('new.shop', { id })))));
  stream.socket.end();
  await eventually(() => waiting.length === 2);
  t.strictSame(asked[0], ['shop/new.shop.svc.cluster.local']);
  waiting[1]?.();
  t.match(read(await stream.next()), { id: 2, answers: [{ ttl: 999 }] }, 'others are not kept waiting');
  await eventually(() => waiting.length === 3);
  waiting[2]?.();
  t.match(read(await stream.next()), { id: 3 });
  waiting[0]?.();
  t.match(read(await stream.next()), { id: 1 });
  if (!stream.socket.readableEnded) await once(stream.socket, 'end');
});
