import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { bundleOfCacerts } from '../../control/cacerts.ts';
import { parseBundle, rootsOf, signerOf } from '../../tunnel/authority-bundle.ts';
import * as asn1 from '../../tunnel/asn1.ts';
import {
  authority,
  createLeaf,
  generateKey,
  oids,
  readIssuer,
  signCertificate,
  usage,
} from '../../tunnel/x509.ts';
import type { Issuer } from '../../tunnel/x509.ts';
import { makeRoot, pemOf } from '../tunnel/pki.ts';

const hourMs = 3_600_000;

function intermediate(by: Issuer, name: string): { pem: string; keyPem: string; issuer: Issuer } {
  const key = generateKey();
  const pem = signCertificate(by, {
    subject: asn1.sequence(asn1.set(asn1.sequence(asn1.oid(oids.commonName), asn1.utf8(name)))),
    publicKey: key.publicKey,
    notBefore: Date.now() - hourMs,
    notAfter: Date.now() + hourMs,
    extensions: [authority(), usage('certificates')],
  });
  return { pem, keyPem: pemOf(key), issuer: readIssuer(new X509Certificate(pem), key.privateKey) };
}

const root = makeRoot();
const upper = intermediate(root.issuer, 'upper');
const lower = intermediate(upper.issuer, 'lower');
const cacerts = {
  'ca-cert.pem': lower.pem,
  'ca-key.pem': lower.keyPem,
  'root-cert.pem': root.pem,
  'cert-chain.pem': lower.pem + upper.pem + root.pem,
};

t.test('an intermediate signs, with the chain to its root', async t => {
  const other = makeRoot();
  const text = bundleOfCacerts({ ...cacerts, 'root-cert.pem': root.pem + other.pem }, 'Secret cacerts');
  const bundle = parseBundle(text, 'test');
  const signer = signerOf(bundle);
  t.equal(signer.certificate.subject, 'CN=lower');
  t.equal(signer.chainPem.match(/BEGIN/g)?.length, 2, 'itself and the one above, without the root');
  t.equal(signer.root.fingerprint256, new X509Certificate(root.pem).fingerprint256);
  t.equal(rootsOf(bundle).length, 2);
  const identity = 'spiffe://cluster.local/ns/shop/sa/cart';
  const { publicKey } = generateKey();
  const validity = { notBefore: Date.now() - hourMs, notAfter: Date.now() + hourMs };
  const issuer = readIssuer(signer.certificate, signer.privateKey);
  const leaf = new X509Certificate(createLeaf(issuer, { identity, publicKey, ...validity }));
  t.ok(leaf.verify(signer.certificate.publicKey));
});

t.test('without a chain the signer is issued by a root', async t => {
  const { 'cert-chain.pem': _, ...rest } = {
    ...cacerts,
    'ca-cert.pem': upper.pem,
    'ca-key.pem': upper.keyPem,
  };
  t.equal(signerOf(parseBundle(bundleOfCacerts(rest, 'Secret'), 'test')).certificate.subject, 'CN=upper');
});

t.test('a root may sign by itself', async t => {
  const key = root.issuer.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const self = { 'ca-cert.pem': root.pem, 'ca-key.pem': key, 'root-cert.pem': root.pem };
  t.equal(signerOf(parseBundle(bundleOfCacerts(self, 'Secret'), 'test')).chainPem, '');
});

t.test('what is missing or does not fit is said', async t => {
  const refused: [change: Record<string, string>, message: RegExp][] = [
    [{ 'ca-key.pem': '' }, /Secret cacerts cannot be used: it has no ca-key\.pem/],
    [{ 'ca-key.pem': upper.keyPem }, /is not the key of/],
    [{ 'ca-cert.pem': 'x' }, /ca-cert\.pem has no certificate/],
    [{ 'root-cert.pem': 'x' }, /root-cert\.pem has no certificate/],
    [{ 'cert-chain.pem': '' }, /issuer of .* is not in it/],
    [{ 'root-cert.pem': makeRoot().pem, 'cert-chain.pem': upper.pem }, /issuer of .* is not in it/],
    [{ 'ca-key.pem': 'x' }, /cannot be used/],
  ];
  for (const [change, message] of refused) {
    t.throws(() => bundleOfCacerts({ ...cacerts, ...change }, 'Secret cacerts'), {
      code: 'AUTHORITY_INVALID',
      message,
    });
  }
});
