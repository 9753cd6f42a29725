import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import t from 'tap';
import { CulvertError } from '../../base/errors.ts';
import * as asn1 from '../../tunnel/asn1.ts';
import { createRequest, readForeignRequest, readRequest } from '../../tunnel/certificate-request.ts';
import {
  alternativeNames,
  generateKey,
  oids,
  signatureAlgorithm,
  toPem,
  uriName,
  usage,
} from '../../tunnel/x509.ts';

const identity = 'spiffe://cluster.local/ns/shop/sa/cart';
const extensionRequest = '1.2.840.113549.1.9.14';

const refused = (message: RegExp) => ({ code: 'CERTIFICATE_REQUEST_INVALID', message });

/** A request with any content, properly signed. */
function request(given: {
  attributes?: asn1.Asn1[];
  version?: number;
  key?: { publicKey: KeyObject; privateKey: KeyObject };
  signer?: KeyObject;
}): string {
  const key = given.key ?? generateKey();
  const info = asn1.sequence(
    asn1.integer(Buffer.from([given.version ?? 0])),
    asn1.sequence(),
    asn1.decode(key.publicKey.export({ type: 'spki', format: 'der' })),
    asn1.explicit(0, ...(given.attributes ?? [asking(uriName(identity))])),
  );
  const signer = given.signer ?? key.privateKey;
  const signature = asn1.bitString(sign('sha256', asn1.encode(info), signer));
  return toPem(
    'CERTIFICATE REQUEST',
    asn1.encode(asn1.sequence(info, signatureAlgorithm(signer), signature)),
  );
}

function asking(...extensions: asn1.Asn1[]): asn1.Asn1 {
  return asn1.sequence(asn1.oid(extensionRequest), asn1.set(asn1.sequence(...extensions)));
}

t.test('a request comes back with its identity and key', async t => {
  const key = generateKey();
  const read = readRequest(createRequest(identity, key));
  t.equal(read.identity, identity);
  t.ok(read.publicKey.equals(key.publicKey));
});

t.test('OpenSSL reads it and agrees with the signature', async t => {
  const folder = t.testdir({ 'request.pem': createRequest(identity, generateKey()) });
  const args = ['req', '-in', join(folder, 'request.pem'), '-verify', '-noout', '-text'];
  const text = execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  t.match(text, /Subject: \n/);
  t.match(text, /Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/cart/);
});

t.test('reads a request that OpenSSL made, with more extensions and a subject', async t => {
  const folder = t.testdir();
  const out = join(folder, 'request.pem');
  const extensions = ['-addext', `subjectAltName=URI:${identity}`, '-addext', 'keyUsage=digitalSignature'];
  const args = [
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/O=x',
  ];
  execFileSync('openssl', [...args, ...extensions, '-keyout', join(folder, 'key.pem'), '-out', out], {
    stdio: 'ignore',
  });
  t.equal(readRequest(readFileSync(out, 'utf8')).identity, identity);
});

t.test('refuses what is not proven or not asked for plainly', async t => {
  t.equal(readRequest(request({})).identity, identity, 'the request that the others differ from is good');
  const mallory = generateKey();
  t.throws(() => readRequest(request({ signer: mallory.privateKey })), refused(/not by its own key/));
  t.throws(
    () => readRequest(request({ key: generateKeyPairSync('ec', { namedCurve: 'P-384' }) })),
    refused(/P-256/),
  );
  t.throws(
    () => readRequest(request({ key: generateKeyPairSync('rsa', { modulusLength: 2048 }) })),
    refused(/P-256/),
  );
  t.throws(() => readRequest(request({ version: 1 })), refused(/version/));
  t.throws(() => readRequest(request({ attributes: [] })), refused(/no SPIFFE ID is requested/));
  t.throws(
    () => readRequest(request({ attributes: [asking(uriName(identity)), asking(uriName(identity))] })),
    refused(/2 extension requests/),
  );
  t.throws(
    () => readRequest(request({ attributes: [asking(usage('signatures'))] })),
    refused(/no SPIFFE ID is requested/),
  );
  t.throws(
    () => readRequest(request({ attributes: [asking(uriName(identity), uriName(`${identity}2`))] })),
    refused(/2 SAN/),
  );
  t.throws(
    () => readRequest(request({ attributes: [asking(uriName(identity, identity))] })),
    refused(/exactly one URI/),
  );
  const withDns = alternativeNames(
    { kind: 6, bytes: Buffer.from(identity) },
    { kind: 2, bytes: Buffer.from('example.com') },
  );
  t.throws(() => readRequest(request({ attributes: [asking(withDns)] })), refused(/exactly one URI/));
  for (const uri of ['https://example.com', `${identity}\0`, `${identity}/x`, '']) {
    t.throws(() => readRequest(request({ attributes: [asking(uriName(uri))] })), refused(/not a SPIFFE ID/));
  }
});

