/**
 * Certificate signing requests (PKCS #10, RFC 2986) as the certificate service protocol carries them: empty subject,
 * P-256 key, one critical SAN with the SPIFFE ID.
 *
 * A request comes from another process or machine, so `readRequest` believes nothing that it hasn't checked. It proves
 * that the sender holds the key; whether the sender may have the identity is for the authority to decide.
 */
import { createPublicKey, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { CulvertError } from '../base/errors.ts';
import { parseSpiffeId } from '../model/identity.ts';
import * as asn1 from './asn1.ts';
import { oids, signatureAlgorithm, toPem, uriName } from './x509.ts';
import type { KeyPair } from './x509.ts';

const { tag } = asn1;
const extensionRequest = '1.2.840.113549.1.9.14';
const uri = 6;
const maxBytes = 16_384;

/** What a valid request asks for. */
export interface CertificateRequest {
  /** SPIFFE ID. */
  readonly identity: string;
  readonly publicKey: KeyObject;
}

/** PEM. */
export function createRequest(identity: string, key: KeyPair): string {
  const algorithm = signatureAlgorithm(key.privateKey);
  const info = asn1.sequence(
    asn1.integer(Buffer.from([0])),
    asn1.sequence(),
    asn1.decode(key.publicKey.export({ type: 'spki', format: 'der' })),
    asn1.explicit(0, asn1.sequence(asn1.oid(extensionRequest), asn1.set(asn1.sequence(uriName(identity))))),
  );
  const signature = sign('sha256', asn1.encode(info), key.privateKey);
  return toPem('CERTIFICATE REQUEST', asn1.encode(asn1.sequence(info, algorithm, asn1.bitString(signature))));
}

/** Throws CulvertError CERTIFICATE_REQUEST_INVALID, whose message says what is wrong with it. */
export function readRequest(pem: string): CertificateRequest {
  try {
    return read(pem);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new CulvertError('CERTIFICATE_REQUEST_INVALID', `certificate request refused: ${why}`, {
      side: 'client',
      fix: 'send a PKCS #10 request in PEM with a P-256 key, signed with SHA-256, and one SPIFFE ID as its only SAN',
      cause: thrown,
    });
  }
}

function read(pem: string): CertificateRequest {
  if (pem.length > maxBytes) throw new Error(`longer than ${maxBytes} bytes`);
  const [, , base64] =
    /^\s*-----BEGIN ((?:NEW )?CERTIFICATE REQUEST)-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END \1-----\s*$/.exec(
      pem,
    ) ?? [];
  if (base64 === undefined) throw new Error('not one PEM block of type CERTIFICATE REQUEST');
  const [info, algorithm, signature] = asn1.childrenOf(
    asn1.decode(Buffer.from(base64, 'base64')),
    tag.sequence,
  );
  const [version, , keyInfo, attributes] = asn1.childrenOf(info, tag.sequence);
  if (!asn1.bytesOf(version, tag.integer).equals(Buffer.from([0]))) throw new Error('unknown version');
  if (info === undefined || keyInfo === undefined) throw new Error('incomplete');
  const publicKey = createPublicKey({ key: asn1.encode(keyInfo), format: 'der', type: 'spki' });
  if (publicKey.asymmetricKeyType !== 'ec' || publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new Error('the key is not on curve P-256');
  }
  if (asn1.oidOf(asn1.childrenOf(algorithm, tag.sequence)[0]) !== oids.ecdsaWithSha256) {
    throw new Error('not signed with ECDSA and SHA-256');
  }
  // The first byte counts unused bits; a signature is whole bytes.
  const signed = asn1.bytesOf(signature, tag.bitString);
  if (signed[0] !== 0 || !verify('sha256', asn1.encode(info), publicKey, signed.subarray(1))) {
    throw new Error('the signature is not by its own key');
  }
  return { identity: requestedIdentity(attributes), publicKey };
}

/** The one URI of the one SAN extension of the one extension request. */
function requestedIdentity(attributes: asn1.Asn1 | undefined): string {
  if (!asn1.isContext(attributes, 0) || attributes === undefined || typeof attributes.value === 'string') {
    throw new Error('no extensions are requested');
  }
  const requests = attributes.value
    .map(attribute => asn1.childrenOf(attribute, tag.sequence))
    .filter(parts => asn1.oidOf(parts[0]) === extensionRequest);
  if (requests.length !== 1) throw new Error(`${requests.length} extension requests instead of 1`);
  const values = asn1.childrenOf(requests[0]?.[1], tag.set);
  if (values.length !== 1) throw new Error(`${values.length} values of the extension request instead of 1`);
  const names = asn1
    .childrenOf(values[0], tag.sequence)
    .map(extension => asn1.childrenOf(extension, tag.sequence))
    .filter(parts => asn1.oidOf(parts[0]) === oids.subjectAltName);
  if (names.length !== 1) throw new Error(`${names.length} SAN extensions instead of 1`);
  const general = asn1.childrenOf(asn1.decode(asn1.bytesOf(names[0]?.at(-1), tag.octetString)), tag.sequence);
  const [only] = general;
  if (
    general.length !== 1 ||
    !asn1.isContext(only, uri) ||
    only === undefined ||
    typeof only.value !== 'string'
  ) {
    throw new Error('the SAN is not exactly one URI');
  }
  if (parseSpiffeId(only.value) === null) throw new Error(`${JSON.stringify(only.value)} is not a SPIFFE ID`);
  return only.value;
}
