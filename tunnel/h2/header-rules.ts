/**
 * Which header lists are well-formed on a tunnel (RFC 9113 §8.2, §8.3, §8.5) and what they say.
 *
 * A request of another method than CONNECT is handed up where it is well-formed, so that the caller can answer 400;
 * everything malformed is a stream error, told by null.
 */
import type { HeaderField } from './header-table.ts';

/** A well-formed request. */
export class ConnectHeaders {
  readonly method: string;
  /** What a CONNECT wants to reach; of other methods it may be empty. */
  readonly authority: string;
  /** Regular fields in order of arrival; a name may occur more than once. */
  readonly headers: readonly HeaderField[];

  constructor(method: string, authority: string, headers: readonly HeaderField[]) {
    this.method = method;
    this.authority = authority;
    this.headers = headers;
  }

  /** The first value of a header (lower-case name), or null. */
  header(name: string): string | null {
    return headerValue(this.headers, name);
  }
}

export interface ResponseHeaders {
  readonly status: number;
  readonly headers: readonly HeaderField[];
}

/** The first value of a header (lower-case name), or null. */
function headerValue(headers: readonly HeaderField[], name: string): string | null {
  for (const field of headers) if (field[0] === name) return field[1];
  return null;
}

const nameBytes = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
  nameBytes[character.charCodeAt(0)] = 1;

/** Whether a byte may stand in a field name: lower-case token characters. */
export function isNameByte(byte: number): boolean {
  return nameBytes[byte] === 1;
}

/** Whether a byte may stand in a field value: no control characters but the tab. */
export function isValueByte(byte: number): boolean {
  return (byte >= 0x20 && byte !== 0x7f && byte <= 0xff) || byte === 0x09;
}

/** Space or tab, which may not stand at either end of a value. */
export function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09;
}

/** Fields that belong to one HTTP/1 connection (RFC 9113 §8.2.2). */
const connectionFields = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);

function isValidName(name: string): boolean {
  if (name.length === 0) return false;
  for (let at = 0; at < name.length; at += 1) if (!isNameByte(name.charCodeAt(at))) return false;
  return true;
}

function isValidValue(value: string): boolean {
  for (let at = 0; at < value.length; at += 1) if (!isValueByte(value.charCodeAt(at))) return false;
  return value.length === 0 || !(isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1)));
}

function isRegularField([name, value]: HeaderField): boolean {
  if (!isValidName(name) || !isValidValue(value) || connectionFields.has(name)) return false;
  return name !== 'te' || value === 'trailers';
}

/** No white space and no user part; what else a target may be is for the caller to decide. */
function isAuthority(value: string): boolean {
  for (let at = 0; at < value.length; at += 1) {
    const byte = value.charCodeAt(at);
    if (byte <= 0x20 || byte >= 0x7f || byte === 0x40) return false;
  }
  return value.length > 0;
}

/** Collects the pseudo fields named in `allowed` (each at most once, all before the regular ones), or null. */
function splitPseudo(
  fields: readonly HeaderField[],
  allowed: readonly string[],
): { pseudo: (string | null)[]; regular: readonly HeaderField[] } | null {
  const pseudo: (string | null)[] = allowed.map(() => null);
  let at = 0;
  for (; at < fields.length; at += 1) {
    const field = fields[at];
    if (field === undefined || field[0].charCodeAt(0) !== 0x3a) break;
    const slot = allowed.indexOf(field[0]);
    if (slot < 0 || pseudo[slot] !== null || !isValidValue(field[1])) return null;
    pseudo[slot] = field[1];
  }
  const regular = fields.slice(at);
  for (const field of regular) if (!isRegularField(field)) return null;
  return { pseudo, regular };
}

const requestPseudo = [':method', ':authority', ':scheme', ':path'];

/** Reads a request's header list, or null where it is malformed. */
export function readRequest(fields: readonly HeaderField[]): ConnectHeaders | null {
  const split = splitPseudo(fields, requestPseudo);
  if (split === null) return null;
  const [method = null, authority = null, scheme = null, path = null] = split.pseudo;
  if (method === null || method === '') return null;
  if (authority !== null && !isAuthority(authority)) return null;
  const host = headerValue(split.regular, 'host');
  if (host !== null && authority !== null && host !== authority) return null;
  if (method === 'CONNECT') {
    if (authority === null || scheme !== null || path !== null) return null;
  } else if (scheme === null || scheme === '' || path === null || path === '') {
    return null;
  }
  return new ConnectHeaders(method, authority ?? host ?? '', split.regular);
}

const responsePseudo = [':status'];

/** Reads a response's header list, or null where it is malformed. 101 has no place in HTTP/2. */
export function readResponse(fields: readonly HeaderField[]): ResponseHeaders | null {
  const split = splitPseudo(fields, responsePseudo);
  const text = split?.pseudo[0] ?? null;
  if (split === null || text === null || !/^[1-9][0-9][0-9]$/.test(text) || text === '101') return null;
  return { status: Number(text), headers: split.regular };
}
