/**
 * Reads the little of the DNS wire format (RFC 1035, 6891) that answering address queries takes; reply.ts writes it.
 *
 * A packet is either one plain question that is understood completely, or opaque bytes for the server that the client
 * meant. Nothing here throws on foreign bytes.
 */
export const typeA = 1;
export const typeAaaa = 28;
export const typeOpt = 41;
export const classIn = 1;

export const noError = 0;
export const serverFailure = 2;
export const nameError = 3;

export const headerSize = 12;
/** OPT without options. */
export const optSize = 11;
/** RFC 1035 §2.3.4: of a UDP message without EDNS. */
const plainUdpSize = 512;
/** More than a client may ask of us over UDP; the path is loopback, so no fragments. */
export const maxUdpSize = 4096;
export const maxTcpSize = 65_535;

export const flagResponse = 0x8000;
export const flagTruncated = 0x0200;
export const flagDnssecOk = 0x8000;
export const opcodeMask = 0x7800;
const rcodeMask = 0x000f;

/** The first question of any packet, as far as it can be read: enough to recognise its reply and to count it. */
export interface Question {
  readonly id: number;
  readonly opcode: number;
  /** Null when the question can't be read. */
  readonly type: number | null;
  /** Bytes of the question section with its names in lower case; null when it can't be read. */
  readonly key: string | null;
}

/** A query of opcode QUERY with exactly one question of class IN, and EDNS version 0 or none. */
export interface Query {
  readonly id: number;
  /** Lower case, without the final dot. */
  readonly name: string;
  readonly type: number;
  /** Where the question ends in the packet. */
  readonly end: number;
  /** Null without EDNS. */
  readonly edns: { readonly udpSize: number; readonly dnssecOk: boolean } | null;
}

/** Whether the packet has a header and is a query rather than a reply; anything else is nobody's business. */
export function isQuery(packet: Buffer): boolean {
  return packet.length >= headerSize && (packet.readUInt16BE(2) & flagResponse) === 0;
}

/** @param packet at least a header long */
export function readQuestion(packet: Buffer): Question {
  const id = packet.readUInt16BE(0);
  const opcode = (packet.readUInt16BE(2) & opcodeMask) >> 11;
  const name = packet.readUInt16BE(4) > 0 ? readName(packet, headerSize) : null;
  if (name === null || name.end + 4 > packet.length) return { id, opcode, type: null, key: null };
  const type = packet.readUInt16BE(name.end);
  return { id, opcode, type, key: `${name.wire} ${type} ${packet.readUInt16BE(name.end + 2)}` };
}

/** Understands the packet completely, or returns null. */
export function readQuery(packet: Buffer): Query | null {
  if (packet.length < headerSize || packet.length > maxTcpSize) return null;
  const flags = packet.readUInt16BE(2);
  if ((flags & (flagResponse | opcodeMask | flagTruncated | rcodeMask)) !== 0) return null;
  const additional = packet.readUInt16BE(10);
  const oneQuestion = packet.readUInt16BE(4) === 1 && packet.readUInt32BE(6) === 0;
  if (!oneQuestion || additional > 1) return null;
  const name = readName(packet, headerSize);
  if (name === null || name.text === null || name.end + 4 > packet.length) return null;
  if (packet.readUInt16BE(name.end + 2) !== classIn) return null;
  const end = name.end + 4;
  const edns = additional === 0 ? null : readOpt(packet, end);
  // Also refuses bytes after the end, and TSIG and the like in place of OPT.
  if ((additional === 0 ? end : edns?.end) !== packet.length) return null;
  return { id: packet.readUInt16BE(0), name: name.text, type: packet.readUInt16BE(name.end), end, edns };
}

/** How many bytes of answer the client takes over UDP. */
export function udpLimit(query: Query): number {
  return Math.max(plainUdpSize, Math.min(query.edns?.udpSize ?? plainUdpSize, maxUdpSize));
}

/** True when `reply` answers `question`; servers may leave the question out of an error. */
export function isReplyTo(reply: Buffer, question: Question): boolean {
  if (reply.length < headerSize || (reply.readUInt16BE(2) & flagResponse) === 0) return false;
  const got = readQuestion(reply);
  if (got.id !== question.id || got.opcode !== question.opcode) return false;
  if (question.key === null) return true;
  if (reply.readUInt16BE(4) === 0) return rcodeOf(reply) !== noError;
  return got.key === question.key;
}

export function rcodeOf(reply: Buffer): number {
  return reply.readUInt16BE(2) & rcodeMask;
}

export interface Name {
  /** Lower case, without the final dot; null when a label has bytes that no host name has. */
  readonly text: string | null;
  /** Lower-case labels with their lengths, as latin1. */
  readonly wire: string;
  readonly end: number;
}

/** An uncompressed name of at most 255 bytes; null for anything else. */
export function readName(packet: Buffer, start: number): Name | null {
  let at = start;
  for (;;) {
    const length = packet[at];
    if (length === undefined || length > 63) return null;
    at += 1 + length;
    if (at > packet.length || at - start > 255) return null;
    if (length === 0) break;
  }
  const wire = lowerCase(packet.toString('latin1', start, at));
  return { text: hostName(wire), wire, end: at };
}

function hostName(wire: string): string | null {
  let text = '';
  for (let at = 0; wire.charCodeAt(at) !== 0;) {
    const next = at + 1 + wire.charCodeAt(at);
    const label = wire.slice(at + 1, next);
    if (!/^[a-z0-9_-]+$/.test(label)) return null;
    text += text === '' ? label : `.${label}`;
    at = next;
  }
  return text;
}

/** ASCII only: bytes above are not letters to DNS (RFC 4343). */
function lowerCase(latin1: string): string {
  return latin1.replace(/[A-Z]+/g, letters => letters.toLowerCase());
}

function readOpt(packet: Buffer, at: number): { udpSize: number; dnssecOk: boolean; end: number } | null {
  // The root as its name, and version 0, the only one there is.
  if (at + optSize > packet.length || packet[at] !== 0 || packet.readUInt16BE(at + 1) !== typeOpt)
    return null;
  if (packet.readUInt16BE(at + 5) !== 0) return null;
  const dnssecOk = (packet.readUInt16BE(at + 7) & flagDnssecOk) !== 0;
  return { udpSize: packet.readUInt16BE(at + 3), dnssecOk, end: at + optSize + packet.readUInt16BE(at + 9) };
}