t.test('refuses a request whose identity was changed after it was signed', async t => {
  const der = Buffer.from(request({}).replace(/-----.*-----|\n/g, ''), 'base64');
  const at = der.indexOf('sa/cart') + 3;
  der.write('cash', at, 'latin1');
  t.throws(() => readRequest(toPem('CERTIFICATE REQUEST', der)), refused(/not by its own key/));
});

t.test('refuses a signature by another algorithm', async t => {
  const key = generateKey();
  const [info, , signature] = asn1.childrenOf(
    asn1.decode(Buffer.from(createRequest(identity, key).replace(/-----.*-----|\n/g, ''), 'base64')),
    asn1.tag.sequence,
  );
  if (info === undefined || signature === undefined) throw new Error('no request');
  const other = asn1.sequence(info, asn1.sequence(asn1.oid(oids.rsaWithSha256)), signature);
  t.throws(
    () => readRequest(toPem('CERTIFICATE REQUEST', asn1.encode(other))),
    refused(/the algorithm .* not accepted/),
  );
});

t.test('refuses bytes that are no request, without anything but its own error', async t => {
  const good = Buffer.from(request({}).replace(/-----.*-----|\n/g, ''), 'base64');
  const broken = fc
    .tuple(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length))
    .map(([at, byte, length]) => {
      const bytes = Buffer.from(good);
      bytes[at] = byte;
      return bytes.subarray(0, length);
    })
    .filter(bytes => !bytes.equals(good));
  const text = fc.oneof(
    fc.string(),
    broken.map(bytes => toPem('CERTIFICATE REQUEST', bytes)),
    fc.uint8Array({ maxLength: 300 }).map(bytes => toPem('CERTIFICATE REQUEST', Buffer.from(bytes))),
  );
  fc.assert(
    fc.property(text, pem => {
      try {
        readRequest(pem);
        return false;
      } catch (error) {
        return error instanceof CulvertError && error.code === 'CERTIFICATE_REQUEST_INVALID';
      }
    }),
    { numRuns: 500 },
  );
  t.throws(
    () => readRequest('-----BEGIN CERTIFICATE REQUEST-----\n' + 'A'.repeat(20_000)),
    refused(/longer/),
  );
  const nested = Buffer.concat(Array.from({ length: 3_000 }, () => Buffer.from([0x30, 0x80])));
  t.throws(() => readRequest(toPem('CERTIFICATE REQUEST', nested)), { code: 'CERTIFICATE_REQUEST_INVALID' });
  t.pass('all refused');
});

t.test('from other clients: other keys, and no name where the service knows who asks', async t => {
  const keys = [
    generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
    generateKey(),
  ];
  for (const key of keys) {
    const read = readForeignRequest(request({ key }));
    t.equal(read.identity, identity);
    t.ok(read.publicKey.equals(key.publicKey));
  }
  t.equal(readForeignRequest(request({ attributes: [] })).identity, null);
  t.equal(readForeignRequest(request({ attributes: [asking(usage('signatures'))] })).identity, null);
  t.throws(
    () => readForeignRequest(request({ attributes: [asking(uriName(identity, identity))] })),
    refused(/exactly one URI/),
  );
  const weak: [{ publicKey: KeyObject; privateKey: KeyObject }, RegExp][] = [
    [generateKeyPairSync('rsa', { modulusLength: 1024 }), /RSA of 1024 bits/],
    [generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }), /of type rsa/],
    [generateKeyPairSync('ec', { namedCurve: 'secp256k1' }), /secp256k1/],
  ];
  for (const [key, message] of weak) t.throws(() => readForeignRequest(request({ key })), refused(message));
  const mallory = generateKeyPairSync('rsa', { modulusLength: 2048 });
  t.throws(
    () => readForeignRequest(request({ signer: mallory.privateKey })),
    refused(/not accepted for this key/),
  );
});
