import t from 'tap';
import { verifyPeer } from '../../tunnel/peer.ts';
import type { PeerExpectation, PeerFacts } from '../../tunnel/peer.ts';
import { handshakeError } from '../../tunnel/tls-errors.ts';

const cart = 'spiffe://cluster.local/ns/shop/sa/cart';
const good: PeerFacts = {
  authorized: true,
  authorizationError: null,
  alpnProtocol: 'h2',
  subjectAltName: `URI:${cart}`,
};
const server: PeerExpectation = { role: 'server', trustDomain: 'cluster.local' };
const client: PeerExpectation = { role: 'client', expectedIdentities: [cart] };

t.test('the peer is who its certificate names', async t => {
  t.equal(verifyPeer(good, server), cart);
  t.equal(verifyPeer(good, client), cart);
});

t.test('no single good sign makes up for a bad one', async t => {
  const cases: [Partial<PeerFacts>, string][] = [
    [{ authorized: false }, 'TLS_PEER_UNTRUSTED'],
    [{ authorized: false, authorizationError: 'CERT_HAS_EXPIRED' }, 'TLS_PEER_EXPIRED'],
    [{ authorized: false, authorizationError: 'CERT_NOT_YET_VALID' }, 'TLS_PEER_NOT_YET_VALID'],
    [{ authorized: false, authorizationError: 'UNABLE_TO_GET_ISSUER_CERT' }, 'TLS_PEER_NO_CERTIFICATE'],
    [{ subjectAltName: null }, 'TLS_PEER_NO_CERTIFICATE'],
    [{ subjectAltName: '' }, 'TLS_PEER_NO_IDENTITY'],
    [{ subjectAltName: `DNS:x, URI:${cart}, URI:${cart}` }, 'TLS_PEER_NO_IDENTITY'],
    [{ alpnProtocol: false }, 'TLS_ALPN_MISMATCH'],
    [{ alpnProtocol: null }, 'TLS_ALPN_MISMATCH'],
    [{ alpnProtocol: 'http/1.1' }, 'TLS_ALPN_MISMATCH'],
  ];
  for (const [bad, code] of cases) {
    t.match(verifyPeer({ ...good, ...bad }, server), { code, side: 'client' });
    t.match(verifyPeer({ ...good, ...bad }, client), { code, side: 'server' });
  }
});

t.test('a server compares trust domains whole, a client identities whole', async t => {
  for (const trustDomain of ['cluster', 'cluster.local.', 'xcluster.local', 'CLUSTER.LOCAL', '']) {
    t.match(verifyPeer(good, { role: 'server', trustDomain }), {
      code: 'TLS_PEER_WRONG_TRUST_DOMAIN',
      fix: /MeshConfig/,
    });
  }
  for (const expected of [
    `${cart}2`,
    cart.slice(0, -1),
    cart.toUpperCase(),
    'spiffe://cluster.local/*',
    '*',
    '',
  ]) {
    t.match(verifyPeer(good, { role: 'client', expectedIdentities: [expected] }), {
      code: 'TLS_PEER_WRONG_IDENTITY',
    });
  }
});

t.test('what Node says of a handshake becomes one error with a side', async t => {
  const nodeError = (code: string) => Object.assign(new Error('0A00042E:SSL routines:x.c:1'), { code });
  const cases: [Error | null, unknown, string, RegExp][] = [
    [null, null, 'TLS_HANDSHAKE_ABORTED', /^the client left during the TLS handshake$/],
    [nodeError('ECONNRESET'), null, 'TLS_HANDSHAKE_ABORTED', /^the client left during the TLS handshake$/],
    [nodeError('ETIMEDOUT'), null, 'TLS_HANDSHAKE_ABORTED', /ETIMEDOUT$/],
    [nodeError('ERR_STREAM_PREMATURE_CLOSE'), null, 'TLS_HANDSHAKE_ABORTED', /PREMATURE_CLOSE$/],
    [nodeError('ECONNRESET'), 'CERT_HAS_EXPIRED', 'TLS_PEER_EXPIRED', /expired/],
    [nodeError('CERT_HAS_EXPIRED'), null, 'TLS_PEER_EXPIRED', /expired/],
    [nodeError('SELF_SIGNED_CERT_IN_CHAIN'), null, 'TLS_PEER_UNTRUSTED', /self signed cert in chain/],
    [nodeError('ERR_SSL_HTTP_REQUEST'), null, 'TLS_NOT_TLS', /not TLS/],
    [nodeError('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), null, 'TLS_ALERT', /certificate required/],
    [nodeError('ERR_SSL_SOMETHING_NEW'), null, 'TLS_PROTOCOL', /something new/],
  ];
  for (const [error, verdict, code, message] of cases) {
    t.match(handshakeError(error, 'client', verdict), { code, message, side: 'client' });
  }
});
