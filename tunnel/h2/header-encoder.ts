/**
 * HPACK encoding without state: static indices and literals that are never indexed by the peer's table.
 *
 * A tunnel's requests differ in the fields that are long (traceparent, forwarded), so a dynamic table would only cost both
 * sides memory. The first block of a connection says so with a table size update to 0, after which no later
 * change of the peer's SETTINGS_HEADER_TABLE_SIZE needs an answer (RFC 7541 §4.2).
 */
import { CulvertError } from '../../base/errors.ts';
import { isBlank, isNameByte, isValueByte } from './header-rules.ts';
import { staticNames, staticTable } from './header-table.ts';
import type { HeaderField } from './header-table.ts';

/** The table size update that forbids the peer's decoder any dynamic table: first byte of our first block. */
export const emptyTableUpdate = 0x20;

/** The most bytes that a length prefix takes. */
const integerBytes = 6;

const methodNameIndex = 2;
const statusNameIndex = 8;

const statusIndices: ReadonlyMap<string, number> = new Map(
  [...staticTable.entries()]
    .filter(([, [name]]) => name === ':status')
    .map(([at, [, value]]) => [value, at + 1]),
);

/** No block of these fields is longer, with room for one pseudo field of `pseudo` bytes and the table update. */
export function blockBound(pseudo: number, fields: readonly HeaderField[]): number {
  let bytes = 1 + 32 + integerBytes + pseudo;
  for (const [name, value] of fields) bytes += name.length + value.length + 1 + 2 * integerBytes;
  return bytes;
}

/** Writes `:method CONNECT` and `:authority`; returns where the next byte goes. Throws CulvertError H2_BAD_HEADER. */
export function encodeConnect(target: Uint8Array, at: number, authority: string): number {
  target[at] = methodNameIndex;
  const next = writeString(target, at + 1, 'CONNECT');
  target[next] = 0x01;
  return writeValue(target, next + 1, ':authority', authority);
}

/** Writes `:status`; returns where the next byte goes. */
export function encodeStatus(target: Uint8Array, at: number, status: number): number {
  const text = String(status);
  const index = statusIndices.get(text);
  if (index !== undefined) {
    target[at] = 0x80 | index;
    return at + 1;
  }
  target[at] = statusNameIndex;
  return writeString(target, at + 1, text);
}

/**
 * Writes regular fields; returns where the next byte goes. Throws CulvertError H2_BAD_HEADER for a name or value that
 * could not stand in a header: nothing that came from a certificate or a file may smuggle a line break.
 */
export function encodeFields(target: Uint8Array, at: number, fields: readonly HeaderField[]): number {
  let next = at;
  for (const [name, value] of fields) {
    const index = staticNames.get(name);
    if (index === undefined) {
      target[next] = 0x00;
      next = writeName(target, next + 1, name);
    } else {
      next = writeInteger(target, next, index, 4, 0x00);
    }
    next = writeValue(target, next, name, value);
  }
  return next;
}

function writeName(target: Uint8Array, at: number, name: string): number {
  const start = writeInteger(target, at, name.length, 7, 0x00);
  if (name.length === 0) throw badHeader(name);
  for (let i = 0; i < name.length; i += 1) {
    const byte = name.charCodeAt(i);
    if (!isNameByte(byte)) throw badHeader(name);
    target[start + i] = byte;
  }
  return start + name.length;
}

function writeValue(target: Uint8Array, at: number, name: string, value: string): number {
  const start = writeInteger(target, at, value.length, 7, 0x00);
  for (let i = 0; i < value.length; i += 1) {
    const byte = value.charCodeAt(i);
    if (!isValueByte(byte)) throw badHeader(name);
    target[start + i] = byte;
  }
  if (value.length > 0 && (isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1))))
    throw badHeader(name);
  return start + value.length;
}

function writeString(target: Uint8Array, at: number, text: string): number {
  const start = writeInteger(target, at, text.length, 7, 0x00);
  for (let i = 0; i < text.length; i += 1) target[start + i] = text.charCodeAt(i);
  return start + text.length;
}

function writeInteger(
  target: Uint8Array,
  at: number,
  value: number,
  prefix: number,
  pattern: number,
): number {
  const mask = (1 << prefix) - 1;
  if (value < mask) {
    target[at] = pattern | value;
    return at + 1;
  }
  target[at] = pattern | mask;
  let next = at + 1;
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) {
    target[next] = 0x80 | (rest & 0x7f);
    next += 1;
  }
  target[next] = rest;
  return next + 1;
}

function badHeader(name: string): CulvertError {
  return new CulvertError(
    'H2_BAD_HEADER',
    `header ${JSON.stringify(name)} holds bytes that no header may hold`,
  );
}
