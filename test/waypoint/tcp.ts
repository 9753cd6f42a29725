/** What is no HTTP, and how it is told from what is. */
import { once } from 'node:events';
import t from 'tap';
import { detect } from '../../waypoint/sniff.ts';
import { okay, World } from './world.ts';
import { route } from './world-objects.ts';

t.test('first bytes', async t => {
  const cases: readonly [string, string | null][] = [
    ['GET / HTTP/1.1', 'http1'],
    ['GET /', 'http1'],
    ['GET', null],
    ['G', null],
    ['OPTIONS *', 'http1'],
    ['POST http://', 'http1'],
    ['CONNECT a:1', 'http1'],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http2'],
    ['PRI * HTTP/2.0\r\n', null],
    ['PRI * HTTP/3', 'tcp'],
    ['GETX', 'tcp'],
    ['GET  /', 'tcp'],
    ['EHLO web', 'tcp'],
    ['\x16\x03\x01', null],
  ];
  for (const [text, what] of cases) t.equal(detect(Buffer.from(text, 'latin1')), what, JSON.stringify(text));
});

t.test('a server that speaks first is not kept waiting', async t => {
  await using world = await World.create({ limits: { detectMs: 50 } });
  await world.serve('web', socket => {
    socket.write('220 ready\r\n');
    socket.pipe(socket);
  });
  const socket = await world.connect();
  const [greeting] = (await once(socket, 'data')) as [Buffer];
  t.equal(greeting.toString(), '220 ready\r\n');
  socket.end('QUIT\r\n');
  let rest = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) rest += chunk.toString();
  t.equal(rest, 'QUIT\r\n', 'half-closed connections are answered');
  t.match(await world.line({ protocol: 'TCP' }), {
    bytes_sent: 17,
    bytes_recv: 6,
    msg: 'connection complete',
  });
});

t.test('a client that thinks before it speaks HTTP is routed all the same', async t => {
  await using world = await World.create({
    pods: ['v1', 'v2'],
    objects: route('- backendRefs: [{ name: v2, port: 80 }]'),
    limits: { detectMs: 10 },
  });
  await world.serve('v1', okay);
  await world.serveHttp('v2');
  const socket = await world.connect();
  await new Promise(resolve => setTimeout(resolve, 150));
  socket.write('GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n');
  let answer = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) answer += chunk.toString();
  t.match(answer, /x-pod: v2/i);
});

t.test('what ends before it is clear what it is arrives all the same', async t => {
  await using world = await World.create();
  await world.serve('web', socket => socket.pipe(socket));
  for (const text of ['GE', '\x16', '\x16\x03\x01\x00\x30\x01']) {
    const socket = await world.connect();
    socket.end(text, 'latin1');
    let answer = '';
    for await (const chunk of socket as AsyncIterable<Buffer>) answer += chunk.toString('latin1');
    t.equal(answer, text);
    await world.line({ bytes_recv: text.length, bytes_sent: text.length });
  }
});

t.test('a port that is said to be TCP is never taken for HTTP', async t => {
  await using world = await World.create({ appProtocol: 'tcp', objects: route('- {}') });
  const backend = await world.serve('web', socket => socket.pipe(socket));
  const text = 'GET / HTTP/1.1\r\n\r\n';
  t.equal(await world.raw(text, { until: /\r\n\r\n$/ }), text);
  t.equal(backend.received(), text);
});

t.test('a port that is said to be HTTP is never taken for TCP', async t => {
  await using world = await World.create({ appProtocol: 'http' });
  const backend = await world.serve('web', okay);
  t.match(await world.raw('EHLO web\r\n'), /^HTTP\/1\.1 400 /);
  t.equal(backend.received(), '');
});

t.test('an endpoint that refuses is passed over, and a client hears when all do', async t => {
  await using world = await World.create({ appProtocol: 'tcp', pods: ['up', 'down'] });
  await world.serve('up', socket => socket.pipe(socket));
  for (let n = 0; n < 10; n += 1) t.equal(await world.raw('x', { until: /x/ }), 'x');
  world.stopServing();
  await t.rejects(world.connect(), /status 503/);
});

t.test('a reset is a reset on the other side', async t => {
  await using world = await World.create({ appProtocol: 'tcp' });
  await world.serve('web', socket => socket.once('data', () => socket.resetAndDestroy()));
  await t.rejects(world.raw('x'));
});
