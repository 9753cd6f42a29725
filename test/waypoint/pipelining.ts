/**
 * HTTP/1.1 clients that do not wait for answers, or are answered before they have said all: nothing that belongs to one
 * request gets into the answer to another, and nobody's request ends the process.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import { World } from './world.ts';
import { authorization } from './world-objects.ts';

const end = '\r\n\r\n';
const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nhost: web${more}${end}`;

/** A world whose endpoint answers `/slow` by hand and everything else with these bytes. */
async function slowWorld(bytes: string): Promise<{ world: World; slow: Promise<Socket> }> {
  const world = await World.create();
  const { promise: slow, resolve } = Promise.withResolvers<Socket>();
  await world.serve('web', socket => {
    socket.on('data', (chunk: Buffer) => {
      if (chunk.toString().startsWith('GET /slow')) resolve(socket);
      else socket.write(bytes);
    });
  });
  return { world, slow };
}

t.test('information about a later request is not put into an earlier answer', async t => {
  const { world, slow } = await slowWorld(
    'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  );
  await using _ = world;
  const socket = await world.connect();
  socket.write(get('/slow') + get('/hints'));
  const server = await slow;
  server.write('HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf');
  await once(socket, 'readable');
  await world.line({ path: '/hints' });
  server.write('half');
  let answer = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    answer += chunk.toString();
    if (answer.endsWith('ok')) break;
  }
  t.match(answer, /^HTTP\/1\.1 200 OK\r\n(.*\r\n)*\r\nhalfhalfHTTP\/1\.1 200 OK\r\n(.*\r\n)*\r\nok$/);
});

t.test('HTTP/1.0 is told nothing before the answer', async t => {
  const { world } = await slowWorld(
    'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  );
  await using _ = world;
  const answer = await world.raw('GET / HTTP/1.0\r\nhost: web\r\n\r\n');
  t.match(answer, /^HTTP\/1\.1 200 OK\r\n(.*\r\n)*\r\nok$/);
});

t.test(
  'HTTP/1.0: without chunks, and kept open where the client wants that and a length says the end',
  async t => {
    const { world } = await slowWorld(
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    );
    await using _ = world;
    const chunked = await world.raw('GET / HTTP/1.0\r\nhost: web\r\nconnection: keep-alive\r\n\r\n');
    t.match(
      chunked,
      /^HTTP\/1\.1 200 OK\r\nConnection: close\r\n\r\nok$/,
      'its end is that of the connection',
    );
    await using other = await World.create();
    await other.serveHttp('web', (request, response) => {
      response.writeHead(200, { 'content-length': 2 }).end(request.url);
    });
    const two = await other.connect();
    for (const path of ['/1', '/2']) {
      two.write(`GET ${path} HTTP/1.0\r\nhost: web\r\nconnection: keep-alive${end}`);
      const [answer] = (await once(two, 'data')) as [Buffer];
      t.match(answer.toString(), new RegExp(`Connection: keep-alive\\r\\n\\r\\n${path}$`, 'i'));
    }
    two.destroy();
  },
);

t.test('another protocol does not begin while an answer is under way', async t => {
  const { world, slow } = await slowWorld('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain');
  await using _ = world;
  const upgrade = get('/chat', '\r\nconnection: upgrade\r\nupgrade: websocket');
  const answers = world.raw(get('/slow') + upgrade, { until: /plain$/ });
  (await slow).write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow');
  t.match(await answers, /\r\n\r\nslowHTTP\/1\.1 200 OK\r\n(.*\r\n)*\r\nplain$/, 'it is an ordinary request');

  const { world: other } = await slowWorld('');
  await using __ = other;
  const connecting = other.raw(`${get('/slow')}CONNECT web:80 HTTP/1.1\r\nhost: web:80${end}`);
  await t.rejects(connecting, 'a tunnel that is refused says so to nobody else');

  const refused = await world.raw(`GET / HTTP/1.1\r\nhost: a@b${end}${upgrade}`);
  t.match(refused, /^HTTP\/1\.1 400 /);
  t.equal(refused.split('HTTP/1.1').length, 2, 'behind a request that is refused nothing is read');
});

t.test('what is denied at once is not asked to go on', async t => {
  await using world = await World.create({ objects: authorization('none', 'DENY', '[{}]') });
  const backend = await world.serveHttp('web');
  const upload = `POST / HTTP/1.1\r\nhost: web\r\nexpect: 100-continue\r\ncontent-length: 4${end}`;
  for (const bytes of [upload, `${upload}body${get('/behind')}`]) {
    const answer = await world.raw(bytes);
    t.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n(.*\r\n)*connection: close\r\n/i);
    t.equal(answer.split('HTTP/1.1').length, 2, 'that is all');
  }
  t.equal(backend.received(), '');
});

t.test('no client has more requests under way than are answered', async t => {
  await using world = await World.create({ limits: { streamsPerConnection: 2 } });
  const held: ServerResponse[] = [];
  let most = 0;
  let isHolding = true;
  await world.serveHttp('web', (request, response) => {
    response.setHeader('x-path', request.url ?? '');
    held.push(response);
    most = Math.max(most, held.length);
    if (!isHolding) for (const each of held.splice(0)) each.end();
  });
  const total = 200;
  const padding = `\r\nx-padding: ${'x'.repeat(16_000)}`;
  const socket = await world.connect();
  for (let n = 0; n < total; n += 1) socket.write(get(`/${n}`, padding));
  // Some requests are in the piece that was being read when there were enough.
  await eventually(() => held.length >= 2, { what: 'requests' });
  for (let seen = -1; seen !== held.length;) {
    seen = held.length;
    for (let n = 0; n < 10; n += 1) (await world.connect()).destroy();
  }
  t.ok(most < total / 2, `${most} of ${total}`);
  isHolding = false;
  for (const response of held.splice(0)) response.end();
  let answers = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    answers += chunk.toString();
    if (answers.includes(`x-path: /${total - 1}\r\n`)) break;
  }
  t.same(
    [...answers.matchAll(/x-path: \/(\d+)/g)].map(([, n]) => Number(n)),
    Array.from({ length: total }, (_, n) => n),
    'and all are answered, in order',
  );
});
