import type { AddressInfo } from 'node:net';
import t from 'tap';
import { tcpDescriptor } from '../../help/descriptors.ts';
import { eventually } from '../../lab/eventually.ts';
import { query, read } from './packets.ts';
import { place, tcpClient, udpClient } from './place.ts';

t.test('a pod that leaves takes its sockets along', async t => {
  const here = await place(t);
  here.upstream.answer = () => [];
  const client = await udpClient(t, here);
  const stream = await tcpClient(t, here);
  client.send(query('example.com'));
  stream.send(query('example.com'));
  await eventually(() => here.upstream.got.length === 2);
  here.server.removePod(1n);
  await eventually(() => stream.socket.readableEnded);
  t.equal(here.server.queriesUnderWay, 0);
  t.equal(here.server.size, 0);
  await t.rejects(tcpClient(t, here), { code: 'ECONNREFUSED' });
});

t.test('a pod whose descriptors are none is refused, with nothing left behind', async t => {
  const here = await place(t);
  const tcp = await tcpDescriptor();
  const pod = {
    cookie: 2n,
    workloadUid: 'x',
    namespace: 'shop',
    udp: [{ fd: tcp.fd, family: 4 as const }],
    tcp: [],
  };
  t.throws(() => here.server.addPod(pod), { code: 'DNS_LISTEN_FAILED' });
  t.equal(here.server.size, 1);
});

t.test('queries are counted by type, protocol and service', async t => {
  const here = await place(t);
  const client = await udpClient(t, here);
  for (const packet of [
    query('web'),
    query('web', { type: 28 }),
    query('example.com'),
    query('example.com', { type: 4242 }),
  ]) {
    client.send(packet);
    await client.next();
  }
  const { created, rows, width } = here.metrics.snapshot();
  const counted = created.map(({ labels }, at) => [
    labels.request_query_type,
    labels.source_canonical_service,
    ...rows.subarray(at * width + 1, at * width + 4),
  ]);
  t.strictSame(counted, [
    ['A', 'client', 2, 1, 0],
    ['AAAA', 'client', 1, 0, 0],
    ['other', 'client', 1, 1, 0],
  ]);
});

t.test('the address of the TCP client is at hand for the lookup of its server', async t => {
  const seen: (number | undefined)[] = [];
  const here = await place(t, { originalServerTcp: socket => (seen.push(socket.remotePort), null) });
  const stream = await tcpClient(t, here);
  stream.send(query('example.com'));
  t.match(read(await stream.next()), { rcode: 2 });
  t.strictSame(seen, [(stream.socket.address() as AddressInfo).port]);
});
