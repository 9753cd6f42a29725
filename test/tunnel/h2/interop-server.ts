/** Our server against node:http2 (nghttp2) as the client, over TLS. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import t from 'tap';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2ConnectionHandlers, H2ConnectionOptions } from '../../../tunnel/h2/connection.ts';
import type { H2Stream, H2StreamHandlers } from '../../../tunnel/h2/stream.ts';
import { dialNode, listenTls } from './tls-pair.ts';

interface Served {
  readonly session: ClientHttp2Session;
  /** Our end; there is one as soon as the client is connected. */
  readonly connection: H2Connection;
  /** Resolves with how our end closed. */
  readonly closed: Promise<string>;
  readonly stop: () => Promise<void>;
}

async function serve(
  onRequest: H2ConnectionHandlers['onRequest'],
  options: Partial<H2ConnectionOptions> = {},
): Promise<Served> {
  const connected = Promise.withResolvers<H2Connection>();
  const closed = Promise.withResolvers<string>();
  const server = await listenTls(transport => {
    const onClose: H2ConnectionHandlers['onClose'] = error => closed.resolve(error?.code ?? 'clean');
    const handlers = { onClose, ...(onRequest === undefined ? {} : { onRequest }) };
    connected.resolve(new H2Connection({ transport, role: 'server', ...options, handlers }));
  });
  const session = await dialNode(server.port);
  const stop = async (): Promise<void> => {
    session.destroy();
    await Promise.all([closed.promise, server.close()]);
  };
  return { session, connection: await connected.promise, closed: closed.promise, stop };
}

/** Sends back what comes, and its end. */
function echo(stream: H2Stream): H2StreamHandlers {
  return {
    onData: chunk => {
      if (!stream.write(chunk)) stream.pause();
    },
    onDrain: () => stream.resume(),
    onEnd: () => stream.end(),
    onReset: () => {},
  };
}

function connect(session: ClientHttp2Session, authority = '10.0.0.1:80'): ClientHttp2Stream {
  const stream = session.request(
    { ':method': 'CONNECT', ':authority': authority, baggage: 'a=b' },
    { endStream: false },
  );
  stream.on('error', () => {});
  return stream;
}

function gone(stream: ClientHttp2Stream): Promise<unknown> {
  return new Promise(resolve => stream.once('close', resolve));
}

async function response(stream: ClientHttp2Stream): Promise<IncomingHttpHeaders> {
  const [headers] = await once(stream, 'response');
  return headers as IncomingHttpHeaders;
}

/** Sends chunks heeding back-pressure, ends, and returns the digests of what was sent and of what came back. */
async function exchange(
  stream: ClientHttp2Stream,
  sizes: readonly number[],
): Promise<[sent: string, received: string]> {
  const [sent, received] = [createHash('sha256'), createHash('sha256')];
  const ended = once(
    stream.on('data', (chunk: Buffer) => received.update(chunk)),
    'end',
  );
  for (const size of sizes) {
    const chunk = randomBytes(size);
    sent.update(chunk);
    if (!stream.write(chunk)) await once(stream, 'drain');
  }
  stream.end();
  await ended;
  return [sent.digest('hex'), received.digest('hex')];
}

t.test('headers both ways', async t => {
  const { session, stop } = await serve((stream, request) => {
    stream.respond(200, [
      ['baggage', request.authority],
      ['x', request.header('baggage') ?? ''],
    ]);
    stream.end();
  });
  for (let turn = 0; turn < 3; turn += 1) {
    const stream = connect(session, `[fd00::${turn}]:80`);
    const headers = await response(stream);
    t.strictSame([headers[':status'], headers['baggage'], headers['x']], [200, `[fd00::${turn}]:80`, 'a=b']);
    stream.end().resume();
    await gone(stream);
  }
  await stop();
});

t.test('Huffman and the dynamic table as nghttp2 uses them, every byte of a value', async t => {
  const seen: string[] = [];
  const { session, stop } = await serve((stream, request) => {
    seen.push(`${request.header('x-all')}|${request.header('x-many')}`);
    stream.respond(200);
    stream.end();
  });
  // nghttp2 refuses what may not stand in a value, so these are all there are.
  const all = Array.from({ length: 256 }, (_, byte) => byte).filter(byte => byte > 0x20 && byte !== 0x7f);
  const text = Buffer.from(all).toString('latin1');
  const expected: string[] = [];
  for (let turn = 0; turn < 40; turn += 1) {
    const many = `${turn % 7}`.repeat(turn * 20 + 1);
    const fields = { ':method': 'CONNECT', ':authority': 'a:1', 'x-all': text, 'x-many': many };
    const stream = session.request(fields);
    stream.end().resume();
    await gone(stream);
    expected.push(`${text}|${many}`);
  }
  t.strictSame(seen, expected);
  await stop();
});

t.test('many streams of random sizes at once', async t => {
  const { session, connection, stop } = await serve(stream => {
    stream.handlers = echo(stream);
    stream.respond(200);
  });
  const streams = Array.from({ length: 100 }, async (_, at) => {
    const sizes = Array.from({ length: at % 12 }, (_, turn) => 1 + ((at * 7919 + turn * 104_729) % 90_000));
    const [sent, received] = await exchange(connect(session), sizes);
    return sent === received;
  });
  t.ok((await Promise.all(streams)).every(Boolean));
  t.equal(connection.openStreams, 0);
  t.equal(connection.payloadReceived, connection.payloadSent);
  await stop();
});

