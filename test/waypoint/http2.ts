/** HTTP/2 with prior knowledge through a waypoint: gRPC as its clients and servers speak it, and both translations. */
import { once } from 'node:events';
import http2 from 'node:http2';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import {
  ACK,
  block,
  clientPreface,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  parseFrames,
  resetCode,
  RST_STREAM,
  SETTINGS,
  settings,
  u32,
} from '../tunnel/h2/raw-frames.ts';
import { World } from './world.ts';
import { authorization, destination, route } from './world-objects.ts';

/** An HTTP/2 server at the port of a pod. */
async function serveHttp2(
  world: World,
  pod: string,
  handle: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
): Promise<void> {
  const server = http2.createServer();
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    handle(stream as http2.ServerHttp2Stream, headers);
  });
  await world.serve(pod, socket => server.emit('connection', socket));
}

function sessionOn(socket: Duplex): http2.ClientHttp2Session {
  const session = http2.connect('http://web', { createConnection: () => socket });
  session.on('error', () => {});
  return session;
}

interface Answer {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders;
  readonly trailers: http2.IncomingHttpHeaders;
  readonly text: string;
}

async function ask(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: string,
): Promise<Answer> {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  let trailers: http2.IncomingHttpHeaders = {};
  stream.on('trailers', got => (trailers = got));
  const [got] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return { status: Number(got[':status']), headers: got, trailers, text };
}

const call = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };

t.test('gRPC: trailers, trailers only, and both sides streaming', async t => {
  await using world = await World.create({ appProtocol: 'grpc' });
  await serveHttp2(world, 'web', (stream, headers) => {
    if (headers[':path'] === '/s/None') {
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' },
        { endStream: true },
      );
      return;
    }
    const status = headers[':path'] === '/s/Odd' ? 'a status of its own' : '0';
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status, te: String(headers.te) }));
    stream.pipe(stream);
  });
  const session = sessionOn(await world.connect());
  t.match(await ask(session, { ...call, ':path': '/s/Echo' }, 'message'), {
    status: 200,
    text: 'message',
    trailers: { 'grpc-status': '0' },
  });
  t.match(await ask(session, { ...call, ':path': '/s/None' }, ''), {
    status: 200,
    headers: { 'grpc-status': '5' },
  });
  t.match(await world.line({ path: '/s/None' }), { grpc_status: '5', protocol: 'HTTP/2' });
  const odd = { 'grpc-status': 'a status of its own' };
  // A body of nothing, whose end comes in a frame of its own.
  t.match(await ask(session, { ...call, ':path': '/s/Odd' }, ''), { trailers: odd }, 'it is passed on');
  t.match(await world.line({ path: '/s/Odd' }), { grpc_status: '2' }, 'but is no label');

  const chat = session.request({ ...call, ':path': '/s/Chat' });
  for (const word of ['one', 'two', 'three']) {
    chat.write(word);
    const [heard] = (await once(chat, 'data')) as [Buffer];
    t.equal(heard.toString(), word, 'each answer comes before the next question');
  }
  chat.end();
  const [trailers] = (await once(chat, 'trailers')) as [http2.IncomingHttpHeaders];
  t.equal(trailers['grpc-status'], '0');
  session.destroy();
});

t.test('requests of one connection are balanced each for itself, 70 to 30', async t => {
  await using world = await World.create({
    pods: ['v1', 'v2'],
    appProtocol: 'kubernetes.io/h2c',
    objects: route(
      '- backendRefs: [{ name: v1, port: 80, weight: 70 }, { name: v2, port: 80, weight: 30 }, { name: v3, port: 80, weight: 0 }]',
      'GRPCRoute',
    ),
  });
  const counts: Record<string, number> = { v1: 0, v2: 0 };
  for (const pod of ['v1', 'v2'])
    await serveHttp2(world, pod, stream => {
      counts[pod] = (counts[pod] ?? 0) + 1;
      stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true });
    });
  const session = sessionOn(await world.connect());
  const total = 1_000;
  for (let n = 0; n < total; n += 50)
    await Promise.all(Array.from({ length: 50 }, () => ask(session, { ...call, ':path': '/s/M' })));
  t.equal((counts['v1'] ?? 0) + (counts['v2'] ?? 0), total);
  t.ok(Math.abs((counts['v2'] ?? 0) / total - 0.3) < 0.06, `${counts['v2']} of ${total}`);
  session.destroy();
});

