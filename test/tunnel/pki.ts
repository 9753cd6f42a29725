/**
 * Roots and certificates for tests, good ones and every kind of wrong one.
 */
import { X509Certificate } from 'node:crypto';
import * as asn1 from '../../tunnel/asn1.ts';
import type { IssuedCertificate } from '../../tunnel/certificates.ts';
import {
  alternativeNames,
  createLeaf,
  createRoot,
  extendedUsage,
  generateKey,
  notAuthority,
  oids,
  readIssuer,
  signCertificate,
  usage,
} from '../../tunnel/x509.ts';
import type { Issuer, KeyPair } from '../../tunnel/x509.ts';

export interface TestRoot {
  readonly pem: string;
  readonly issuer: Issuer;
}

export interface TestCertificate {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** Kinds as in RFC 5280: 1 e-mail, 2 DNS, 6 URI, 7 IP. Bytes as latin1 text. */
export type Name = readonly [kind: number, text: string];

const hourMs = 3_600_000;

export function makeRoot(validity: { notBefore?: number; notAfter?: number } = {}): TestRoot {
  const key = generateKey();
  const pem = createRoot(key, {
    organization: 'test',
    notBefore: validity.notBefore ?? Date.now() - hourMs,
    notAfter: validity.notAfter ?? Date.now() + 24 * hourMs,
  });
  return { pem, issuer: readIssuer(new X509Certificate(pem), key.privateKey) };
}

/** A certificate as the authority makes them. */
export function makeCertificate(
  root: TestRoot,
  identity: string,
  validity: { notBefore?: number; notAfter?: number } = {},
): IssuedCertificate {
  const key = generateKey();
  const notBefore = validity.notBefore ?? Date.now() - hourMs;
  const notAfter = validity.notAfter ?? Date.now() + hourMs;
  const certificatePem = createLeaf(root.issuer, { identity, publicKey: key.publicKey, notBefore, notAfter });
  return {
    identity,
    certificatePem,
    privateKeyPem: pemOf(key),
    rootsPem: root.pem,
    notBefore,
    notAfter,
    serial: new X509Certificate(certificatePem).serialNumber,
  };
}

/** A certificate with any names and purposes. */
export function makeOddCertificate(
  root: TestRoot,
  odd: { names: readonly Name[]; purposes?: readonly string[] },
): TestCertificate {
  const key = generateKey();
  const names = odd.names.map(([kind, text]) => ({ kind, bytes: Buffer.from(text, 'latin1') }));
  const purposes = odd.purposes ?? [oids.serverAuth, oids.clientAuth];
  const certificatePem = signCertificate(root.issuer, {
    subject: asn1.sequence(),
    publicKey: key.publicKey,
    notBefore: Date.now() - hourMs,
    notAfter: Date.now() + hourMs,
    extensions: [
      usage('signatures'),
      extendedUsage(...purposes),
      notAuthority(),
      ...(names.length === 0 ? [] : [alternativeNames(...names)]),
    ],
  });
  return { certificatePem, privateKeyPem: pemOf(key) };
}

export function pemOf(key: KeyPair): string {
  return key.privateKey.export({ type: 'pkcs8', format: 'pem' });
}
