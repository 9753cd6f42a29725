/**
 * The few ASN.1 structures that certificates and certificate requests are made of, over node-forge.
 *
 * Builders return nodes to be nested, `encode` gives the DER. `decode` takes bytes from strangers: it accepts nothing
 * but the one DER encoding of what it returns, so what was signed and what was read are the same.
 */
import asn1 from 'node-forge/lib/asn1.js';

export type Asn1 = ReturnType<typeof asn1.create>;

const universal = 0x00;
const contextSpecific = 0x80;

/** Universal tags in use. */
export const tag = {
  boolean: 1,
  integer: 2,
  bitString: 3,
  octetString: 4,
  oid: 6,
  utf8: 12,
  sequence: 16,
  set: 17,
  utcTime: 23,
  generalizedTime: 24,
} as const;

export function sequence(...children: Asn1[]): Asn1 {
  return asn1.create(universal, tag.sequence, true, children);
}

export function set(...children: Asn1[]): Asn1 {
  return asn1.create(universal, tag.set, true, children);
}

export function oid(dotted: string): Asn1 {
  return asn1.create(universal, tag.oid, false, asn1.oidToDer(dotted).getBytes());
}

/** Takes a big-endian two's complement number. */
export function integer(bytes: Buffer): Asn1 {
  return asn1.create(universal, tag.integer, false, bytes.toString('latin1'));
}

export function boolean(value: boolean): Asn1 {
  return asn1.create(universal, tag.boolean, false, value ? '\xff' : '\0');
}

export function utf8(text: string): Asn1 {
  return asn1.create(universal, tag.utf8, false, Buffer.from(text).toString('latin1'));
}

export function octetString(bytes: Buffer): Asn1 {
  return asn1.create(universal, tag.octetString, false, bytes.toString('latin1'));
}

/** The last `unused` bits of `bytes` are not part of the string. */
export function bitString(bytes: Buffer, unused = 0): Asn1 {
  return asn1.create(universal, tag.bitString, false, String.fromCharCode(unused) + bytes.toString('latin1'));
}

/** RFC 5280 §4.1.2.5: two-digit years until 2049, four after. Milliseconds are cut off. */
export function time(date: Date): Asn1 {
  return date.getUTCFullYear() < 2050
    ? asn1.create(universal, tag.utcTime, false, asn1.dateToUtcTime(date))
    : asn1.create(universal, tag.generalizedTime, false, asn1.dateToGeneralizedTime(date));
}

/** `[number]` around other nodes. */
export function explicit(number: number, ...children: Asn1[]): Asn1 {
  return asn1.create(contextSpecific, number, true, children);
}

/** `[number]` in place of the tag of a primitive value. */
export function implicit(number: number, bytes: Buffer): Asn1 {
  return asn1.create(contextSpecific, number, false, bytes.toString('latin1'));
}

export function encode(node: Asn1): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
}

/** Throws on whatever isn't exactly one value in DER. */
export function decode(der: Buffer): Asn1 {
  const node = asn1.fromDer(der.toString('latin1'), {
    strict: true,
    parseAllBytes: true,
    decodeBitStrings: false,
  });
  if (!encode(node).equals(der)) throw new Error('not in distinguished encoding');
  return node;
}

/** Children of a constructed universal node of this tag; throws if it's anything else. */
export function childrenOf(node: Asn1 | undefined, expected: number): Asn1[] {
  if (node === undefined || !isUniversal(node, expected) || typeof node.value === 'string') {
    throw new Error(`no structure with tag ${expected} where one belongs`);
  }
  return node.value;
}

/** Content of a primitive universal node of this tag; throws if it's anything else. */
export function bytesOf(node: Asn1 | undefined, expected: number): Buffer {
  if (node === undefined || !isUniversal(node, expected) || typeof node.value !== 'string') {
    throw new Error(`no value with tag ${expected} where one belongs`);
  }
  return Buffer.from(node.value, 'latin1');
}

export function oidOf(node: Asn1 | undefined): string {
  return asn1.derToOid(bytesOf(node, tag.oid).toString('latin1'));
}

export function isUniversal(node: Asn1 | undefined, expected: number): boolean {
  return node !== undefined && node.tagClass === universal && node.type === expected;
}

/** True for `[number]`, built by `explicit` or `implicit`. */
export function isContext(node: Asn1 | undefined, number: number): boolean {
  return node !== undefined && node.tagClass === contextSpecific && node.type === number;
}