t.test('a reset goes through in both directions with its code', async t => {
  await using world = await World.create({ appProtocol: 'grpc' });
  const codes: number[] = [];
  let seen: () => void = () => {};
  const cancelled = new Promise<void>(resolve => (seen = resolve));
  await serveHttp2(world, 'web', (stream, headers) => {
    if (headers[':path'] === '/reset') {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.write('x');
      setTimeout(() => stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM), 20);
      return;
    }
    stream.once('close', () => {
      codes.push(stream.rstCode ?? -1);
      seen();
    });
    stream.respond({ ':status': 200 });
    stream.write('x');
  });
  const session = sessionOn(await world.connect());
  const reset = session.request({ ...call, ':path': '/reset' });
  reset.on('error', () => {}).resume();
  await new Promise(resolve => reset.once('close', resolve));
  t.equal(reset.rstCode, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
  const given = session.request({ ...call, ':path': '/cancel' });
  given.on('error', () => {});
  await once(given, 'data');
  given.close(http2.constants.NGHTTP2_CANCEL);
  await cancelled;
  t.same(codes, [http2.constants.NGHTTP2_CANCEL]);
  session.destroy();
});

t.test('an upload that is reset is never whole for the backend', async t => {
  await using world = await World.create({ appProtocol: 'grpc' });
  const ended: boolean[] = [];
  const closed = new Promise<void>(resolve => {
    void serveHttp2(world, 'web', stream => {
      stream.resume().once('end', () => ended.push(!stream.aborted));
      stream.once('close', resolve);
    });
  });
  const session = sessionOn(await world.connect());
  const upload = session.request({ ...call, ':path': '/upload' }, { waitForTrailers: true });
  upload.on('error', () => {});
  upload.write('half');
  setTimeout(() => upload.close(http2.constants.NGHTTP2_CANCEL), 50);
  await closed;
  t.notOk(ended.includes(true));
  session.destroy();
});

t.test('from HTTP/1.1 to a backend of HTTP/2', async t => {
  await using world = await World.create({ appProtocol: 'kubernetes.io/h2c' });
  await serveHttp2(world, 'web', (stream, headers) => {
    let body = '';
    stream.on('data', chunk => (body += String(chunk)));
    stream.on('end', () => {
      stream.respond({ ':status': 201, 'set-cookie': ['a=1', 'b=2'] });
      stream.end(JSON.stringify({ ...headers, body }));
    });
  });
  const { status, headers, text } = await world.request('/x?y=1', {
    method: 'POST',
    body: 'hello',
    headers: { Cookie: 'c=1', 'X-Mixed': 'Case', constructor: 'plain', ['__proto__']: 'plain' },
  });
  t.equal(status, 201);
  t.same(headers['set-cookie'], ['a=1', 'b=2']);
  t.match(JSON.parse(text), {
    ':method': 'POST',
    ':path': '/x?y=1',
    ':authority': 'web',
    cookie: 'c=1',
    'x-mixed': 'Case',
    constructor: 'plain',
    body: 'hello',
  });
});

t.test('what is no clear request of HTTP/2 is refused', async t => {
  await using world = await World.create({ appProtocol: 'http2' });
  let seen = 0;
  await serveHttp2(world, 'web', stream => {
    seen += 1;
    stream.respond({ ':status': 200 }, { endStream: true });
  });
  const session = sessionOn(await world.connect());
  for (const headers of [
    { ':path': '/', ':authority': 'web', host: 'other' },
    { ':path': '/a%00' },
    { ':path': '/a b' },
    { ':path': '*' },
    { ':path': '/', ':authority': 'a@web' },
    { ':path': '/', ':scheme': 'ftp' },
  ]) {
    const stream = session.request(headers);
    stream.on('error', () => {}).resume();
    await new Promise(resolve => stream.once('close', resolve));
    t.not(stream.rstCode, 0, JSON.stringify(headers));
  }
  t.equal(seen, 0);
  t.match(await ask(session, { ':path': '/' }), { status: 200 }, 'the connection goes on');
  session.destroy();
});

