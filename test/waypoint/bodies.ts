/**
 * Every kind of body that requests and responses have, from either version of HTTP to either: none, nothing, some, late, with
 * trailers. Each comes whole and comes to its end.
 */
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import t from 'tap';
import { World } from './world.ts';
import { destination } from './world-objects.ts';

/** What comes back, by the path that is asked for; `x-n` says how many bytes of body arrived. */
const responses = ['/nothing', '/204', '/late-nothing', '/late', '/some'];

function answer1(request: http.IncomingMessage, response: http.ServerResponse): void {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => (bytes += chunk.length));
  request.on('end', () => {
    response.setHeader('x-n', bytes);
    const { url } = request;
    if (url === '/nothing') response.setHeader('content-length', 0).end();
    else if (url === '/204') response.writeHead(204).end();
    else if (url === '/some') response.end('some');
    else {
      response.flushHeaders();
      if (url === '/late') response.write('so');
      setTimeout(() => response.end(url === '/late' ? 'me' : ''), 2);
    }
  });
}

function answer2(given: http2.Http2Stream, { ':path': url }: http2.IncomingHttpHeaders): void {
  const stream = given as http2.ServerHttp2Stream;
  let bytes = 0;
  stream.on('error', () => {}).on('data', (chunk: Buffer) => (bytes += chunk.length));
  stream.on('end', () => {
    const isEmpty = url === '/nothing' || url === '/204';
    stream.respond({ ':status': url === '/204' ? 204 : 200, 'x-n': bytes }, { endStream: isEmpty });
    if (url === '/some') stream.end('some');
    else if (!isEmpty) {
      if (url === '/late') stream.write('so');
      setTimeout(() => stream.end(url === '/late' ? 'me' : ''), 2);
    }
  });
}

const chunked = 'transfer-encoding: chunked\r\n';
/** Requests of HTTP/1.1: method, what follows the fields that all have, and how many bytes of body that is. */
const requests1: readonly (readonly [method: string, rest: string, bytes: number])[] = [
  ['GET', '\r\n', 0],
  ['HEAD', '\r\n', 0],
  ['POST', 'content-length: 0\r\n\r\n', 0],
  ['POST', `${chunked}\r\n0\r\n\r\n`, 0],
  ['POST', 'content-length: 4\r\n\r\nbody', 4],
  ['GET', 'content-length: 4\r\n\r\nbody', 4],
  ['POST', `${chunked}trailer: x-t\r\n\r\n4\r\nbody\r\n0\r\nx-t: 1\r\n\r\n`, 4],
  ['POST', `${chunked}trailer: x-t\r\n\r\n0\r\nx-t: 1\r\n\r\n`, 0],
];
/** Of HTTP/2: null is no body, '' one whose end comes in a frame of its own. */
const requests2: readonly (readonly [method: string, body: string | null])[] = [
  ['GET', null],
  ['HEAD', null],
  ['POST', ''],
  ['POST', 'body'],
  ['GET', 'body'],
];

/** `status bytes-that-arrived body` */
async function ask1(world: World, path: string, method: string, rest: string): Promise<string> {
  const answer = await world.raw(`${method} ${path} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n${rest}`);
  const [head = '', ...body] = answer.split('\r\n\r\n');
  const text = body
    .join('')
    .replaceAll(/(^|\r\n)[0-9a-f]+\r\n/g, '')
    .replaceAll('\r\n', '');
  return `${head.slice(9, 12)} ${/x-n: (\d+)/.exec(head)?.[1]} ${text.replace(/0$/, '')}`.trim();
}

async function ask2(world: World, path: string, method: string, body: string | null): Promise<string> {
  const socket = await world.connect();
  const session = http2.connect('http://web', { createConnection: () => socket });
  session.on('error', () => {});
  const stream = session.request({ ':path': path, ':method': method }, { endStream: body === null });
  if (body !== null) stream.end(body);
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  session.destroy();
  return `${String(headers[':status'])} ${String(headers['x-n'])} ${text}`.trim();
}

for (const upgrades of [false, true])
  void t.test(`to endpoints of ${upgrades ? 'HTTP/2' : 'the version of the client'}`, async t => {
    const policy = destination('{ connectionPool: { http: { h2UpgradePolicy: UPGRADE } } }');
    await using world = await World.create({
      isMeshed: true,
      appProtocol: 'http',
      objects: upgrades ? policy : '',
    });
    const [server1, server2] = [http.createServer(answer1), http2.createServer()];
    server2.on('stream', answer2);
    let version = 1;
    await world.serve('web', socket =>
      (version === 2 || upgrades ? server2 : server1).emit('connection', socket),
    );
    const expected = (path: string, method: string, bytes: number): string => {
      const hasBody = method !== 'HEAD' && (path === '/some' || path === '/late');
      return `${path === '/204' ? 204 : 200} ${bytes} ${hasBody ? 'some' : ''}`.trim();
    };
    for (const path of responses) {
      version = 1;
      for (const [method, rest, bytes] of requests1)
        t.equal(
          await ask1(world, path, method, rest),
          expected(path, method, bytes),
          `HTTP/1.1 ${method} ${path} ${JSON.stringify(rest)}`,
        );
      version = 2;
      for (const [method, body] of requests2)
        t.equal(
          await ask2(world, path, method, body),
          expected(path, method, body?.length ?? 0),
          `HTTP/2 ${method} ${path} ${JSON.stringify(body)}`,
        );
    }
  });
