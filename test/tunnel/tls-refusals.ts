/** Whom a handshake refuses, on either side: hostile bytes, strangers, impostors, and those who take their time. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import tls from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import t from 'tap';
import { clientContext, connectTls, serverContext } from '../../tunnel/tls.ts';
import { oids, readIssuer } from '../../tunnel/x509.ts';
import { makeCertificate, makeOddCertificate } from './pki.ts';
import { listen, listenTls } from './tls-pair.ts';
import {
  cart,
  prices,
  foreign,
  hourMs,
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
