/** Our client against node:http2 (nghttp2) as the server, over TLS. */
import { createHash, randomBytes } from 'node:crypto';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import t from 'tap';
import type { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2Stream, H2StreamHandlers } from '../../../tunnel/h2/stream.ts';
import { dialOurs, listenNode } from './tls-pair.ts';

const echo = (stream: ServerHttp2Stream): void => {
  stream.respond({ ':status': 200 });
  stream.pipe(stream);
};

/** One stream of ours that sends chunks heeding back-pressure, and hashes both ways. */
class Exchange implements H2StreamHandlers {
  readonly #sizes: readonly number[];
  readonly #sent = createHash('sha256');
  readonly #received = createHash('sha256');
  readonly #over = Promise.withResolvers<boolean>();
  #next = 0;
  stream: H2Stream | null = null;
  status = 0;
  how = '';

  constructor(connection: H2Connection, sizes: readonly number[], authority = '10.0.0.1:80') {
    this.#sizes = sizes;
    this.stream = connection.connect(authority, [['baggage', 'a=b']], this);
  }

  /** Resolves when the stream is gone, with whether what came is what was sent. */
  get equal(): Promise<boolean> {
    return this.#over.promise;
  }

  onHeaders(status: number): void {
    this.status = status;
    this.onDrain();
  }
  onDrain(): void {
    while (this.#next < this.#sizes.length) {
      const chunk = randomBytes(this.#sizes[this.#next] ?? 0);
      this.#next += 1;
      this.#sent.update(chunk);
      if (this.stream?.write(chunk) === false) return;
    }
    this.stream?.end();
  }
  onData(chunk: Buffer): true {
    this.#received.update(chunk);
    return true;
  }
  onEnd(): void {
    this.how += 'end ';
  }
  onReset(code: number): void {
    this.how += `reset ${code} `;
  }
  onClose(): void {
    this.#over.resolve(this.#sent.digest('hex') === this.#received.digest('hex'));
  }
}

t.test('many streams of random sizes at once', async t => {
  const server = await listenNode({}, echo);
  const connection = await dialOurs(server.port);
  const exchanges = Array.from({ length: 100 }, (_, at) => {
    return new Exchange(
      connection,
      Array.from({ length: at % 12 }, (_, turn) => 1 + ((at * 7919 + turn * 104_729) % 90_000)),
    );
  });
  t.ok((await Promise.all(exchanges.map(exchange => exchange.equal))).every(Boolean));
  t.ok(exchanges.every(({ how, status }) => how === 'end ' && status === 200));
  t.equal(connection.openStreams, 0);
  connection.destroy();
  await server.close();
});

t.test('100 MB both ways, hashed', async t => {
  const server = await listenNode({ initialWindowSize: 1_000_000, maxFrameSize: 200_000 }, echo);
  const connection = await dialOurs(server.port);
  const exchange = new Exchange(
    connection,
    Array.from({ length: 1600 }, () => 65_536),
  );
  t.equal(await exchange.equal, true);
  t.strictSame([exchange.stream?.bytesSent, exchange.stream?.bytesReceived], [104_857_600, 104_857_600]);
  connection.destroy();
  await server.close();
});

t.test('more streams than the server takes wait for their turn by the owner', async t => {
  const server = await listenNode({ maxConcurrentStreams: 5 }, echo);
  let waiting = 40;
  const done: Promise<boolean>[] = [];
  const fill = (): void => {
    for (; waiting > 0 && connection.availableStreams > 0; waiting -= 1)
      done.push(new Exchange(connection, [1000]).equal);
  };
  const connection = await dialOurs(server.port, {
    handlers: { onClose: () => {}, onCapacity: () => fill() },
  });
  await new Promise(resolve => connection.ping(resolve));
  t.equal(connection.maxStreams, 5);
  fill();
  while (done.length < 40) await Promise.all(done);
  t.ok((await Promise.all(done)).every(Boolean));
  connection.destroy();
  await server.close();
});

t.test('refusals, resets and half-closes', async t => {
  const server = await listenNode({}, (stream, headers) => {
    switch (headers[':authority']) {
      case 'refuse:1':
        stream.respond({ ':status': 401 }, { endStream: true });
        break;
      case 'reset:1':
        stream.respond({ ':status': 200 });
        stream.write('a few bytes', () => stream.close(0xa));
        break;
      case 'answer-then-end:1':
        stream.respond({ ':status': 200 });
        stream.end('all');
        break;
      default:
        stream.respond({ ':status': 200 });
        stream.resume().on('end', () => stream.end('after your end'));
    }
  });
  const connection = await dialOurs(server.port);
  const run = async (authority: string): Promise<Exchange> => {
    const exchange = new Exchange(connection, [], authority);
    await exchange.equal;
    return exchange;
  };
  const refused = await run('refuse:1');
  t.strictSame([refused.status, refused.how], [401, 'end ']);
  const reset = new Exchange(connection, [], 'reset:1');
  reset.onDrain = () => {};
  await reset.equal;
  t.strictSame(
    [reset.how, reset.stream?.bytesReceived],
    ['end reset 10 ', 11],
    'node ends its side before a reset',
  );
  t.equal((await run('answer-then-end:1')).how, 'end ');
  const half = await run('half:1');
  t.strictSame([half.how, half.stream?.bytesReceived], ['end ', 14]);
  t.equal(connection.openStreams, 0);
  connection.destroy();
  await server.close();
});

t.test('windows that change while data flows', async t => {
  const sessions: ServerHttp2Session[] = [];
  const server = await listenNode({ initialWindowSize: 1000 }, echo, session => sessions.push(session));
  const connection = await dialOurs(server.port, {
    settings: { streamWindowBytes: 5000, maxStreamWindowBytes: 20_000 },
  });
  const exchanges = Array.from(
    { length: 8 },
    () =>
      new Exchange(
        connection,
        Array.from({ length: 20 }, () => 50_000),
      ),
  );
  for (const initialWindowSize of [70_000, 0, 3000, 300_000]) {
    while (sessions.length === 0) await new Promise(resolve => setImmediate(resolve));
    await new Promise<void>(resolve => sessions[0]?.settings({ initialWindowSize }, () => resolve()));
  }
  t.ok((await Promise.all(exchanges.map(exchange => exchange.equal))).every(Boolean));
  connection.destroy();
  await server.close();
});

t.test('a server that says goodbye, and one that vanishes', async t => {
  const sessions: ServerHttp2Session[] = [];
  const server = await listenNode({}, echo, session => sessions.push(session));
  const goodbye = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<string>();
  const onClose = (error: Error | null): void => closed.resolve(String(error));
  const polite = await dialOurs(server.port, { handlers: { onGoaway: () => goodbye.resolve(), onClose } });
  const exchange = new Exchange(polite, [100_000]);
  while (sessions.length === 0) await new Promise(resolve => setImmediate(resolve));
  sessions[0]?.goaway();
  await goodbye.promise;
  t.equal(await exchange.equal, true, 'what was open runs to its end');
  t.equal(await closed.promise, 'null');

  const lost = await dialOurs(server.port);
  const cut = new Exchange(lost, []);
  const answered = Promise.withResolvers<void>();
  cut.onDrain = () => answered.resolve();
  await answered.promise;
  sessions[1]?.destroy();
  await cut.equal;
  t.equal(cut.how, 'reset 10 ');
  await server.close();
});