t.test('100 MB both ways, hashed', async t => {
  const { session, stop } = await serve(stream => {
    stream.handlers = echo(stream);
    stream.respond(200);
  });
  const [sent, received] = await exchange(
    connect(session),
    Array.from({ length: 1600 }, () => 65_536),
  );
  t.equal(received, sent);
  await stop();
});

t.test('half-close: our side goes on after the end of theirs, and theirs after ours', async t => {
  const { session, stop } = await serve((stream, request) => {
    const first = request.authority === 'we-end-first:1';
    let received = '';
    stream.handlers = {
      onData: chunk => ((received += chunk.toString()), true),
      onDrain: () => {},
      onReset: () => {},
      onEnd: () => {
        if (first) return;
        stream.write(Buffer.from(`after ${received}`));
        stream.end();
      },
      onClose: () => {
        if (first) closes.resolve(received);
      },
    };
    stream.respond(200);
    if (first) stream.end();
  });
  const closes = Promise.withResolvers<string>();
  const theirs = connect(session);
  theirs.end('hello');
  const chunks = await theirs.setEncoding('utf8').toArray();
  t.equal(chunks.join(''), 'after hello');
  const ours = connect(session, 'we-end-first:1');
  await once(ours.resume(), 'end');
  ours.end('late words');
  t.equal(await closes.promise, 'late words');
  await stop();
});

t.test('resets both ways carry their codes', async t => {
  const codes: Promise<number>[] = [];
  const { session, connection, stop } = await serve((stream, request) => {
    const { promise, resolve } = Promise.withResolvers<number>();
    stream.handlers = { ...echo(stream), onEnd: () => {}, onReset: resolve };
    codes.push(promise);
    stream.respond(200);
    if (request.authority === 'reset-me:1') setImmediate(() => stream.reset(0xa));
  });
  const reset = connect(session, 'reset-me:1');
  await gone(reset);
  t.equal(reset.rstCode, 0xa);
  const cancelled = connect(session);
  await response(cancelled);
  cancelled.close(8);
  t.equal(await codes[1], 8);
  t.equal(connection.openStreams, 0);
  await stop();
});

t.test('a slow reader of theirs holds us back, a slow reader of ours holds them back', async t => {
  let most = 0;
  let ours: H2Stream | null = null;
  const { session, stop } = await serve((stream, request) => {
    ours = stream;
    let written = 0;
    const pump = (): void => {
      while (written < 20_000_000) {
        written += 65_536;
        if (!stream.write(Buffer.alloc(65_536))) break;
      }
      most = Math.max(most, stream.queuedBytes);
      if (written >= 20_000_000) stream.end();
    };
    stream.handlers = { onData: () => true, onEnd: () => {}, onReset: () => {}, onDrain: pump };
    stream.respond(200);
    if (request.authority === 'pump:1') pump();
    else stream.pause();
  });
  const reader = connect(session, 'pump:1');
  await response(reader);
  reader.end();
  let received = 0;
  for await (const chunk of reader) {
    received += (chunk as Buffer).length;
    await new Promise(resolve => setImmediate(resolve));
  }
  t.ok(received >= 20_000_000);
  t.ok(most < 200_000, `never queued more than ${most} bytes`);

  const writer = connect(session, 'sink:1');
  await response(writer);
  let accepted = 0;
  const written = Promise.withResolvers<void>();
  const chunk = Buffer.alloc(65_536);
  const write = (): void => {
    writer.write(chunk, () => {
      accepted += chunk.length;
      if (accepted < 10_000_000) write();
      else written.resolve();
    });
  };
  write();
  for (let turn = 0; turn < 20; turn += 1) await new Promise(resolve => session.ping(resolve));
  t.ok(accepted <= 262_144 + 65_536, `one window: ${accepted} bytes`);
  (ours as H2Stream | null)?.resume();
  await written.promise;
  await stop();
});

t.test('windows that change while data flows', async t => {
  const { session, stop } = await serve(stream => {
    stream.handlers = echo(stream);
    stream.respond(200);
  });
  const exchanges = Array.from({ length: 8 }, () =>
    exchange(
      connect(session),
      Array.from({ length: 40 }, () => 50_000),
    ),
  );
  for (const initialWindowSize of [1, 100_000, 0, 5000, 1_000_000]) {
    await new Promise<void>((resolve, reject) =>
      session.settings({ initialWindowSize }, error => (error ? reject(error) : resolve())),
    );
  }
  for (const [sent, received] of await Promise.all(exchanges)) t.equal(received, sent);
  await stop();
});

t.test('goodbyes', async t => {
  const { session, connection, closed, stop } = await serve(stream => {
    stream.handlers = echo(stream);
    stream.respond(200);
  });
  const stream = connect(session);
  await response(stream);
  const goaway = once(session, 'goaway');
  connection.goaway();
  await goaway;
  t.strictSame(await exchange(stream, [1000]).then(([sent, received]) => sent === received), true);
  t.equal(await closed, 'clean');
  await stop();
});

t.test('a client that leaves without a word', async t => {
  const told = Promise.withResolvers<string>();
  const { session, closed, stop } = await serve(stream => {
    stream.handlers = { ...echo(stream), onReset: (code, cause) => told.resolve(`${code} ${cause?.code}`) };
    stream.respond(200);
  });
  await response(connect(session));
  session.socket.destroy();
  t.equal(await told.promise, '10 H2_TRANSPORT_LOST');
  t.equal(await closed, 'H2_TRANSPORT_LOST');
  await stop();
});
