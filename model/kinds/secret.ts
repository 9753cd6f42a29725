/**
 * Secret and ConfigMap, v1: certificates that rules name. In a cluster only those that a rule names are ever read, each by
 * its name; what is in them is never shown.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';
import { struct } from './struct.ts';

/** What is looked for in a Secret, the first that is there; some name it one way, some the other. */
export const secretKeys = {
  certificate: ['tls.crt', 'cert'],
  key: ['tls.key', 'key'],
  authorities: ['ca.crt', 'cacert'],
  revoked: ['ca.crl', 'crl'],
} as const;

/** In a ConfigMap. */
export const authoritiesKey = 'ca.crt';

const read: ReadonlySet<string> = new Set([...Object.values(secretKeys).flat(), authoritiesKey]);

/** What is none of these, or no text, is left out without a word: what is said of a value would show it. */
const texts = z
  .unknown()
  .transform((value): Readonly<Record<string, string>> =>
    Object.fromEntries(
      Object.entries(value ?? {}).filter(
        (entry): entry is [string, string] => read.has(entry[0]) && typeof entry[1] === 'string',
      ),
    ),
  );

export const secret = struct(
  { metadata: metadata(dnsSubdomain), data: texts.optional(), stringData: texts.optional() },
  ['apiVersion', 'kind', 'type', 'immutable'],
);

export const configMap = struct({ metadata: metadata(dnsSubdomain), data: texts.optional() }, [
  'apiVersion',
  'kind',
  'binaryData',
  'immutable',
]);

export type Secret = z.output<typeof secret>;
export type ConfigMap = z.output<typeof configMap>;

/** The text under the first of these keys that a Secret has; null where it has none of them. */
export function secretText({ data = {}, stringData = {} }: Secret, keys: readonly string[]): string | null {
  for (const key of keys) {
    // As the API server has it, what is written plainly comes before what is encoded.
    const plain = stringData[key];
    if (plain !== undefined) return plain;
    const encoded = data[key];
    if (encoded !== undefined) return Buffer.from(encoded, 'base64').toString('utf8');
  }
  return null;
}
