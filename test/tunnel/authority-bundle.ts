import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import t from 'tap';
import * as asn1 from '../../tunnel/asn1.ts';
import {
  fingerprintOf,
  formatBundle,
  parseBundle,
  rootsOf,
  signerOf,
} from '../../tunnel/authority-bundle.ts';
import { authority, createRoot, generateKey, signCertificate, usage } from '../../tunnel/x509.ts';
import { makeCertificate, makeOddCertificate, makeRoot, pemOf } from './pki.ts';
import type { TestRoot } from './pki.ts';

const keyOf = (root: TestRoot): string =>
  pemOf({ privateKey: root.issuer.privateKey, publicKey: root.issuer.certificate.publicKey });
const [a, b, c] = [makeRoot(), makeRoot(), makeRoot()];

function intermediate(root: TestRoot): { pem: string; key: string } {
  const key = generateKey();
  const subject = asn1.sequence(asn1.set(asn1.sequence(asn1.oid('2.5.4.3'), asn1.utf8('between'))));
  const pem = signCertificate(root.issuer, {
    subject,
    publicKey: key.publicKey,
    notBefore: Date.now() - 1_000,
    notAfter: Date.now() + 1_000_000,
    extensions: [authority(), usage('certificates')],
  });
  return { pem, key: pemOf(key) };
}

t.test('the first key signs, and all roots are trusted', async t => {
  const bundle = parseBundle(`# ours\n${a.pem}\n${keyOf(b)}${b.pem}${keyOf(a)}\n\n${c.pem}`, 'x');
  t.equal(signerOf(bundle).certificate.fingerprint256, b.issuer.certificate.fingerprint256);
  t.equal(signerOf(bundle).chainPem, '');
  t.strictSame(
    rootsOf(bundle).map(fingerprintOf).sort(),
    [a, b, c].map(root => fingerprintOf(root.issuer.certificate)).sort(),
  );
});

t.test('what is formatted parses to the same', async t => {
  const bundle = parseBundle(keyOf(a) + a.pem + b.pem + keyOf(c) + c.pem, 'x');
  const again = parseBundle(formatBundle(bundle), 'x');
  t.strictSame(
    again.map(entry => [fingerprintOf(entry.certificate), entry.privateKey !== null]),
    bundle.map(entry => [fingerprintOf(entry.certificate), entry.privateKey !== null]),
  );
});

t.test('an intermediate may sign when its root is there, and is shown with its leaves', async t => {
  const between = intermediate(a);
  const bundle = parseBundle(between.key + between.pem + a.pem, 'x');
  const signer = signerOf(bundle);
  t.equal(new X509Certificate(signer.chainPem).raw.compare(new X509Certificate(between.pem).raw), 0);
  t.equal(signer.root.fingerprint256, a.issuer.certificate.fingerprint256);
  t.equal(rootsOf(bundle).length, 1);
  t.throws(() => parseBundle(between.key + between.pem + b.pem, 'x'), /issuer of "CN=between" is not in it/);
});

t.test('keys as older tools write them', async t => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const validity = { organization: 'x', notBefore: Date.now(), notAfter: Date.now() + 1_000_000 };
  const sec1 = key.privateKey.export({ type: 'sec1', format: 'pem' });
  t.ok(parseBundle(sec1 + createRoot(key, validity), 'x'));
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  t.ok(parseBundle(rsa.privateKey.export({ type: 'pkcs1', format: 'pem' }) + createRoot(rsa, validity), 'x'));
});

t.test('refused as a whole, with the reason', async t => {
  const leaf = makeCertificate(a, 'spiffe://td/ns/a/sa/b');
  const odd = makeOddCertificate(a, { names: [] });
  const encrypted = generateKey().privateKey.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-128-cbc',
    passphrase: 'x',
  });
  const good = keyOf(a) + a.pem;
  const cases: [string, RegExp][] = [
    ['', /no certificate/],
    ['\n# nothing\n', /no certificate/],
    [a.pem, /no private key/],
    [keyOf(a), /no certificate/],
    [keyOf(b) + a.pem, /fits none/],
    [good + a.pem, /twice/],
    [good + keyOf(a), /twice/],
    [good + leaf.certificatePem, /not a certificate authority|has no name/],
    [good + odd.certificatePem, /not a certificate authority|has no name/],
    [good + encrypted, /ENCRYPTED PRIVATE KEY/],
    [good + b.pem.replace('-----BEGIN', '----BEGIN'), /neither PEM nor a comment/],
    [good + b.pem.replace('END CERTIFICATE', 'END CERTIFICAT'), /neither PEM nor a comment/],
    [`${good}\nhello\n`, new RegExp(`line ${good.split('\n').length + 1} is neither`)],
    [good.slice(0, -40), /neither PEM nor a comment/],
    [good + b.pem.replace(/\n[A-Za-z0-9+/]{64}\n/, '\n'), /./],
  ];
  for (const [text, reason] of cases) {
    t.throws(() => parseBundle(text, '/etc/ca.pem'), { code: 'AUTHORITY_INVALID', message: reason });
  }
  t.throws(() => parseBundle('', '/etc/ca.pem'), {
    message: /in \/etc\/ca\.pem cannot be used/,
    fix: /backup/,
  });
});

t.test('errors never show key material', async t => {
  const text = keyOf(a).replace('-----BEGIN PRIVATE KEY-----\n', '') + a.pem;
  try {
    parseBundle(text, 'x');
    t.fail('it was taken');
  } catch (error) {
    t.match(error, { code: 'AUTHORITY_INVALID', message: /line 1 is neither/ });
    t.notOk(String(error).includes(text.slice(0, 12)));
  }
});
