import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import tls from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import t from 'tap';
import { CulvertError } from '../../base/errors.ts';
import { acceptTls, clientContext, connectTls, serverContext } from '../../tunnel/tls.ts';
import { oids, readIssuer } from '../../tunnel/x509.ts';
import { makeCertificate, makeOddCertificate, makeRoot } from './pki.ts';
import type { TestCertificate } from './pki.ts';
import { listen, listenTls } from './tls-pair.ts';

const cart = 'spiffe://cluster.local/ns/shop/sa/cart';
const prices = 'spiffe://cluster.local/ns/shop/sa/prices';
const foreign = 'spiffe://other.example/ns/shop/sa/cart';
const hourMs = 3_600_000;
const root = makeRoot();
const otherRoot = makeRoot();
const server = makeCertificate(root, prices);
const client = makeCertificate(root, cart);
const accept = { trustDomain: 'cluster.local', timeoutMs: 5_000 };
const connect = { expectedIdentities: [prices], timeoutMs: 5_000 };

/** How a well-made client of Node's would connect with this certificate, for tests to spoil. */
function options(certificate: TestCertificate): ConnectionOptions {
  return {
    key: certificate.privateKeyPem,
    cert: certificate.certificatePem,
    ca: root.pem,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  };
}

async function rejection(promise: Promise<unknown>): Promise<CulvertError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof CulvertError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

async function closed(socket: Socket | TLSSocket): Promise<void> {
  socket.resume();
  if (!socket.closed) await new Promise(resolve => socket.once('close', resolve));
}

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

