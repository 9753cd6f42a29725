/** Our server against node:http2 (nghttp2) as the client, over TLS: much data, slow readers, changing windows. */
import t from 'tap';
import type { H2Stream } from '../../../tunnel/h2/stream.ts';
import { connect, echo, exchange, response, serve } from './interop-node-client.ts';

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
