/**
 * Makes the certificates of the mesh: roots, and leaves that carry one SPIFFE ID (RFC 5280, SPIFFE X.509-SVID).
 *
 * node-forge has no elliptic curves, so the structures are its ASN.1 and keys and signatures are node:crypto's.
 * Times are milliseconds since the epoch; certificates know seconds only.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject, X509Certificate } from 'node:crypto';
import * as asn1 from './asn1.ts';
import type { Asn1 } from './asn1.ts';

const { tag } = asn1;

export const oids = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  rsaWithSha256: '1.2.840.113549.1.1.11',
} as const;

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** Who signs: a root or intermediate with its private key, read once. */
export interface Issuer {
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
  /** Its subject as it is encoded, since the issuer of a leaf must equal it byte for byte. */
  readonly name: Asn1;
  readonly keyIdentifier: Buffer;
}

/** Everything that a signature covers; `extensions` come from the builders below. */
export interface CertificateContent {
  readonly subject: Asn1;
  readonly publicKey: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: readonly Asn1[];
}

/** Times in ms since the epoch. */
export interface LeafContent {
  readonly publicKey: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A new P-256 key. */
export function generateKey(): KeyPair {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** Reads what is needed for signing out of a certificate and its key. */
export function readIssuer(certificate: X509Certificate, privateKey: KeyObject): Issuer {
  const fields = asn1.childrenOf(
    asn1.childrenOf(asn1.decode(certificate.raw), tag.sequence)[0],
    tag.sequence,
  );
  // version [0], serial, signature, issuer, validity, subject; version 1 has no version field and no place in a mesh.
  const name = fields[5];
  if (!asn1.isContext(fields[0], 0) || name === undefined)
    throw new Error('not an X.509 version 3 certificate');
  return {
    certificate,
    privateKey,
    name,
    keyIdentifier: subjectKeyIdentifier(fields) ?? keyIdentifierOf(certificate.publicKey),
  };
}

/** A self-signed root; PEM. */
export function createRoot(
  key: KeyPair,
  content: { organization: string; notBefore: number; notAfter: number },
): string {
  const keyIdentifier = keyIdentifierOf(key.publicKey);
  // Roots of one mesh need names of their own: during a rotation a verifier looks them up by name first.
  const commonName = `culvert root ${keyIdentifier.toString('hex', 0, 6)}`;
  const subject = asn1.sequence(
    nameEntry(oids.organization, content.organization),
    nameEntry(oids.commonName, commonName),
  );
  return signCertificate(
    { name: subject, privateKey: key.privateKey },
    {
      subject,
      publicKey: key.publicKey,
      notBefore: content.notBefore,
      notAfter: content.notAfter,
      extensions: [
        authority(),
        usage('certificates'),
        keyIdentifierExtension(keyIdentifier),
        issuerExtension(keyIdentifier),
      ],
    },
  );
}

/** A workload's certificate, good for both ends of a tunnel; PEM. */
export function createLeaf(issuer: Issuer, content: LeafContent & { readonly identity: string }): string {
  return signLeaf(issuer, content, uriName(content.identity), [oids.serverAuth, oids.clientAuth]);
}

/** The certificate of a server that is found by its DNS names; PEM. */
export function createServerLeaf(
  issuer: Issuer,
  content: LeafContent & { readonly dnsNames: readonly string[] },
): string {
  const names = content.dnsNames.map(name => ({ kind: 2, bytes: Buffer.from(name, 'latin1') }));
  return signLeaf(issuer, content, alternativeNames(...names), [oids.serverAuth]);
}

function signLeaf(issuer: Issuer, content: LeafContent, names: Asn1, purposes: readonly string[]): string {
  return signCertificate(issuer, {
    subject: asn1.sequence(),
    publicKey: content.publicKey,
    notBefore: content.notBefore,
    notAfter: content.notAfter,
    extensions: [
      usage('signatures'),
      extendedUsage(...purposes),
      notAuthority(),
      keyIdentifierExtension(keyIdentifierOf(content.publicKey)),
      issuerExtension(issuer.keyIdentifier),
      names,
    ],
  });
}

/** Signs any content: `createRoot` and `createLeaf` for the ways certificates should be, tests for the others. PEM. */
export function signCertificate(
  issuer: Pick<Issuer, 'name' | 'privateKey'>,
  content: CertificateContent,
): string {
  const algorithm = signatureAlgorithm(issuer.privateKey);
  const body = asn1.sequence(
    asn1.explicit(0, asn1.integer(Buffer.from([2]))),
    asn1.integer(randomSerial()),
    algorithm,
    issuer.name,
    asn1.sequence(asn1.time(new Date(content.notBefore)), asn1.time(new Date(content.notAfter))),
    content.subject,
    asn1.decode(content.publicKey.export({ type: 'spki', format: 'der' })),
    asn1.explicit(3, asn1.sequence(...content.extensions)),
  );
  const signature = sign('sha256', asn1.encode(body), issuer.privateKey);
  return toPem('CERTIFICATE', asn1.encode(asn1.sequence(body, algorithm, asn1.bitString(signature))));
}

export function signatureAlgorithm(privateKey: KeyObject): Asn1 {
  if (privateKey.asymmetricKeyType === 'ec') return asn1.sequence(asn1.oid(oids.ecdsaWithSha256));
  if (privateKey.asymmetricKeyType === 'rsa') {
    return asn1.sequence(asn1.oid(oids.rsaWithSha256), asn1.decode(Buffer.from([0x05, 0x00])));
  }
  throw new Error(`keys of type ${privateKey.asymmetricKeyType ?? 'unknown'} don't sign certificates here`);
}

/** RFC 5280 §4.1.2.2: positive, at most 20 bytes; the fixed bits keep it so, and 16 bytes long. */
function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

/** RFC 7093 §2 method 1: 160 bits of the SHA-256 of the public key. */
function keyIdentifierOf(publicKey: KeyObject): Buffer {
  const info = asn1.childrenOf(asn1.decode(publicKey.export({ type: 'spki', format: 'der' })), tag.sequence);
  return createHash('sha256')
    .update(asn1.bytesOf(info[1], tag.bitString).subarray(1))
    .digest()
    .subarray(0, 20);
}

function subjectKeyIdentifier(fields: readonly Asn1[]): Buffer | null {
  const wrapper = fields.find(field => asn1.isContext(field, 3));
  if (wrapper === undefined || typeof wrapper.value === 'string') return null;
  for (const item of asn1.childrenOf(wrapper.value[0], tag.sequence)) {
    const parts = asn1.childrenOf(item, tag.sequence);
    if (asn1.oidOf(parts[0]) !== oids.subjectKeyIdentifier) continue;
    return asn1.bytesOf(asn1.decode(asn1.bytesOf(parts.at(-1), tag.octetString)), tag.octetString);
  }
  return null;
}

function nameEntry(type: string, text: string): Asn1 {
  return asn1.set(asn1.sequence(asn1.oid(type), asn1.utf8(text)));
}

function extension(type: string, critical: boolean, content: Asn1): Asn1 {
  const value = asn1.octetString(asn1.encode(content));
  return critical
    ? asn1.sequence(asn1.oid(type), asn1.boolean(true), value)
    : asn1.sequence(asn1.oid(type), value);
}

export function authority(): Asn1 {
  return extension(oids.basicConstraints, true, asn1.sequence(asn1.boolean(true)));
}

export function notAuthority(): Asn1 {
  return extension(oids.basicConstraints, true, asn1.sequence());
}

/** digitalSignature for leaves; keyCertSign and cRLSign for those who sign them. */
export function usage(what: 'signatures' | 'certificates'): Asn1 {
  const bits =
    what === 'signatures' ? asn1.bitString(Buffer.from([0x80]), 7) : asn1.bitString(Buffer.from([0x06]), 1);
  return extension(oids.keyUsage, true, bits);
}

export function extendedUsage(...purposes: string[]): Asn1 {
  return extension(
    oids.extendedKeyUsage,
    false,
    asn1.sequence(...purposes.map(purpose => asn1.oid(purpose))),
  );
}

/** Critical, as RFC 5280 §4.1.2.6 wants it where the subject is empty. */
export function uriName(...uris: string[]): Asn1 {
  return alternativeNames(...uris.map(uri => ({ kind: 6, bytes: Buffer.from(uri, 'latin1') })));
}

/** Kinds as in RFC 5280 §4.2.1.6: 1 e-mail, 2 DNS, 6 URI, 7 IP. */
export function alternativeNames(...names: { kind: number; bytes: Buffer }[]): Asn1 {
  const general = names.map(name => asn1.implicit(name.kind, name.bytes));
  return extension(oids.subjectAltName, true, asn1.sequence(...general));
}

function keyIdentifierExtension(keyIdentifier: Buffer): Asn1 {
  return extension(oids.subjectKeyIdentifier, false, asn1.octetString(keyIdentifier));
}

function issuerExtension(keyIdentifier: Buffer): Asn1 {
  return extension(oids.authorityKeyIdentifier, false, asn1.sequence(asn1.implicit(0, keyIdentifier)));
}

export function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