t.test('hostile bytes get nothing, and each is one error of the client', async t => {
  const listener = await listenTls(t, serverContext(server), accept);
  const cases: [string, string | RegExp, (socket: Socket) => void][] = [
    ['HTTP', 'TLS_NOT_TLS', socket => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['HTTP/2 in clear', 'TLS_NOT_TLS', socket => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
    ['SSH', 'TLS_NOT_TLS', socket => socket.write('SSH-2.0-OpenSSH_9\r\n')],
    ['PROXY protocol', 'TLS_NOT_TLS', socket => socket.write('PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n')],
    ['noise', 'TLS_NOT_TLS', socket => socket.write(Buffer.alloc(4_096, 0xa5))],
    ['a record too long', 'TLS_NOT_TLS', socket => socket.write(Buffer.from('160301ffff0100', 'hex'))],
    ['a broken hello', 'TLS_PROTOCOL', socket => socket.write(Buffer.from('16030100050100000101', 'hex'))],
    ['an alert', /TLS_ALERT|TLS_PROTOCOL/, socket => socket.write(Buffer.from('15030100020228', 'hex'))],
    ['nothing, then FIN', 'TLS_HANDSHAKE_ABORTED', socket => socket.end()],
    [
      'half a record, then FIN',
      'TLS_HANDSHAKE_ABORTED',
      socket => socket.end(Buffer.from('1603010200010001', 'hex')),
    ],
    ['RST', 'TLS_HANDSHAKE_ABORTED', socket => socket.resetAndDestroy()],
  ];
  for (const [name, code, act] of cases) {
    const socket = await listener.connect();
    act(socket);
    const error = await rejection(listener.next());
    t.match(error.code, code, name);
    t.equal(error.side, 'client');
    await closed(socket);
  }
});

t.test('clients that may not come in', async t => {
  const listener = await listenTls(t, serverContext(server), accept);
  const issuer = readIssuer(
    new X509Certificate(client.certificatePem),
    createPrivateKey(client.privateKeyPem),
  );
  const leafAsAuthority = makeCertificate({ pem: client.certificatePem, issuer }, cart);
  const cases: [string, string, ConnectionOptions][] = [
    ['TLS 1.2', 'TLS_VERSION', { ...options(client), maxVersion: 'TLSv1.2' }],
    ['another protocol', 'TLS_ALPN_MISMATCH', { ...options(client), ALPNProtocols: ['http/1.1'] }],
    ['no protocol', 'TLS_ALPN_MISMATCH', { ...options(client), ALPNProtocols: [] }],
    [
      'no certificate',
      'TLS_PEER_NO_CERTIFICATE',
      { ca: root.pem, ALPNProtocols: ['h2'], checkServerIdentity: () => undefined },
    ],
    ['unknown root', 'TLS_PEER_UNTRUSTED', options(makeCertificate(otherRoot, cart))],
    ['expired', 'TLS_PEER_EXPIRED', options(makeCertificate(root, cart, { notAfter: Date.now() - 2_000 }))],
    [
      'of tomorrow',
      'TLS_PEER_NOT_YET_VALID',
      options(
        makeCertificate(root, cart, { notBefore: Date.now() + hourMs, notAfter: Date.now() + 2 * hourMs }),
      ),
    ],
    [
      'for servers only',
      'TLS_PEER_UNTRUSTED',
      options(makeOddCertificate(root, { names: [[6, cart]], purposes: [oids.serverAuth] })),
    ],
    [
      'signed by a leaf',
      'TLS_PEER_UNTRUSTED',
      { ...options(leafAsAuthority), cert: leafAsAuthority.certificatePem + client.certificatePem },
    ],
    ['another trust domain', 'TLS_PEER_WRONG_TRUST_DOMAIN', options(makeCertificate(root, foreign))],
    ['no name', 'TLS_PEER_NO_IDENTITY', options(makeOddCertificate(root, { names: [] }))],
    [
      'DNS name',
      'TLS_PEER_NO_IDENTITY',
      options(makeOddCertificate(root, { names: [[2, `x, URI:${cart}`]] })),
    ],
    [
      'two names',
      'TLS_PEER_NO_IDENTITY',
      options(
        makeOddCertificate(root, {
          names: [
            [6, foreign],
            [6, cart],
          ],
        }),
      ),
    ],
    [
      'a longer name',
      'TLS_PEER_NO_IDENTITY',
      options(makeOddCertificate(root, { names: [[6, `${cart}/x`]] })),
    ],
    [
      'a name with NUL',
      'TLS_PEER_NO_IDENTITY',
      options(makeOddCertificate(root, { names: [[6, `${cart}\0`]] })),
    ],
    [
      'no common suite',
      'TLS_NO_COMMON_SUITE',
      { ...options(client), ciphers: 'TLS_CHACHA20_POLY1305_SHA256' },
    ],
    ['no common group', 'TLS_NO_COMMON_SUITE', { ...options(client), ecdhCurve: 'X448' }],
    ['does not trust us', 'TLS_HANDSHAKE_ABORTED', { ...options(client), ca: otherRoot.pem }],
  ];
  for (const [name, code, given] of cases) {
    const socket = tls.connect({ ...given, socket: await listener.connect() });
    socket.on('error', () => {});
    let received = 0;
    socket.on('data', (chunk: Buffer) => (received += chunk.length));
    const error = await rejection(listener.next());
    t.equal(error.code, code, name);
    t.equal(error.side, 'client');
    t.match(error.message, /^[ -~]+$/);
    await closed(socket);
    t.equal(received, 0);
  }
  const still = connectTls(await listener.connect(), clientContext(client), connect);
  t.equal((await listener.next()).identity, cart, 'and good ones are served as before');
  t.equal((await still).identity, prices);
});

t.test('servers that are not who was meant', async t => {
  const cases: [string, string, tls.TlsOptions][] = [
    ['unknown root', 'TLS_PEER_UNTRUSTED', serving(makeCertificate(otherRoot, prices))],
    ['expired', 'TLS_PEER_EXPIRED', serving(makeCertificate(root, prices, { notAfter: Date.now() - 2_000 }))],
    [
      'for clients only',
      'TLS_PEER_UNTRUSTED',
      serving(makeOddCertificate(root, { names: [[6, prices]], purposes: [oids.clientAuth] })),
    ],
    ['another workload', 'TLS_PEER_WRONG_IDENTITY', serving(makeCertificate(root, cart))],
    [
      'another trust domain',
      'TLS_PEER_WRONG_IDENTITY',
      serving(makeCertificate(root, prices.replace('cluster.local', 'other'))),
    ],
    [
      'two names',
      'TLS_PEER_NO_IDENTITY',
      serving(
        makeOddCertificate(root, {
          names: [
            [6, prices],
            [6, cart],
          ],
        }),
      ),
    ],
    ['no name', 'TLS_PEER_NO_IDENTITY', serving(makeOddCertificate(root, { names: [] }))],
    ['no protocol', 'TLS_ALPN_MISMATCH', { ...serving(server), ALPNProtocols: [] }],
    ['another protocol', 'TLS_ALPN_MISMATCH', { ...serving(server), ALPNProtocols: ['http/1.1'] }],
    ['TLS 1.2', 'TLS_VERSION', { ...serving(server), maxVersion: 'TLSv1.2' }],
  ];
  for (const [name, code, given] of cases) {
    const bare = tls.createServer(given, socket => socket.on('error', () => {}).resume());
    const listener = await listen(t, raw => bare.emit('connection', raw));
    const raw = await listener.connect();
    const error = await rejection(connectTls(raw, clientContext(client), connect));
    t.equal(error.code, code, name);
    t.equal(error.side, 'server');
    await closed(raw);
  }
  const talking: [string, string, (socket: Socket) => void][] = [
    ['a mail server', 'TLS_NOT_TLS', socket => socket.write('220 mail ready\r\n')],
    ['FIN', 'TLS_HANDSHAKE_ABORTED', socket => socket.end()],
    ['RST', 'TLS_HANDSHAKE_ABORTED', socket => socket.once('data', () => socket.resetAndDestroy())],
  ];
  for (const [name, code, act] of talking) {
    const listener = await listen(t, socket => act(socket.on('error', () => {})));
    const raw = await listener.connect();
    t.equal((await rejection(connectTls(raw, clientContext(client), connect))).code, code, name);
    await closed(raw);
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

t.test('the deadline is for the whole handshake, however slowly bytes come', async t => {
  const listener = await listenTls(t, serverContext(server), { ...accept, timeoutMs: 250 });
  const silent = await listener.connect();
  t.match(await rejection(listener.next()), {
    code: 'TLS_HANDSHAKE_TIMEOUT',
    side: 'client',
    message: /250 ms/,
  });
  await closed(silent);
  const slow = await listener.connect();
  // A hello of 8 kB is announced, and comes by one byte at a time.
  slow.write(Buffer.from('1603012000', 'hex'));
  const trickle = setInterval(() => slow.write('\x01'), 20);
  t.teardown(() => clearInterval(trickle));
  t.match(await rejection(listener.next()), { code: 'TLS_HANDSHAKE_TIMEOUT' });
  await closed(slow);
  const deaf = await listen(t, () => {});
  const raw = await deaf.connect();
  const dialled = connectTls(raw, clientContext(client), { ...connect, timeoutMs: 250 });
  t.match(await rejection(dialled), { code: 'TLS_HANDSHAKE_TIMEOUT', side: 'server' });
  t.ok(raw.destroyed);
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

t.test('a flood of bad handshakes leaves nothing open', async t => {
  const listener = await listenTls(t, serverContext(server), accept);
  const handles = (): number =>
    process.getActiveResourcesInfo().filter(name => /TCPSocket|TLS|Timeout/.test(name)).length;
  const before = handles();
  const acts: ((socket: Socket) => void)[] = [
    socket => socket.write('GET / HTTP/1.1\r\n\r\n'),
    socket => socket.resetAndDestroy(),
    socket => socket.end(Buffer.from('160301', 'hex')),
  ];
  for (let round = 0; round < 30; round += 1) {
    const sockets = await Promise.all(
      acts.map(async act => {
        const socket = await listener.connect();
        act(socket);
        return socket;
      }),
    );
    for (const socket of sockets) {
      await rejection(listener.next());
      await closed(socket);
    }
  }
  t.ok(handles() <= before, `${handles()} handles, ${before} before`);
});

function serving(certificate: TestCertificate): tls.TlsOptions {
  return {
    key: certificate.privateKeyPem,
    cert: certificate.certificatePem,
    ca: root.pem,
    ALPNProtocols: ['h2'],
  };
}
