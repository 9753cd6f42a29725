/** Clients that mean harm: patterns that never end, floods of streams, heads without end. */
import { once } from 'node:events';
import http2 from 'node:http2';
import t from 'tap';
import {
  ACK,
  clientPreface,
  CONTINUATION,
  DATA,
  END_HEADERS,
  frame,
  HEADERS,
  PING,
  SETTINGS,
  settings,
} from '../tunnel/h2/raw-frames.ts';
import { okay, World } from './world.ts';
import { route } from './world-objects.ts';

const preface = Buffer.concat([clientPreface, settings()]);
/** POST http web / (RFC 7541: three fields of the static table, and one by name). */
const post = Buffer.concat([Buffer.from([0x83, 0x86, 0x84, 0x41, 3]), Buffer.from('web')]);
const small = Buffer.from([0, 1, 0x61, 1, 0x62]);

t.test('no request keeps a waypoint busy by the pattern of a route', async t => {
  await using world = await World.create({
    objects: route(`
- matches: [{ path: { type: RegularExpression, value: "/(a+)+b" } }]
  backendRefs: [{ name: web, port: 80 }]
`),
  });
  await world.serve('web', okay);
  const began = process.cpuUsage();
  t.equal((await world.request(`/${'a'.repeat(2_000)}`)).status, 404);
  t.equal((await world.request(`/${'a'.repeat(2_000)}b`)).status, 200);
  const { user } = process.cpuUsage(began);
  t.ok(user < 5_000_000, `${user / 1000} ms of a pattern that takes years otherwise`);
});

t.test('streams that are opened and reset end the connection, and others go on', async t => {
  await using world = await World.create({ appProtocol: 'http2' });
  const server = http2.createServer();
  server.on('stream', stream => {
    stream.on('error', () => {});
    (stream as http2.ServerHttp2Stream).respond({ ':status': 200 }, { endStream: true });
  });
  await world.serve('web', socket => server.emit('connection', socket));
  const hostile = await world.connect();
  const flood = http2.connect('http://web', { createConnection: () => hostile });
  flood.on('error', () => {});
  const closed = new Promise(resolve => flood.once('close', resolve));
  const more = (): void => {
    if (flood.destroyed || flood.closed) return;
    for (let n = 0; n < 200; n += 1) {
      const stream = flood.request({ ':path': '/' });
      stream.on('error', () => {});
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    setImmediate(more);
  };
  more();
  await closed;
  t.pass('it was ended');
  const socket = await world.connect();
  const calm = http2.connect('http://web', { createConnection: () => socket });
  const stream = calm.request({ ':path': '/' });
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  t.equal(headers[':status'], 200);
  calm.destroy();
});

t.test('frames that cost more than they say end their connection, and no other', async t => {
  await using world = await World.create({ appProtocol: 'http2' });
  const backend = await world.serve('web', () => {});
  const opened = frame(HEADERS, 0, 1, post);
  const floods: readonly (readonly [string, Buffer | null, Buffer])[] = [
    ['PING', null, frame(PING, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', null, frame(SETTINGS, 0, 0)],
    ['CONTINUATION of nothing', opened, frame(CONTINUATION, 0, 1)],
    ['CONTINUATION of fields', opened, frame(CONTINUATION, 0, 1, small)],
    [
      'fields without end',
      opened,
      frame(CONTINUATION, 0, 1, Buffer.concat(Array.from({ length: 2_000 }, () => small))),
    ],
    ['DATA of nothing', frame(HEADERS, END_HEADERS, 1, post), frame(DATA, 0, 1)],
  ];
  for (const [what, first, piece] of floods) {
    const hostile = await world.connect();
    const over = new Promise(resolve => hostile.once('end', resolve).once('close', resolve));
    hostile
      .resume()
      .write(
        Buffer.concat([preface, first ?? Buffer.alloc(0), ...Array.from({ length: 5_000 }, () => piece)]),
      );
    await over;
    t.pass(what);
    hostile.destroy();
  }
  t.notMatch(backend.received(), /POST|web/, 'no request came of it');
});

t.test('an endpoint that takes no streams is not connected to for ever', async t => {
  await using world = await World.create({ appProtocol: 'grpc', pods: ['none', 'good'] });
  let connections = 0;
  await world.serve('none', socket => {
    connections += 1;
    socket.write(settings([3, 0]));
    socket.write(frame(SETTINGS, ACK, 0));
  });
  const server = http2.createServer();
  server.on('stream', stream => (stream as http2.ServerHttp2Stream).respond({ ':status': 204 }));
  await world.serve('good', socket => server.emit('connection', socket));
  for (let n = 0; n < 8; n += 1) t.equal((await world.request('/')).status, 204, 'the other one answers');
  t.ok(connections > 0 && connections < 10, `${connections} connections`);
  world.stopServing('good');
  t.equal((await world.request('/')).status, 503);
  t.ok(connections < 14, `${connections} connections`);
});
