/** Our server against node:http2 (nghttp2) as the client, over TLS: headers, ends, resets and goodbyes. */
import { once } from 'node:events';
import t from 'tap';
import { connect, echo, exchange, gone, response, serve } from './interop-node-client.ts';

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
