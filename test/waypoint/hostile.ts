/** Clients that mean harm: patterns that never end, floods of streams, heads without end. */
import { once } from 'node:events';
import http2 from 'node:http2';
import t from 'tap';
import { okay, route, World } from './world.ts';

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
