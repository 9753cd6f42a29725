import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import t from 'tap';
import type { DnsServerOptions } from '../../../agent/dns/context.ts';
import { udpDescriptor } from '../../help/descriptors.ts';
import { eventually } from '../../lab/eventually.ts';
import { header, query, read, reply } from './packets.ts';
import { place, resolver, tcpClient, udpClient } from './place.ts';

t.test('a stub resolver gets names of the mesh', async t => {
  const here = await place(t);
  const client = resolver(here);
  t.strictSame(await client.resolve4('web.shop.svc.cluster.local', { ttl: true }), [
    { address: '10.96.0.5', ttl: 30 },
  ]);
  t.strictSame(await client.resolve4('WEB.shop'), ['10.96.0.5']);
  t.strictSame((await client.resolve4('db.shop.svc.cluster.local')).sort(), ['10.0.0.1', '10.0.0.2']);
  t.strictSame(await client.resolve6('db.shop.svc.cluster.local'), ['fd00::1']);
  await t.rejects(
    client.resolve6('web.shop.svc.cluster.local'),
    { code: 'ENODATA' },
    'no address of that family',
  );
  t.strictSame(
    await client.resolve4('web.shop.shop.svc.cluster.local'),
    ['10.96.0.5'],
    'through the CNAME of an alias',
  );
  t.strictSame(here.upstream.got, [], 'without asking anybody');
});

t.test('the reply keeps the letter case of the question, and is authoritative', async t => {
  const client = await udpClient(t, await place(t));
  client.send(query('wEb.ShOp.SVC.cluster.local', { id: 4711 }));
  const message = read(await client.next());
  t.match(message, {
    id: 4711,
    rcode: 0,
    questions: [{ name: 'wEb.ShOp.SVC.cluster.local' }],
    answers: [{ name: 'wEb.ShOp.SVC.cluster.local' }],
  });
  t.ok(message.flags & 0x0400, 'AA');
});

t.test('addresses come in changing order', async t => {
  const here = await place(t);
  const client = await udpClient(t, here);
  const first = new Set<string>();
  for (let asked = 0; asked < 60; asked += 1) {
    client.send(query('db'));
    first.add(read(await client.next()).answers[0]?.data ?? '');
  }
  t.equal(first.size, 2);
});

t.test('what does not fit over UDP is truncated, and whole over TCP', async t => {
  const here = await place(t);
  const client = await udpClient(t, here);
  client.send(query('many'));
  const short = await client.next();
  t.ok(short.length <= 512);
  t.ok(read(short).flags & 0x0200, 'TC');
  const stream = await tcpClient(t, here);
  stream.send(query('many'));
  t.equal(read(await stream.next()).answers.length, 300);
});

t.test('everything else goes on byte for byte, and so does the reply', async t => {
  const here = await place(t, {}, 16);
  const client = await udpClient(t, here);
  const foreign: Record<string, Buffer> = {
    'a public name': query('www.example.com', { id: 1 }),
    'a name in no namespace of ours': query('example.com', { id: 2 }),
    'an unknown service': query('nosuch.shop.svc.cluster.local', { id: 3 }),
    SRV: query('_http._tcp.web.shop.svc.cluster.local', { id: 4, type: 33 }),
    'ANY of a name of ours': query('web.shop', { id: 5, type: 255 }),
    PTR: query('5.0.96.10.in-addr.arpa', { id: 6, type: 12 }),
    UPDATE: query('web.shop.svc.cluster.local', { id: 7, flags: 0x2800 }),
    'class CHAOS': query('version.bind', { id: 8, type: 16, class: 3 }),
    'two questions': Buffer.concat([
      header(9, 0x0100, [2, 0, 0, 0]),
      query('web').subarray(12),
      query('db').subarray(12),
    ]),
    'EDNS with options': Buffer.concat([
      header(10, 0x0100, [1, 0, 0, 1]),
      query('example.com').subarray(12),
      Buffer.of(0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 0),
    ]),
    malformed: Buffer.concat([header(11, 0x0100, [1, 0, 0, 0]), Buffer.of(63, 1, 2, 3)]),
  };
  for (const [what, packet] of Object.entries(foreign)) {
    const answer = Buffer.concat([reply(packet, { address: [192, 0, 2, 9] }), Buffer.from('and more')]);
    here.upstream.answer = () => [answer];
    client.send(packet);
    t.strictSame(await client.next(), answer, `${what}: reply`);
    t.strictSame(here.upstream.got.pop(), packet, `${what}: query`);
  }
  t.strictSame(here.counted, {});
});

