/** HTTP/1.1 by raw bytes, in and out: what may be read in two ways never reaches a backend, the rest arrives as it was. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import t from 'tap';
import { okay, World } from './world.ts';
import { authorization } from './world-objects.ts';

const end = '\r\n\r\n';

t.test('what is no clear request is refused, and no byte of it reaches the backend', async t => {
  await using world = await World.create({ appProtocol: 'http' });
  const backend = await world.serve('web', okay);
  const smuggled = 'GET /smuggled HTTP/1.1\r\nhost: web\r\n\r\n';
  const cases: Readonly<Record<string, string>> = {
    'both lengths': `POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 4\r\ntransfer-encoding: chunked${end}0\r\n\r\n${smuggled}`,
    'both lengths, other order': `POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\ncontent-length: 4${end}0\r\n\r\n${smuggled}`,
    'two lengths that differ': `POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 0\r\ncontent-length: 40${end}${smuggled}`,
    'two lengths that agree': `POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\ncontent-length: 2${end}ab`,
    'a list of lengths': `POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2, 2${end}ab`,
    'a length with a sign': `POST / HTTP/1.1\r\nhost: web\r\ncontent-length: +2${end}ab`,
    'a length in hex': `POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 0x2${end}ab`,
    'a coding that is not known': `POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: xchunked${end}0\r\n\r\n${smuggled}`,
    'chunked twice': `POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked${end}0\r\n\r\n`,
    'chunked is not last': `POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked, identity${end}0\r\n\r\n${smuggled}`,
    'a coding before chunked': `POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: gzip, chunked${end}0\r\n\r\n`,
    'a space before the colon': `POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding : chunked${end}0\r\n\r\n${smuggled}`,
    'a vertical tab in the coding': `POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: \vchunked${end}0\r\n\r\n`,
    'chunked in HTTP/1.0': `POST / HTTP/1.0\r\nhost: web\r\ntransfer-encoding: chunked${end}0\r\n\r\n`,
    'a folded field': `GET / HTTP/1.1\r\nhost: web\r\nx-a: 1\r\n b${end}`,
    'a folded length': `POST / HTTP/1.1\r\nhost: web\r\ncontent-length:\r\n 2${end}ab`,
    'a bare line feed': `GET / HTTP/1.1\nhost: web\n\n`,
    'a bare line feed between fields': `GET / HTTP/1.1\r\nhost: web\nx-a: b${end}`,
    'a bare carriage return': `GET / HTTP/1.1\r\nhost: web\r\nx-a: b\rc: d${end}`,
    'a null in a value': `GET / HTTP/1.1\r\nhost: web\r\nx-a: b\0c${end}`,
    'no host': `GET / HTTP/1.1${end}`,
    'two hosts': `GET / HTTP/1.1\r\nhost: web\r\nhost: other${end}`,
    'a host with a path': `GET / HTTP/1.1\r\nhost: web/x${end}`,
    'a host with a user': `GET / HTTP/1.1\r\nhost: a@web${end}`,
    'a target and a host that differ': `GET http://other/ HTTP/1.1\r\nhost: web${end}`,
    'a target that is no URL of ours': `GET https://web/ HTTP/1.1\r\nhost: web${end}`,
    'a target without a slash': `GET admin HTTP/1.1\r\nhost: web${end}`,
    'a null in the path': `GET /a%00 HTTP/1.1\r\nhost: web${end}`,
    'a fragment': `GET /a#b HTTP/1.1\r\nhost: web${end}`,
    'half an escape': `GET /a%2 HTTP/1.1\r\nhost: web${end}`,
    'a space in the target': `GET /a b HTTP/1.1\r\nhost: web${end}`,
    'another version': `GET / HTTP/1.2\r\nhost: web${end}`,
    'an early version': `GET /\r\n\r\n`,
    'a field without a colon': `GET / HTTP/1.1\r\nhost: web\r\nnonsense${end}`,
    'a name with a space': `GET / HTTP/1.1\r\nhost: web\r\nx a: b${end}`,
    'a method that is a tunnel': `CONNECT web:80 HTTP/1.1\r\nhost: web:80${end}`,
    'too many fields': `GET / HTTP/1.1\r\nhost: web\r\n${'a: b\r\n'.repeat(300)}\r\n`,
    'too long a head': `GET / HTTP/1.1\r\nhost: web\r\na: ${'b'.repeat(70_000)}${end}`,
    'an expectation that is not known': `GET / HTTP/1.1\r\nhost: web\r\nexpect: miracles${end}`,
  };
  for (const [name, bytes] of Object.entries(cases)) {
    const answer = await world.raw(bytes);
    t.match(answer, /^HTTP\/1\.1 4(00|05|17|31) /, name);
    t.equal(answer.split('HTTP/1.1 ').length, 2, `${name}: one answer, and the end`);
  }
  t.equal(backend.received().replaceAll(/^POST \/ HTTP.*?\r\n\r\n/gs, ''), '', 'nothing came of all that');
});

t.test('what reaches the backend is one request, written anew', async t => {
  await using world = await World.create();
  const backend = await world.serve('web', okay);
  await world.raw(
    `POST /a%2e/../b?c=%20d HTTP/1.1\r\nHost: Web\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-A: 1\r\nX-A: 2\r\nTransfer-Encoding: chunked${end}2;ext=1\r\nab\r\n1\r\nc\r\n0\r\n\r\n`,
  );
  const [head = '', body] = backend.received().split(end, 2);
  const lines = head.split('\r\n').filter(line => !/^(x-forwarded|x-request|traceparent)/.test(line));
  t.same(lines, [
    'POST /b?c=%20d HTTP/1.1',
    'host: Web',
    'connection: keep-alive',
    'X-A: 1',
    'X-A: 2',
    'transfer-encoding: chunked',
  ]);
  t.match(body, /^(2\r\nab\r\n1\r\nc|3\r\nabc)\r\n0$/);
});

t.test('pipelined requests are answered in order', async t => {
  await using world = await World.create();
  await world.serveHttp('web', (request, response) => {
    const delay = request.url === '/1' ? 50 : 0;
    setTimeout(() => response.end(request.url), delay);
  });
  const requests = ['/1', '/2', '/3'].map(path => `GET ${path} HTTP/1.1\r\nhost: web${end}`);
  const answer = await world.raw(requests.join(''), { until: /\/3$/ });
  t.same(
    [...answer.matchAll(/\r\n\r\n(\/\d)/g)].map(([, path]) => path),
    ['/1', '/2', '/3'],
  );
});

t.test('a body that breaks off in nonsense is never whole for the backend', async t => {
  await using world = await World.create();
  const backend = await world.serve('web', () => {});
  const bytes = `POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked${end}2\r\nab\r\nzz\r\n`;
  await t.rejects(world.raw(bytes));
  await world.line({ path: '/' });
  t.notMatch(backend.received(), /\r\n0\r\n\r\n/);
});

t.test('nonsense after a request does not get into its response', async t => {
  await using world = await World.create();
  const backend = await world.serve('web', socket => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf'));
  });
  const answer = await world.raw(`GET / HTTP/1.1\r\nhost: web${end}nonsense\r\n\r\n`).catch(() => 'reset');
  t.notMatch(answer, / 400 /);
  t.notMatch(backend.received(), 'nonsense');
});

t.test('responses that are not of the usual kind', async t => {
  await using world = await World.create();
  const answers: Readonly<Record<string, string>> = {
    '/head': 'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n',
    '/204': 'HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n',
    '/304': 'HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\netag: "x"\r\n\r\n',
    '/103': 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
    '/trailers':
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nx-t: late\r\n\r\n',
    '/twice': 'HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n',
    '/announced': 'HTTP/1.1 200 OK\r\ntrailer: x-t\r\ncontent-length: 2\r\n\r\nok',
    '/none': 'HTTP/1.1 204 No Content\r\ntrailer: x-t\r\n\r\n',
    '/099': 'HTTP/1.1 099 Early\r\ncontent-length: 0\r\n\r\n',
    '/600': 'HTTP/1.1 600 Late\r\ncontent-length: 0\r\n\r\n',
    '/reason': 'HTTP/1.1 299 Peculiar\r\ncontent-length: 0\r\n\r\n',
  };
  await world.serve('web', socket => {
    socket.on('data', (chunk: Buffer) => {
      const [, path = ''] = chunk.toString('latin1').split(' ', 2);
      socket.write(answers[path] ?? '');
    });
  });
  const ask = (path: string, method = 'GET', until = /$^/): Promise<string> =>
    world.raw(`${method} ${path} HTTP/1.1\r\nhost: web\r\nconnection: close${end}`, { until });
  t.match(await ask('/head', 'HEAD'), /^HTTP\/1\.1 200 OK\r\ncontent-length: 99\r\n(.*\r\n)*\r\n$/);
  t.match(await ask('/204'), /^HTTP\/1\.1 204 No Content\r\nx-a: b\r\nConnection: close\r\n\r\n$/i);
  t.match(await ask('/304'), /^HTTP\/1\.1 304 Not Modified\r\ncontent-length: 99\r\netag: "x"\r\n/);
  t.match(await ask('/103'), /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a>\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  t.match(await ask('/trailers'), /ok\r\n0\r\nx-t: late\r\n\r\n$/);
  t.match(await ask('/twice'), /set-cookie: a=1\r\nset-cookie: b=2\r\n/);
  t.match(await ask('/reason'), /^HTTP\/1\.1 299 /);
  t.match(await ask('/announced'), /^HTTP\/1\.1 200 OK\r\ncontent-length: 2\r\n(.*\r\n)*\r\nok$/);
  t.match(await ask('/none'), /^HTTP\/1\.1 204 No Content\r\nConnection: close\r\n\r\n$/i);
  t.match(await ask('/600'), /^HTTP\/1\.1 600 /);
  t.match(await ask('/099'), /^HTTP\/1\.1 503 /);
  const upgrade = 'connection: upgrade\r\nupgrade: chat\r\ntrailer: x-t';
  const bytes = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: web\r\n${upgrade}${end}`;
  t.match(await world.raw(bytes('/announced')), /^HTTP\/1\.1 200 OK\r\n(.*\r\n)*\r\nok$/);
  t.match(await world.raw(bytes('/099')), /^HTTP\/1\.1 503 /);
});

t.test('100-continue is answered here, and the body follows', async t => {
  await using world = await World.create();
  const backend = await world.serve('web', okay);
  const socket = await world.connect();
  socket.write(`POST / HTTP/1.1\r\nhost: web\r\nexpect: 100-continue\r\ncontent-length: 4${end}`);
  const [first] = (await once(socket, 'data')) as [Buffer];
  t.equal(first.toString(), 'HTTP/1.1 100 Continue\r\n\r\n');
  socket.write('body');
  const [second] = (await once(socket, 'data')) as [Buffer];
  t.match(second.toString(), /^HTTP\/1\.1 200 OK/);
  t.match(backend.received(), /body$/);
  t.notMatch(backend.received(), 'expect');
  socket.destroy();
});

t.test('a large body goes both ways, and a slow reader holds back the writer', async t => {
  await using world = await World.create();
  const total = 32 * 1024 * 1024;
  await world.serveHttp('web', (request, response) => {
    response.writeHead(200, { 'content-length': total });
    request.pipe(response);
  });
  const socket = await world.connect();
  socket.write(`POST / HTTP/1.1\r\nhost: web\r\ncontent-length: ${total}${end}`);
  const piece = Buffer.alloc(64 * 1024, 'x');
  let sent = 0;
  const send = (): void => {
    while (sent < total) {
      sent += piece.length;
      if (!socket.write(piece)) {
        socket.once('drain', send);
        return;
      }
    }
  };
  send();
  // Nothing is read: all buffers on the way fill, and then nothing moves any more.
  let before = -1;
  while (before !== sent) {
    before = sent;
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  t.ok(sent < total, `${sent} bytes are on their way and no more`);
  let got = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    got += chunk.length;
    if (got > total) break;
  }
  t.ok(got > total, 'all of it came back');
});

t.test('a response that breaks off is not taken for the whole', async t => {
  await using world = await World.create();
  await world.serve('web', socket => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n', () =>
        socket.destroy(),
      );
    });
  });
  await t.rejects(world.raw(`GET / HTTP/1.1\r\nhost: web${end}`), 'reset, rather than an end');
  t.match(await world.line({ path: '/' }), { code: 'UPSTREAM_FAILED', status: 200 });
});

t.test('a client that goes away takes its request with it', async t => {
  await using world = await World.create();
  const asked = new Promise<Socket>(resolve => void world.serve('web', resolve));
  const socket = await world.connect();
  socket.write(`GET /gone HTTP/1.1\r\nhost: web${end}`);
  await once(await asked, 'data');
  socket.destroy();
  await once(await asked, 'end');
  t.match(await world.line({ path: '/gone' }), { code: 'CLIENT_GONE', status: 0 });
});

t.test('a client that has said all it will say is answered', async t => {
  await using world = await World.create();
  await world.serveHttp('web', (_request, response) => setTimeout(() => response.end('late'), 50));
  const socket = await world.connect();
  socket.end(`GET / HTTP/1.1\r\nhost: web${end}`);
  let answer = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    answer += chunk.toString();
    if (answer.endsWith('late')) break;
  }
  t.match(answer, /^HTTP\/1\.1 200 OK(.|\r\n)*late$/);
});

t.test('a head that takes for ever is given up', async t => {
  await using world = await World.create({ limits: { requestHeadMs: 200 } });
  await world.serve('web', okay);
  t.match(await world.raw('GET / HTTP/1.1\r\nhost: '), /^HTTP\/1\.1 408 /);
});

t.test('upgrades: WebSocket goes through, h2c is not followed', async t => {
  await using world = await World.create();
  const backend = await world.serve('web', socket => {
    socket.once('data', (chunk: Buffer) => {
      if (/upgrade: websocket/i.test(chunk.toString())) {
        socket.write(
          'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\nhello',
        );
        socket.pipe(socket);
      } else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain');
    });
  });
  const socket = await world.connect();
  socket.write(
    `GET /ws HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k${end}early`,
  );
  let got = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    got += chunk.toString();
    if (got.endsWith('early')) break;
  }
  t.match(got, /^HTTP\/1\.1 101 Switching Protocols\r\n(.*\r\n)*sec-websocket-accept: x\r\n\r\nhelloearly$/);
  t.match(await world.line({ path: '/ws' }), { status: 101 });
  const plain = await world.raw(
    `GET / HTTP/1.1\r\nhost: web\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA${end}`,
    { until: /plain$/ },
  );
  t.match(plain, /^HTTP\/1\.1 200 OK/);
  const refused = await world.raw(
    `GET /x HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: other${end}`,
    {
      until: /plain$/,
    },
  );
  t.match(refused, /^HTTP\/1\.1 200 OK/, 'the backend may decline');
  const smuggled = `GET /smuggled HTTP/1.1\r\nhost: web${end}`;
  const declined = await world.raw(
    `GET /x HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: other${end}${smuggled}`,
  );
  t.equal(declined.split('HTTP/1.1 ').length, 2, 'one answer, and the end');
  t.notMatch(backend.received(), /smuggled/, 'what follows is neither a request nor bytes for the endpoint');
  await world.routes(authorization('no-ws', 'DENY', '[{to: [{operation: {paths: ["/ws*"]}}]}]'));
  const { length } = backend.received();
  const denied = await world.raw(
    `GET /ws HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: websocket${end}${smuggled}`,
  );
  t.match(denied, /^HTTP\/1\.1 403 /);
  t.equal(denied.split('HTTP/1.1 ').length, 2);
  t.equal(backend.received().length, length, 'a policy is about what begins it');
});
