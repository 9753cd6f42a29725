/** Reading straight into a buffer of our own: that it happens, and that nobody's bytes are written over. */
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import type tls from 'node:tls';
import t from 'tap';
import { H2Connection } from '../../../tunnel/h2/connection.ts';
import type { H2Stream } from '../../../tunnel/h2/stream.ts';
import { TestTransport } from './raw-peer.ts';
import { dialOurs, dialTls, listenTls } from './tls-pair.ts';

interface Sink {
  readonly chunks: Buffer[];
  readonly buffers: Set<ArrayBufferLike>;
  readonly ended: Promise<void>;
}

/** Sends messages to a server whose owner keeps chunks or not, and returns what it got. */
async function send(keep: boolean, messages: readonly Buffer[]): Promise<Sink> {
  const ended = Promise.withResolvers<void>();
  const sink: Sink = { chunks: [], buffers: new Set(), ended: ended.promise };
  const server = await listenTls(transport => {
    const connection = new H2Connection({
      transport,
      role: 'server',
      handlers: {
        onClose: () => {},
        onRequest: stream => {
          stream.handlers = {
            onData: chunk => {
              sink.buffers.add(chunk.buffer);
              sink.chunks.push(keep ? chunk : Buffer.from(chunk));
              return !keep;
            },
            onDrain: () => {},
            onReset: () => {},
            onEnd: () => ended.resolve(),
          };
          stream.respond(200);
        },
      },
    });
    t.equal(connection.readsDirectly, true, 'this release of Node has what we read with');
  });
  const connection = await dialOurs(server.port);
  const stream = connection.connect('a:1', [], {
    onData: () => true,
    onEnd: () => {},
    onReset: () => {},
    onDrain: () => {},
  });
  for (const message of messages) {
    stream.write(message);
    await turn();
  }
  stream.end();
  await ended.promise;
  connection.destroy();
  await server.close();
  return sink;
}

t.test('chunks that are kept stay as they are', async t => {
  const messages = Array.from({ length: 300 }, (_, at) => Buffer.alloc(((at * 7919) % 30_000) + 1, at));
  const { chunks } = await send(true, messages);
  t.ok(Buffer.concat(chunks).equals(Buffer.concat(messages)));
});

t.test('chunks that are done with cost no memory', async t => {
  const messages = Array.from({ length: 300 }, (_, at) => Buffer.alloc(((at * 7919) % 30_000) + 1, at));
  const { chunks, buffers } = await send(false, messages);
  t.ok(Buffer.concat(chunks).equals(Buffer.concat(messages)));
  t.ok(buffers.size <= 3, `${buffers.size} buffers for ${chunks.length} chunks`);
});

t.test('what came before we did is not lost', async t => {
  const sockets: tls.TLSSocket[] = [];
  const server = await listenTls(socket => sockets.push(socket));
  const connection = await dialOurs(server.port);
  const answered = Promise.withResolvers<number>();
  connection.connect('a:1', [], {
    onHeaders: status => answered.resolve(status),
    onData: () => {},
    onEnd: () => {},
    onReset: () => {},
    onDrain: () => {},
  });
  while (sockets[0] === undefined || sockets[0].readableLength === 0) {
    sockets[0]?.read(0);
    await turn();
  }
  const streams: H2Stream[] = [];
  const ours = new H2Connection({
    transport: sockets[0],
    role: 'server',
    handlers: { onClose: () => {}, onRequest: stream => (streams.push(stream), stream.respond(200)) },
  });
  t.equal(await answered.promise, 200);
  t.equal(ours.readsDirectly, true);
  connection.destroy();
  await server.close();
});

t.test('the end of the transport is seen', async t => {
  const closed = Promise.withResolvers<string>();
  const server = await listenTls(transport => {
    const handlers = { onClose: (error: unknown) => closed.resolve(String(error)) };
    t.ok(new H2Connection({ transport, role: 'server', handlers }));
  });
  const socket = await dialTls(server.port);
  socket.end();
  t.equal(await closed.promise, 'null');
  await once(socket.resume(), 'close');
  await server.close();
});

t.test('a transport of another kind is read by its events', async t => {
  const transport = new TestTransport();
  const connection = new H2Connection({ transport, role: 'server', handlers: { onClose: () => {} } });
  t.equal(connection.readsDirectly, false);
  connection.destroy();
});