t.test('a type that a name of ours does not have is no denial of the name', async t => {
  const here = await place(t);
  const client = await udpClient(t, here);
  const https = query('web.shop.svc.cluster.local', { type: 65 });
  here.upstream.answer = packet => [reply(packet, { rcode: 3 })];
  client.send(https);
  t.match(
    read(await client.next()),
    { rcode: 0, answers: [], authority: [{ type: 6 }] },
    'NXDOMAIN becomes no data',
  );
  here.upstream.answer = packet => [reply(packet, { rcode: 0, address: [1, 2, 3, 4] })];
  client.send(https);
  t.match(read(await client.next()), { answers: [{ ttl: 999 }] }, 'any other reply is relayed');
  here.upstream.answer = packet => [reply(packet, { rcode: 3 })];
  client.send(query('example.com'));
  t.match(read(await client.next()), { rcode: 3 }, 'and names of others may be denied');
});

t.test('a reply counts only from the server that was asked, to what was asked', async t => {
  const here = await place(t);
  const client = await udpClient(t, here);
  const asked = query('example.com', { id: 99 });
  const right = reply(asked, { address: [192, 0, 2, 1] });
  here.upstream.answer = () => [
    reply(query('example.com', { id: 98 }), { address: [6, 6, 6, 6] }),
    reply(query('evil.example', { id: 99 }), { address: [6, 6, 6, 6] }),
    asked,
    Buffer.of(0, 99),
    right,
  ];
  // A stranger who guessed the port may send what he likes: the kernel drops it.
  const stranger = createSocket('udp4');
  t.teardown(() => stranger.close());
  here.upstream.udp.prependListener('message', (_, from) => {
    stranger.send(reply(asked, { address: [6, 6, 6, 6] }), from.port, from.address);
  });
  client.send(asked);
  t.strictSame(await client.next(), right);
  t.equal(here.counted.DNS_WRONG_REPLY, 4);
  t.equal(client.got.length, 1);
});

t.test('a server that refuses, sleeps, or cannot be asked means SERVFAIL', async t => {
  const asked = query('example.com', { id: 5 });
  const failed = { id: 5, rcode: 2, questions: [{ name: 'example.com' }] };
  for (const [code, change, sockets] of [
    ['DNS_UPSTREAM_FAILED', { originalServerUdp: () => ({ address: '127.0.0.1', port: 1 }) }, 1],
    ['DNS_NO_SERVER', { originalServerUdp: () => null }, 1],
    [
      'DNS_INTERNAL_ERROR',
      {
        originalServerUdp: () => {
          throw new Error('map gone');
        },
      },
      1,
    ],
    ['DNS_NO_SOCKET', {}, 0],
    [
      'DNS_INTERNAL_ERROR',
      {
        settings: () => {
          throw new Error('no settings');
        },
        originalServerUdp: () => null,
      },
      1,
    ],
  ] as [string, Partial<DnsServerOptions>, number][]) {
    const here = await place(t, change, sockets);
    const client = await udpClient(t, here);
    client.send(asked);
    t.match(read(await client.next()), failed, code);
    t.equal(here.counted[code], 1);
  }
  const here = await place(t, { limits: { queryMs: 30 } });
  here.upstream.answer = () => [];
  const client = await udpClient(t, here);
  client.send(asked);
  t.match(read(await client.next()), failed, 'timeout');
  t.equal(here.counted.DNS_UPSTREAM_TIMEOUT, 1);
  t.equal(here.server.queriesUnderWay, 0);
});

t.test('an error of ours passes the query on', async t => {
  const here = await place(t, {
    settings: () => {
      throw new Error('no settings');
    },
  });
  const client = await udpClient(t, here);
  client.send(query('web.shop'));
  t.match(read(await client.next()), { answers: [{ ttl: 999 }] });
  t.equal(here.counted.DNS_INTERNAL_ERROR, 1);
});