t.test('without a protocol of the port, HTTP/2 is known by its first bytes', async t => {
  await using world = await World.create();
  await serveHttp2(world, 'web', stream => stream.respond({ ':status': 200 }, { endStream: true }));
  const session = sessionOn(await world.connect());
  t.match(await ask(session, { ':path': '/' }), { status: 200 });
  session.destroy();
});

t.test('connections to endpoints as the policy says: streams at a time, requests in all', async t => {
  const policy = (http: string): string => destination(`{ connectionPool: { http: { ${http} } } }`);
  await using world = await World.create({ appProtocol: 'grpc', objects: policy('maxConcurrentStreams: 2') });
  const held: http2.ServerHttp2Stream[] = [];
  let sessions = new Set<unknown>();
  let hold = true;
  await serveHttp2(world, 'web', stream => {
    sessions.add(stream.session);
    if (hold) held.push(stream);
    else {
      stream.respond({ ':status': 200 });
      stream.end();
    }
  });
  const session = sessionOn(await world.connect());
  const five = Array.from({ length: 5 }, () => ask(session, { ...call, ':path': '/s/Wait' }));
  await eventually(() => held.length === 5, { what: 'all five' });
  t.equal(sessions.size, 3);
  for (const stream of held) {
    stream.respond({ ':status': 200 });
    stream.end();
  }
  t.same(new Set((await Promise.all(five)).map(({ status }) => status)), new Set([200]));
  hold = false;
  await world.routes(policy('maxRequestsPerConnection: 2'));
  sessions = new Set();
  for (let n = 0; n < 6; n += 1) await ask(session, { ...call, ':path': '/s/One' });
  t.equal(sessions.size, 3);
  session.destroy();
});

/** A field that is in no table (RFC 7541 section 6.2.2). */
function field(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}

/** What a stream of a tunnel is to Node: no socket of its own, so that one read may hold several frames. */
function asStream(socket: Socket): Socket {
  const stream = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
    final: done => void socket.end(done),
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk: Buffer) => stream.push(chunk)).on('end', () => stream.push(null));
  return stream as Socket;
}

t.test('a response that comes in one piece: head, body and trailers', async t => {
  await using world = await World.create({ appProtocol: 'grpc', wrap: asStream });
  const [data, headers, settings] = [0, 1, 4];
  const [endStream, endHeaders, ack] = [1, 4, 1];
  const head = Buffer.concat([Buffer.from([0x88]), field('x-made', 'by hand')]);
  const whole = (stream: number): Buffer =>
    Buffer.concat([
      frame(headers, endHeaders, stream, head),
      frame(data, 0, stream, Buffer.from('mess')),
      frame(data, 0, stream, Buffer.from('age')),
      frame(headers, endHeaders | endStream, stream, field('grpc-status', '0')),
    ]);
  await world.serve('web', socket => {
    let seen = Buffer.alloc(0);
    let at = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'.length;
    socket.write(frame(settings, 0, 0, Buffer.alloc(0)));
    socket.on('data', (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      while (seen.length >= at + 9 && seen.length >= at + 9 + seen.readUIntBE(at, 3)) {
        const [type, flags] = [seen.readUInt8(at + 3), seen.readUInt8(at + 4)];
        const isEnd = (type === headers || type === data) && (flags & endStream) !== 0;
        if (type === settings && (flags & ack) === 0) socket.write(frame(settings, ack, 0, Buffer.alloc(0)));
        if (isEnd) socket.write(whole(seen.readUInt32BE(at + 5)));
        seen = seen.subarray(at + 9 + seen.readUIntBE(at, 3));
        at = 0;
      }
    });
  });
  const session = sessionOn(await world.connect());
  for (const path of ['/s/One', '/s/Two'])
    t.match(await ask(session, { ...call, ':path': path }, 'question'), {
      status: 200,
      text: 'message',
      headers: { 'x-made': 'by hand' },
      trailers: { 'grpc-status': '0' },
    });
  session.close();
});

