/**
 * Writes DNS replies (RFC 1035, 2181, 2308, 6891). The question goes back byte for byte, so that its letter case, which
 * clients use as a cookie, survives.
 */
import type { IpValue } from '../../model/address.ts';
import {
  classIn,
  flagDnssecOk,
  flagResponse,
  flagTruncated,
  headerSize,
  maxTcpSize,
  maxUdpSize,
  opcodeMask,
  optSize,
  readName,
  typeA,
  typeOpt,
  type Query,
} from './codec.ts';

const typeCname = 5;
const typeSoa = 6;
const flagAuthoritative = 0x0400;
const flagRecursionDesired = 0x0100;
const flagRecursionAvailable = 0x0080;
const flagCheckingDisabled = 0x0010;
/** Record header when the owner is a pointer. */
const recordSize = 12;

export interface Answer {
  readonly rcode: number;
  /** Real name when the question was an alias of it. */
  readonly alias: string | null;
  /** All of the family that was asked for. */
  readonly addresses: readonly IpValue[];
  /** Zone whose SOA goes with an answer that has no addresses, so that this may be cached (RFC 2308). */
  readonly zone: string;
  readonly ttlSeconds: number;
}

/** An empty reply that says only `rcode`, to any packet that has a header. */
export function writeFailure(packet: Buffer, rcode: number): Buffer {
  const name = packet.readUInt16BE(4) > 0 ? readName(packet, headerSize) : null;
  const end = name === null || name.end + 4 > packet.length ? headerSize : name.end + 4;
  const reply = Buffer.from(packet.subarray(0, end));
  const flags = packet.readUInt16BE(2) & (opcodeMask | flagRecursionDesired | flagCheckingDisabled);
  reply.writeUInt16BE(flagResponse | flags | flagRecursionAvailable | rcode, 2);
  reply.writeUInt16BE(end > headerSize ? 1 : 0, 4);
  reply.fill(0, 6, headerSize);
  return reply;
}

/** The reply to `query`, which is `packet`; at most `limit` bytes, with TC set when something had to be left out over UDP. */
export function writeAnswer(packet: Buffer, query: Query, answer: Answer, limit: number): Buffer {
  const { alias, addresses, ttlSeconds } = answer;
  const end = limit - (query.edns === null ? 0 : optSize);
  const size = query.type === typeA ? 4 : 16;
  const target = alias === null ? null : encodeName(alias);
  const authority = addresses.length === 0 ? soa(answer.zone, ttlSeconds) : null;

  // Owners are pointers: to the question, or to the target of the CNAME right behind it.
  const aliasSize = target === null ? 0 : recordSize + target.length;
  const aliasFits = query.end + aliasSize <= end;
  const owner = 0xc000 | (target === null ? headerSize : query.end + recordSize);
  const answersAt = query.end + aliasSize;
  const fitting = aliasFits
    ? Math.min(addresses.length, Math.floor((end - answersAt) / (recordSize + size)))
    : 0;
  const answersEnd = aliasFits ? answersAt + fitting * (recordSize + size) : query.end;
  const hasAuthority = authority !== null && answersEnd + authority.length <= end;

  const bytes = Buffer.alloc(answersEnd + (hasAuthority ? authority.length : 0) + limit - end);
  const asked = packet.readUInt16BE(2) & (flagRecursionDesired | flagCheckingDisabled);
  const cut = (fitting < addresses.length || !aliasFits) && limit < maxTcpSize ? flagTruncated : 0;
  bytes.writeUInt16BE(query.id, 0);
  bytes.writeUInt16BE(
    flagResponse | flagAuthoritative | flagRecursionAvailable | asked | cut | answer.rcode,
    2,
  );
  bytes.writeUInt16BE(1, 4);
  bytes.writeUInt16BE(fitting + (target !== null && aliasFits ? 1 : 0), 6);
  bytes.writeUInt16BE(hasAuthority ? 1 : 0, 8);
  bytes.writeUInt16BE(query.edns === null ? 0 : 1, 10);
  packet.copy(bytes, headerSize, headerSize, query.end);

  if (target !== null && aliasFits) {
    const data = writeRecord(bytes, query.end, 0xc000 | headerSize, typeCname, ttlSeconds, target.length);
    target.copy(bytes, data);
  }
  for (let index = 0, at = answersAt; index < fitting; index += 1, at += recordSize + size) {
    const data = writeRecord(bytes, at, owner, query.type, ttlSeconds, size);
    writeAddress(bytes, data, addresses[index] ?? 0);
  }
  if (hasAuthority) authority.copy(bytes, answersEnd);
  if (query.edns !== null) writeOpt(bytes, bytes.length - optSize, query.edns.dnssecOk);
  return bytes;
}

/** Returns where the record's data belongs. */
function writeRecord(
  bytes: Buffer,
  at: number,
  owner: number,
  type: number,
  ttlSeconds: number,
  dataSize: number,
): number {
  bytes.writeUInt16BE(owner, at);
  bytes.writeUInt16BE(type, at + 2);
  bytes.writeUInt16BE(classIn, at + 4);
  bytes.writeUInt32BE(ttlSeconds, at + 6);
  bytes.writeUInt16BE(dataSize, at + 10);
  return at + recordSize;
}

function writeAddress(bytes: Buffer, at: number, address: IpValue): void {
  if (typeof address === 'number') {
    bytes.writeUInt32BE(address, at);
    return;
  }
  for (const [index, group] of address.entries()) bytes.writeUInt16BE(group, at + 2 * index);
}

/** OPT with our own size, no options, and the client's DO bit (RFC 6891 §6.1.1, RFC 3225 §3). `bytes` is zero there. */
function writeOpt(bytes: Buffer, at: number, dnssecOk: boolean): void {
  bytes.writeUInt16BE(typeOpt, at + 1);
  bytes.writeUInt16BE(maxUdpSize, at + 3);
  bytes.writeUInt16BE(dnssecOk ? flagDnssecOk : 0, at + 7);
}

function soa(zone: string, ttlSeconds: number): Buffer {
  const owner = encodeName(zone);
  const [primary, mailbox] = [encodeName(`ns.dns.${zone}`), encodeName(`hostmaster.${zone}`)];
  const numbers = Buffer.alloc(20);
  // Serial, refresh, retry, expire mean something only to secondaries; the last is the negative TTL.
  for (const [index, value] of [1, 7200, 1800, 86_400, ttlSeconds].entries())
    numbers.writeUInt32BE(value, index * 4);
  const header = Buffer.alloc(recordSize);
  writeRecord(header, 0, 0, typeSoa, ttlSeconds, primary.length + mailbox.length + numbers.length);
  // The owner's name stands where a pointer would.
  return Buffer.concat([owner, header.subarray(2), primary, mailbox, numbers]);
}

/** @param name of valid labels */
function encodeName(name: string): Buffer {
  const labels = name.split('.').filter(label => label !== '');
  return Buffer.concat([
    ...labels.map(label => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1')),
    Buffer.of(0),
  ]);
}