t.test('the oldest query gives way when there are too many', async t => {
  const here = await place(t, { limits: { udpQueriesPerPod: 2 } });
  here.upstream.answer = () => [];
  const client = await udpClient(t, here);
  for (const id of [1, 2, 3]) client.send(query('example.com', { id }));
  t.match(read(await client.next()), { id: 1, rcode: 2 });
  t.equal(here.counted.DNS_QUERY_LIMIT, 1);
  t.equal(here.server.queriesUnderWay, 2);
});

t.test('packets that are no queries are dropped', async t => {
  const here = await place(t);
  const client = await udpClient(t, here);
  for (const packet of [Buffer.alloc(0), Buffer.alloc(11), query('web', { flags: 0x8100 })])
    client.send(packet);
  client.send(query('web', { id: 8 }));
  t.match(read(await client.next()), { id: 8 });
  t.equal(here.counted.DNS_NOT_A_QUERY, 3);
});

t.test('random packets never end the server', async t => {
  const here = await place(t, { originalServerUdp: () => null });
  const client = await udpClient(t, here);
  for (let round = 0; round < 20; round += 1) {
    // Few enough at a time for the socket's buffer.
    for (let sent = 0; sent < 50; sent += 1) client.send(randomBytes(sent + round));
    client.send(query('web', { id: 0xb000 + round }));
    await eventually(() =>
      client.got.some(
        packet => packet.readUInt16BE(0) === 0xb000 + round && read(packet).answers.length === 1,
      ),
    );
  }
  t.pass('it answers still');
});

t.test('a dual-stack socket serves both families and tells which', async t => {
  const families: number[] = [];
  const here = await place(t, {
    originalServerUdp: (_cookie, _port, family) => (families.push(family), null),
  });
  const both = await udpDescriptor('::');
  here.server.addPod({
    cookie: 3n,
    workloadUid: 'x',
    namespace: 'shop',
    udp: [{ fd: both.fd, family: 6 }],
    tcp: [],
  });
  for (const [type, address] of [
    ['udp4', '127.0.0.1'],
    ['udp6', '::1'],
  ] as const) {
    const socket = createSocket(type);
    t.teardown(() => socket.close());
    socket.send(query('example.com'), both.port, address);
    const [packet] = (await once(socket, 'message')) as [Buffer];
    t.equal(read(packet).rcode, 2);
  }
  t.strictSame(families, [4, 6]);
});

t.test('a query whose name the mesh is asked about waits, unless its pod goes', async t => {
  const waiting: (() => void)[] = [];
  const here = await place(t, {
    learn: (_, needs, done) => {
      if (needs().length === 0) done();
      else waiting.push(done);
    },
  });
  const client = await udpClient(t, here);
  client.send(query('new.shop', { id: 1 }));
  await eventually(() => waiting.length === 1);
  client.send(query('web.shop', { id: 2 }));
  t.match(read(await client.next()), { id: 2, answers: [{ ttl: 30 }] }, 'others are not kept waiting');
  waiting[0]?.();
  t.match(read(await client.next()), { id: 1, answers: [{ ttl: 999 }] });
  client.send(query('newer.shop', { id: 3 }));
  await eventually(() => waiting.length === 2);
  here.server.close();
  waiting[1]?.();
  t.strictSame(here.counted, {});
});

t.test('told to retire it answers what it has taken, and takes no more', async t => {
  const here = await place(t);
  const client = await udpClient(t, here);
  here.upstream.answer = packet => {
    here.server.retire();
    return [reply(packet, { address: [192, 0, 2, 7] })];
  };
  client.send(query('example.com', { id: 5 }));
  t.match(read(await client.next()), { id: 5, rcode: 0 });
  const late = createSocket('udp4');
  t.teardown(() => late.close());
  late.connect(here.port, '127.0.0.1');
  await once(late, 'connect');
  const refused = new Promise<Error>(resolve => late.once('error', resolve));
  late.send(query('example.com'));
  t.match(await refused, { code: 'ECONNREFUSED' }, 'its socket is left to whoever shares it');
  t.equal(here.upstream.got.length, 1);
});
