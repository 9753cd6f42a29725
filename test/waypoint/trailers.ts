/** Trailers of requests, from either version of HTTP to either, on real sockets. */
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import t, { type Test } from 'tap';
import { makeRoot, type TestCertificate } from '../tunnel/pki.ts';
import { certificateFor, secret, webName } from './tls-servers.ts';
import { World, type WorldOptions } from './world.ts';
import { destination, route } from './world-objects.ts';

interface Seen {
  readonly body: string;
  readonly trailers: Record<string, unknown>;
}

async function worldOf(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.create(options);
  t.teardown(() => world[Symbol.asyncDispose]());
  return world;
}

/** An endpoint that tells what came after the body of each request. */
async function endpoint(
  world: World,
  version: 1 | 2,
  seen: Seen[],
  certificate: TestCertificate | null = null,
): Promise<void> {
  const take = (request: http.IncomingMessage | http2.Http2ServerRequest, answer: () => void): void => {
    let body = '';
    request.on('data', chunk => (body += String(chunk)));
    request.on('end', () => {
      seen.push({ body, trailers: Object.fromEntries(Object.entries(request.trailers)) });
      answer();
    });
  };
  if (version === 1) {
    const handle: http.RequestListener = (request, response) => take(request, () => response.end('ok'));
    const server =
      certificate === null
        ? http.createServer(handle)
        : https.createServer({ cert: certificate.certificatePem, key: certificate.privateKeyPem }, handle);
    await world.serve('web', socket => server.emit('connection', socket));
    return;
  }
  const server = http2.createServer((request, response) => take(request, () => response.end('ok')));
  await world.serve('web', socket => server.emit('connection', socket));
}

function send1(world: World, head: string, trailers: string): Promise<string> {
  return world.raw(
    `POST / HTTP/1.1\r\nhost: web\r\nconnection: close\r\ntransfer-encoding: chunked\r\n${head}\r\n4\r\nbody\r\n0\r\n${trailers}\r\n`,
  );
}

/** Status of a request by HTTP/2 with these trailers. */
async function send2(
  world: World,
  headers: http2.OutgoingHttpHeaders,
  trailers: http2.OutgoingHttpHeaders,
): Promise<number> {
  const socket = await world.connect();
  const session = http2.connect('http://web', { createConnection: () => socket });
  session.on('error', () => {});
  const stream = session.request({ ':method': 'POST', ...headers }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end('body');
  const [got] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  stream.resume();
  await once(stream, 'end');
  session.destroy();
  return Number(got[':status']);
}

const forbidden = ['authorization: Bearer x', 'cookie: a=b', 'host: bank', 'x-forwarded-for: 1.2.3.4'].join(
  '\r\n',
);

t.test('HTTP/1.1 to HTTP/1.1 and HTTP/2', async t => {
  for (const version of [1, 2] as const) {
    const world = await worldOf(t, version === 2 ? { appProtocol: 'kubernetes.io/h2c' } : {});
    const seen: Seen[] = [];
    await endpoint(world, version, seen);
    const answer = await send1(world, 'trailer: x-sum\r\nte: trailers\r\n', `x-sum: 42\r\n${forbidden}\r\n`);
    t.match(answer, /^HTTP\/1\.1 200 /);
    t.same(seen, [{ body: 'body', trailers: { 'x-sum': '42' } }], `to HTTP/${version}`);
    t.equal((await world.line({ status: 200 }))['bytes_recv'], 4);
  }
});

t.test('HTTP/2 to HTTP/2 and HTTP/1.1', async t => {
  const trailers = { 'x-sum': '42', authorization: 'Bearer x', 'x-forwarded-proto': 'https' };
  const world = await worldOf(t, { appProtocol: 'kubernetes.io/h2c' });
  const seen: Seen[] = [];
  await endpoint(world, 2, seen);
  t.equal(await send2(world, {}, trailers), 200);
  t.same(seen, [{ body: 'body', trailers: { 'x-sum': '42' } }], 'also without being announced');

  // Only where TLS has the endpoint choose is HTTP/2 translated to HTTP/1.1.
  const root = makeRoot();
  const tls = destination('{ tls: { mode: SIMPLE, credentialName: ca } }');
  const other = await worldOf(t, { objects: secret('ca', { 'ca.crt': root.pem }) + tls });
  const seenByOther: Seen[] = [];
  await endpoint(other, 1, seenByOther, certificateFor(root, webName));
  t.equal(await send2(other, { trailer: 'x-sum' }, trailers), 200);
  t.same(seenByOther.splice(0), [{ body: 'body', trailers: { 'x-sum': '42' } }], 'to HTTP/1.1');
  t.equal(await send2(other, {}, trailers), 200);
  t.same(seenByOther.splice(0), [{ body: 'body', trailers: {} }], 'there only what is announced');
  const answer = await send1(other, '', 'x-sum: 42\r\n');
  t.match(answer, /^HTTP\/1\.1 200 /);
  t.same(seenByOther, [{ body: 'body', trailers: {} }], 'from HTTP/1.1 as well');
});

t.test('what is tried again has its trailers again', async t => {
  const objects = route(`- retry: { codes: [503], attempts: 1, backoff: 1ms }
  backendRefs: [{ name: web, port: 80 }]`);
  const world = await worldOf(t, { objects });
  const seen: unknown[] = [];
  await world.serveHttp('web', (request, response) => {
    request.resume();
    request.on('end', () => {
      seen.push({ ...request.trailers });
      response.writeHead(seen.length === 1 ? 503 : 200).end();
    });
  });
  t.match(await send1(world, 'trailer: x-sum\r\n', 'x-sum: 42\r\n'), /^HTTP\/1\.1 200 /);
  t.same(seen, [{ 'x-sum': '42' }, { 'x-sum': '42' }]);
});

t.test('an endpoint that breaks off in the middle is an error as ever', async t => {
  const world = await worldOf(t);
  await world.serve('web', socket => socket.once('data', () => socket.destroy()));
  t.match(await send1(world, 'trailer: x-sum\r\n', 'x-sum: 42\r\n'), /^HTTP\/1\.1 503 /);
  t.equal((await world.line({ status: 503 }))['code'], 'UPSTREAM_FAILED');
});
