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

export interface ForeignCertificateRequest {
  /** SPIFFE ID; null for a request without any name. */
  readonly identity: string | null;
  readonly publicKey: KeyObject;
}

interface Algorithms {
  readonly keys: readonly string[];
  /** By OID. */
  readonly signatures: ReadonlyMap<string, { readonly hash: string; readonly type: string }>;
}

const p256 = 'on curve P-256';
const rsa = 'RSA';
const ecdsaWithSha256 = [oids.ecdsaWithSha256, { hash: 'sha256', type: 'ec' }] as const;

const ownAlgorithms: Algorithms = { keys: [p256], signatures: new Map([ecdsaWithSha256]) };

const foreignAlgorithms: Algorithms = {
  keys: [p256, 'secp384r1', rsa],
  // RFC 5758 §3.2 and RFC 4055 §5.
  signatures: new Map([
    ecdsaWithSha256,
    ['1.2.840.10045.4.3.3', { hash: 'sha384', type: 'ec' }],
    [oids.rsaWithSha256, { hash: 'sha256', type: 'rsa' }],
    ['1.2.840.113549.1.1.12', { hash: 'sha384', type: 'rsa' }],
    ['1.2.840.113549.1.1.13', { hash: 'sha512', type: 'rsa' }],
  ]),
};

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

/** A request of an agent of ours. Throws CulvertError CERTIFICATE_REQUEST_INVALID, whose message says what is wrong with it. */
export function readRequest(pem: string): CertificateRequest {
  return refusing(
    'send a PKCS #10 request in PEM with a P-256 key, signed with SHA-256, and one SPIFFE ID as its only SAN',
    () => {
      const { identity, publicKey } = read(pem, ownAlgorithms);
      if (identity === null) throw new Error('no SPIFFE ID is requested');
      return { identity, publicKey };
    },
  );
}

/**
 * A request of any client of the certificate service: also with a P-384 or RSA key, and without a name where the service
 * knows who asks. Throws CulvertError CERTIFICATE_REQUEST_INVALID.
 */
export function readForeignRequest(pem: string): ForeignCertificateRequest {
  return refusing(
    'send a PKCS #10 request in PEM, with an EC key on P-256 or P-384 or an RSA key of 2048 to 8192 bits, and no SAN but one SPIFFE ID',
    () => read(pem, foreignAlgorithms),
  );
}

function refusing<T>(fix: string, act: () => T): T {
  try {
    return act();
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new CulvertError('CERTIFICATE_REQUEST_INVALID', `certificate request refused: ${why}`, {
      side: 'client',
      fix,
      cause: thrown,
    });
  }
}

function read(pem: string, algorithms: Algorithms): ForeignCertificateRequest {
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
  const key = keyOf(publicKey);
  if (!algorithms.keys.includes(key))
    throw new Error(`the key is ${key}, not ${algorithms.keys.join(' or ')}`);
  const oid = asn1.oidOf(asn1.childrenOf(algorithm, tag.sequence)[0]);
  const { hash, type } = algorithms.signatures.get(oid) ?? {};
  if (hash === undefined || type !== publicKey.asymmetricKeyType) {
    throw new Error(`signed with the algorithm ${oid}, which is not accepted for this key`);
  }
  // The first byte counts unused bits; a signature is whole bytes.
  const signed = asn1.bytesOf(signature, tag.bitString);
  if (signed[0] !== 0 || !verify(hash, asn1.encode(info), publicKey, signed.subarray(1))) {
    throw new Error('the signature is not by its own key');
  }
  return { identity: requestedIdentity(attributes), publicKey };
}

/** What kind of key it is, for comparison and for people. */
function keyOf({ asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject): string {
  if (type === 'ec')
    return details.namedCurve === 'prime256v1' ? p256 : (details.namedCurve ?? 'on no curve');
  const { modulusLength = 0, publicExponent = 0n } = details;
  // A huge exponent would make every check of a signature slow.
  if (type === 'rsa' && publicExponent >= 65_537n && publicExponent <= 0xffff_ffffn) {
    return modulusLength >= 2_048 && modulusLength <= 8_192 ? rsa : `RSA of ${modulusLength} bits`;
  }
  return `of type ${type ?? 'unknown'}`;
}

/** The one URI of the one SAN extension of the one extension request; null where no names are requested at all. */
function requestedIdentity(attributes: asn1.Asn1 | undefined): string | null {
  if (attributes === undefined) return null;
  if (!asn1.isContext(attributes, 0) || typeof attributes.value === 'string') {
    throw new Error('its attributes cannot be read');
  }
  const requests = attributes.value
    .map(attribute => asn1.childrenOf(attribute, tag.sequence))
    .filter(parts => asn1.oidOf(parts[0]) === extensionRequest);
  if (requests.length === 0) return null;
  if (requests.length !== 1) throw new Error(`${requests.length} extension requests instead of 1`);
  const values = asn1.childrenOf(requests[0]?.[1], tag.set);
  if (values.length !== 1) throw new Error(`${values.length} values of the extension request instead of 1`);
  const names = asn1
    .childrenOf(values[0], tag.sequence)
    .map(extension => asn1.childrenOf(extension, tag.sequence))
    .filter(parts => asn1.oidOf(parts[0]) === oids.subjectAltName);
  if (names.length === 0) return null;
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
