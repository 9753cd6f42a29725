/** A handshake between two ends that know each other: whom it proves, what passes, and what nobody can switch off. */
import { once } from 'node:events';
import tls from 'node:tls';
import t from 'tap';
import type { CulvertError } from '../../base/errors.ts';
import { acceptTls, clientContext, connectTls, serverContext } from '../../tunnel/tls.ts';
import { makeCertificate } from './pki.ts';
import { listen, listenTls } from './tls-pair.ts';
import {
  cart,
  prices,
  root,
  otherRoot,
  server,
  client,
  accept,
  connect,
  options,
  rejection,
  closed,
  serving,
} from './tls-parties.ts';

t.test('both ends know each other, and bytes go both ways', async t => {
  const listener = await listenTls(t, serverContext(server), accept);
  const [there, here] = await Promise.all([
    listener.next(),
    connectTls(await listener.connect(), clientContext(client), connect),
  ]);
  t.equal(there.identity, cart);
  t.equal(here.identity, prices);
  for (const { socket } of [there, here]) {
    t.equal(socket.alpnProtocol, 'h2');
    t.equal(socket.getProtocol(), 'TLSv1.3');
    t.equal(socket.authorized, true);
    t.match(socket.getCipher().name, /^TLS_AES_128_GCM_SHA256$/);
  }
  t.notOk(there.socket.servername, 'no SNI was sent');
  here.socket.write('to the server');
  t.equal(String((await once(there.socket, 'data'))[0]), 'to the server');
  there.socket.write('to the client');
  t.equal(String((await once(here.socket, 'data'))[0]), 'to the client');
  here.socket.end();
  await Promise.all([closed(here.socket), closed(there.socket)]);
});

t.test('what a client sends right behind its handshake is not lost', async t => {
  const listener = await listenTls(t, serverContext(server), accept);
  const { socket } = await connectTls(await listener.connect(), clientContext(client), connect);
  socket.write('preface');
  const there = await listener.next();
  t.equal(String((await once(there.socket, 'data'))[0]), 'preface');
});

t.test('certificates of either root are good while both are trusted', async t => {
  const rootsPem = root.pem + otherRoot.pem;
  for (const [signs, shows] of [
    [root, otherRoot],
    [otherRoot, root],
  ] as const) {
    const context = serverContext({ ...makeCertificate(signs, prices), rootsPem });
    const listener = await listenTls(t, context, accept);
    const mine = clientContext({ ...makeCertificate(shows, cart), rootsPem });
    const [there, here] = await Promise.all([
      listener.next(),
      connectTls(await listener.connect(), mine, connect),
    ]);
    t.strictSame([there.identity, here.identity], [cart, prices]);
  }
});

t.test('one of several expected identities is enough, none is never', async t => {
  const listener = await listenTls(t, serverContext(server), accept);
  const dial = async (expectedIdentities: string[]) =>
    connectTls(await listener.connect(), clientContext(client), { ...connect, expectedIdentities });
  t.equal((await dial([cart, prices])).identity, prices);
  t.match(await rejection(dial([])), { code: 'TLS_PEER_WRONG_IDENTITY', message: /expected was nobody/ });
  t.match(await rejection(dial([`${prices}2`])), { code: 'TLS_PEER_WRONG_IDENTITY' });
});

t.test('a socket that is destroyed before or while it shakes hands', async t => {
  const context = serverContext(server);
  const listener = await listen(t, raw => {
    raw.destroy(new Error('broken by the kernel'));
    gone.push(rejection(acceptTls(raw, context, accept)));
  });
  const gone: Promise<CulvertError>[] = [];
  await closed(await listener.connect());
  t.match(await gone[0], { code: 'TLS_HANDSHAKE_ABORTED' });
  const deaf = await listen(t, () => {});
  const raw = await deaf.connect();
  const dialled = rejection(connectTls(raw, clientContext(client), connect));
  raw.destroy();
  t.match(await dialled, { code: 'TLS_HANDSHAKE_ABORTED', side: 'server' });
  await closed(raw);
  t.match(await rejection(connectTls(raw, clientContext(client), connect)), {
    code: 'TLS_HANDSHAKE_ABORTED',
  });
});

t.test('a verified socket that nobody listens to may break', async t => {
  const listener = await listenTls(t, serverContext(server), accept);
  const raw = await listener.connect();
  const [there] = await Promise.all([listener.next(), connectTls(raw, clientContext(client), connect)]);
  raw.resetAndDestroy();
  await closed(there.socket);
  t.pass('without an unhandled error');
});

t.test('nothing is resumed: every connection shows its certificate again', async t => {
  const listener = await listenTls(t, serverContext(server), accept);
  const first = tls.connect({ ...options(client), socket: await listener.connect() });
  const there = await listener.next();
  const session = once(first, 'session');
  there.socket.write('x');
  first.resume();
  const [ticket] = (await session) as [Buffer];
  for (const given of [
    options(client),
    { ca: root.pem, ALPNProtocols: ['h2'], checkServerIdentity: () => undefined },
  ]) {
    const second = tls.connect({ ...given, socket: await listener.connect(), session: ticket });
    second.on('error', () => {});
    const result = await listener.next().then(
      ({ socket, identity }) => `${identity} ${String(socket.isSessionReused())}`,
      (error: CulvertError) => error.code,
    );
    t.equal(result, 'cert' in given ? `${cart} false` : 'TLS_PEER_NO_CERTIFICATE');
    second.destroy();
  }
});

t.test('the environment cannot switch verification off', async t => {
  t.intercept(process, 'env', { value: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0' } });
  const bare = tls.createServer(serving(makeCertificate(otherRoot, prices)));
  const listener = await listen(t, raw => bare.emit('connection', raw));
  const error = await rejection(connectTls(await listener.connect(), clientContext(client), connect));
  t.equal(error.code, 'TLS_PEER_UNTRUSTED');
});
