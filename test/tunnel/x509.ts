import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import * as asn1 from '../../tunnel/asn1.ts';
import { createLeaf, createRoot, generateKey, readIssuer, signCertificate } from '../../tunnel/x509.ts';
import { makeCertificate, makeRoot } from './pki.ts';

const identity = 'spiffe://cluster.local/ns/shop/sa/cart';

function verifyWithOpenssl(t: Test, root: string, leaf: string, purpose: string): string {
  const folder = t.testdir({ 'root.pem': root, 'leaf.pem': leaf });
  const files = ['-CAfile', join(folder, 'root.pem'), join(folder, 'leaf.pem')];
  return execFileSync('openssl', ['verify', '-x509_strict', '-purpose', purpose, ...files], {
    encoding: 'utf8',
  });
}

t.test('OpenSSL accepts a leaf for both ends, by its strict rules', async t => {
  const root = makeRoot();
  const { certificatePem } = makeCertificate(root, identity);
  for (const purpose of ['sslserver', 'sslclient']) {
    t.match(verifyWithOpenssl(t, root.pem, certificatePem, purpose), /: OK/);
  }
});

t.test('a leaf says who and what for, and nothing else', async t => {
  const root = makeRoot();
  const key = generateKey();
  const notBefore = Date.UTC(2030, 0, 1);
  const notAfter = Date.UTC(2030, 0, 2);
  const leaf = new X509Certificate(
    createLeaf(root.issuer, { identity, publicKey: key.publicKey, notBefore, notAfter }),
  );
  t.notOk(leaf.subject);
  t.equal(leaf.subjectAltName, `URI:${identity}`);
  t.equal(leaf.issuer, root.issuer.certificate.subject);
  t.equal(leaf.ca, false);
  t.strictSame(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  t.equal(leaf.validFromDate.getTime(), notBefore);
  t.equal(leaf.validToDate.getTime(), notAfter);
  t.ok(leaf.checkIssued(root.issuer.certificate));
  t.ok(leaf.verify(root.issuer.certificate.publicKey));
  t.ok(leaf.checkPrivateKey(key.privateKey));
});

t.test('serials are positive, 128 bits, and of one certificate only', async t => {
  const root = makeRoot();
  const serials = Array.from({ length: 50 }, () => makeCertificate(root, identity).serial);
  t.equal(new Set(serials).size, serials.length);
  for (const serial of serials) t.match(serial, /^[4-7][0-9A-F]{31}$/);
});

t.test('a root is an authority for certificates and signs nothing else', async t => {
  const folder = t.testdir({ 'root.pem': makeRoot().pem });
  const args = ['x509', '-in', join(folder, 'root.pem'), '-noout', '-ext', 'basicConstraints,keyUsage'];
  const text = execFileSync('openssl', args, { encoding: 'utf8' });
  t.match(text, /Basic Constraints: critical\s+CA:TRUE/);
  t.match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign\s*$/);
});

t.test('dates after 2049 have four-digit years', async t => {
  const key = generateKey();
  const notAfter = Date.UTC(2061, 4, 6, 7, 8, 9);
  const pem = createRoot(key, { organization: 'test', notBefore: Date.UTC(2049, 11, 31), notAfter });
  t.equal(new X509Certificate(pem).validToDate.getTime(), notAfter);
  t.equal(new X509Certificate(pem).validFromDate.getTime(), Date.UTC(2049, 11, 31));
});

t.test('roots differ in name, so that a verifier finds the right one during a rotation', async t => {
  t.not(makeRoot().issuer.certificate.subject, makeRoot().issuer.certificate.subject);
});

t.test('signs with an RSA authority and one on P-384 that was plugged in', async t => {
  const keys = [
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
    generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ];
  for (const key of keys) {
    const pem = createRoot(key, {
      organization: 'old',
      notBefore: Date.now() - 60_000,
      notAfter: Date.now() + 600_000,
    });
    const root = { pem, issuer: readIssuer(new X509Certificate(pem), key.privateKey) };
    const { certificatePem } = makeCertificate(root, identity);
    t.match(verifyWithOpenssl(t, pem, certificatePem, 'sslserver'), /: OK/);
  }
});

t.test('an issuer made by OpenSSL keeps its name and key identifier byte for byte', async t => {
  const folder = t.testdir();
  const [key, crt] = [join(folder, 'key.pem'), join(folder, 'crt.pem')];
  const subject = '/C=DE/O=Überall GmbH/CN=root, of "all"';
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-utf8',
    '-days',
    '3',
  ].concat(['-addext', 'keyUsage=critical,keyCertSign']);
  execFileSync('openssl', [...args, '-keyout', key, '-out', crt, '-subj', subject], { stdio: 'ignore' });
  const pem = readFileSync(crt, 'utf8');
  const issuer = readIssuer(new X509Certificate(pem), createPrivateKey(readFileSync(key)));
  const { certificatePem } = makeCertificate({ pem, issuer }, identity);
  t.match(verifyWithOpenssl(t, pem, certificatePem, 'sslclient'), /: OK/);
});

t.test('other kinds of key do not sign', async t => {
  const key = generateKeyPairSync('ed25519');
  const content = {
    subject: asn1.sequence(),
    publicKey: key.publicKey,
    notBefore: 0,
    notAfter: 1_000,
    extensions: [],
  };
  t.throws(() => signCertificate({ name: asn1.sequence(), privateKey: key.privateKey }, content), /ed25519/);
});

t.test('decoding takes exactly one encoding of exactly one value', async t => {
  t.ok(asn1.decode(Buffer.from('3003020105', 'hex')));
  for (const hex of ['', '30', '300302010500', '308103020105', '30800201050000', '30040201', '02020005']) {
    t.throws(() => asn1.decode(Buffer.from(hex, 'hex')), hex);
  }
});