t.test(
  'what comes twice, is no status, or is reset with the frame that opens it ends nobody else',
  async t => {
    const objects = authorization('no-admin', 'DENY', '[{to: [{operation: {paths: ["/admin"]}}]}]');
    await using world = await World.create({ appProtocol: 'grpc', objects });
    const answers = [
      block([':status', '200'], ['content-type', 'a/b'], ['content-type', 'a/c'], ['trailer', 'x-t']),
      block([':status', '099']),
      block([':status', '700']),
    ];
    await world.serve('web', socket => {
      socket.write(Buffer.concat([settings(), frame(SETTINGS, ACK, 0)]));
      socket.on('data', (chunk: Buffer) => {
        const bytes = chunk.toString('latin1').startsWith('PRI')
          ? chunk.subarray(clientPreface.length)
          : chunk;
        for (const { type, id } of parseFrames(bytes).frames)
          if (type === HEADERS) socket.write(frame(HEADERS, END_HEADERS | END_STREAM, id, answers.shift()));
      });
    });
    const hostile = await world.connect();
    let came = Buffer.alloc(0);
    hostile.on('data', (chunk: Buffer) => (came = Buffer.concat([came, chunk])));
    const head = (path: string, method: string): Buffer =>
      block([':method', method], [':scheme', 'http'], [':path', path], [':authority', 'web']);
    hostile.write(
      Buffer.concat([
        clientPreface,
        settings(),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, head('/admin', 'GET')),
        frame(RST_STREAM, 0, 1, u32(8)),
        frame(HEADERS, END_HEADERS | END_STREAM, 3, head('/', 'get')),
      ]),
    );
    await eventually(() => resetCode(parseFrames(came).frames, 3), { what: 'the other refusal' });
    hostile.destroy();
    const session = sessionOn(await world.connect());
    t.match(await ask(session, { ':path': '/', 'user-agent': 'a' }), { status: 200 });
    const unrepeatable = { ':path': '/', ':method': 'POST' };
    t.match(await ask(session, unrepeatable), { status: 503 }, 'no status');
    t.match(await ask(session, unrepeatable), { status: 500 }, 'none of HTTP/2');
    session.destroy();
    answers.push(block([':status', '200'], ['etag', '"a"'], ['etag', '"b"']));
    const twice = await world.raw(
      'GET / HTTP/1.1\r\nhost: web\r\nuser-agent: a\r\nuser-agent: b\r\nconnection: close\r\n\r\n',
    );
    t.match(twice, /^HTTP\/1\.1 200 OK\r\netag: "a"\r\netag: "b"\r\n/);
    t.equal(await world.metric('culvert_waypoint_refused_total', '{code="WAYPOINT_INTERNAL_ERROR"}'), 0);
  },
);

t.test(
  'a response in whose midst the connection ends is not whole, and one that is there already is',
  async t => {
    for (const isMeshed of [false, true]) {
      const world = await World.create({ appProtocol: 'http2', isMeshed });
      t.teardown(() => world[Symbol.asyncDispose]());
      const answer = (id: number, flags: number): Buffer =>
        Buffer.concat([
          frame(GOAWAY, 0, 0, u32(id, 0)),
          frame(HEADERS, END_HEADERS, id, block([':status', '200'])),
          frame(DATA, flags, id, 'x'.repeat(1_000)),
        ]);
      let flags = 0;
      await world.serve('web', socket => {
        socket.write(Buffer.concat([settings(), frame(SETTINGS, ACK, 0)]));
        socket.on('data', (chunk: Buffer) => {
          const bytes = chunk.toString('latin1').startsWith('PRI')
            ? chunk.subarray(clientPreface.length)
            : chunk;
          for (const { type, id } of parseFrames(bytes).frames)
            if (type === HEADERS) socket.end(answer(id, flags));
        });
      });
      for (const method of ['GET', 'POST']) {
        const request = `${method} /${method} HTTP/1.1\r\nhost: web\r\ncontent-length: 0\r\n\r\n`;
        flags = 0;
        await t.rejects(world.raw(request), `${method}: reset, rather than an end`);
        t.match(await world.line({ path: `/${method}` }), { code: 'UPSTREAM_RESET', status: 200 });
        flags = END_STREAM;
        t.match(await world.raw(request, { until: /\r\n0\r\n\r\n$/ }), /^HTTP\/1\.1 200 OK/);
      }
    }
  },
);
