import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { gunzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { HttpServer, jsonReply, type HttpRoutes, type HttpServerOptions } from '../../base/http.ts';
import { createLogger } from '../../base/log.ts';

const log = createLogger({ component: 'http-test', level: 'silent' });

async function serve(t: Test, routes: HttpRoutes, given: Partial<HttpServerOptions> = {}): Promise<string> {
  const server = await HttpServer.listen({ address: '127.0.0.1', port: 0, routes, log, ...given });
  t.teardown(() => server.close());
  return `http://127.0.0.1:${server.port}`;
}

/** What a server says to these bytes before it closes. */
async function raw(base: string, text: string): Promise<string> {
  const socket = net.connect(Number(new URL(base).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(text);
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  await once(socket, 'close');
  return answer;
}

t.test('serves exact paths with query and body', async t => {
  const base = await serve(t, {
    'GET /a': ({ query }) => ({ body: `a ${query.get('x') ?? ''}` }),
    'POST /a': ({ body }) => jsonReply({ body, big: 10n }, 201),
  });
  const got = await fetch(`${base}/a?x=1%202`);
  t.match([got.status, await got.text()], [200, 'a 1 2']);
  t.equal(got.headers.get('x-content-type-options'), 'nosniff');
  const posted = await fetch(`${base}/a`, { method: 'POST', body: 'hällo' });
  t.match([posted.status, await posted.json()], [201, { body: 'hällo', big: '10' }]);
  const head = await fetch(`${base}/a`, { method: 'HEAD' });
  t.match([head.status, head.headers.get('content-length'), await head.text()], [200, '2', '']);
});

t.test('what is not served says what is', async t => {
  const base = await serve(t, { 'GET /a': () => ({ body: '' }), 'POST /b': () => ({ body: '' }) });
  const none = await fetch(`${base}/constructor`);
  t.match([none.status, await none.text()], [404, /GET \/a\nPOST \/b/]);
  const method = await fetch(`${base}/b`);
  t.match([method.status, await method.text()], [405, 'use POST /b\n']);
});

t.test('a handler that throws is a 500 and no more', async t => {
  const base = await serve(t, {
    'GET /sync': () => {
      throw new Error('broken');
    },
    'GET /async': () => Promise.reject(new Error('broken later')),
    'GET /fine': () => ({ body: 'fine' }),
  });
  for (const [path, status] of [
    ['sync', 500],
    ['async', 500],
    ['fine', 200],
  ] as const)
    t.equal((await fetch(`${base}/${path}`)).status, status);
});

t.test('a body that is too long is refused', async t => {
  let called = 0;
  const base = await serve(t, { 'POST /a': () => ((called += 1), { body: '' }) });
  const answer = await raw(
    base,
    `POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n${'x'.repeat(70_000)}`,
  );
  t.match(answer, /^HTTP\/1\.1 413 /);
  t.match(answer, /connection: close/i);
  t.equal(called, 0);
});

t.test('long replies are compressed for those who say they can', async t => {
  const body = 'metric 1\n'.repeat(1000);
  const base = await serve(t, { 'GET /a': () => ({ body }) });
  const get = async (headers: http.OutgoingHttpHeaders): Promise<[http.IncomingMessage, Buffer]> => {
    const [response] = (await once(http.get(`${base}/a`, { headers, agent: false }), 'response')) as [
      http.IncomingMessage,
    ];
    return [response, Buffer.concat((await response.toArray()) as Buffer[])];
  };
  const [plain, whole] = await get({});
  t.equal(plain.headers['content-encoding'], undefined);
  t.equal(whole.toString(), body);
  const [packed, small] = await get({ 'accept-encoding': 'br, gzip' });
  t.equal(packed.headers['content-encoding'], 'gzip');
  t.ok(small.length < 1000);
  t.equal(gunzipSync(small).toString(), body);
});

t.test('a head that is slow or too long ends its connection', async t => {
  const base = await serve(t, { 'GET /a': () => ({ body: 'a' }) }, { headTimeoutMs: 100 });
  t.match(await raw(base, 'GET /a HTT'), /^HTTP\/1\.1 408 /);
  t.match(await raw(base, `GET /a HTTP/1.1\r\nx: ${'y'.repeat(9000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  t.match(await raw(base, '\u0000\u0001garbage\r\n\r\n'), /^HTTP\/1\.1 400 /);
  t.equal((await fetch(`${base}/a`)).status, 200);
});

t.test('connections are bounded', async t => {
  const base = await serve(t, { 'GET /a': () => ({ body: 'a' }) }, { maxConnections: 2 });
  const port = Number(new URL(base).port);
  const held = [net.connect(port, '127.0.0.1'), net.connect(port, '127.0.0.1')];
  for (const socket of held) {
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
  }
  await t.rejects(fetch(`${base}/a`), 'the third is dropped');
});

t.test('a local server answers only who came on purpose', async t => {
  const base = await serve(t, { 'GET /a': () => ({ body: 'a' }) }, { localOnly: true });
  const port = new URL(base).port;
  const status = async (host: string, more = ''): Promise<string> =>
    (await raw(base, `GET /a HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n${more}\r\n`)).slice(9, 12);
  for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, '127.0.0.1', '[::1]:15000'])
    t.equal(await status(host), '200', host);
  for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil', '10.0.0.1', '127.evil'])
    t.equal(await status(host), '403', host);
  t.equal(await status('localhost', 'origin: http://evil.example\r\n'), '403', 'a web page');
});

t.test('a port that is taken is an error of listen', async t => {
  const base = await serve(t, {});
  await t.rejects(
    HttpServer.listen({ address: '127.0.0.1', port: Number(new URL(base).port), routes: {}, log }),
    { code: 'EADDRINUSE' },
  );
});

t.test('close drops what is open', async t => {
  const server = await HttpServer.listen({
    address: '127.0.0.1',
    port: 0,
    routes: { 'GET /slow': () => new Promise(() => {}) },
    log,
  });
  const socket = net.connect(server.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.on('error', () => {});
  socket.write('GET /slow HTTP/1.1\r\nhost: x\r\n\r\n');
  socket.resume();
  const closed = new Promise(resolve => socket.once('close', resolve));
  await server.close();
  await closed;
  t.pass('at once');
});
