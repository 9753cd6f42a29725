/**
 * Reads a capture file: which packets, which connections, and whether what they carry is TLS.
 *
 * Knows as much of the formats as the lab produces: classic pcap, Ethernet or Linux "cooked" v2 frames, IPv4 and IPv6
 * without extension headers, TCP and UDP. All else is a packet without addresses.
 */
import ipaddr from 'ipaddr.js';

export interface Packet {
  /** In canonical form; '' where it is not IP. */
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'tcp' | 'udp' | 'other';
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** TCP sequence number of the first payload byte, else 0. */
  readonly sequence: number;
  readonly syn: boolean;
  /** Bytes on the wire. */
  readonly length: number;
  readonly payload: Buffer;
}

/** One direction of a connection. */
export interface Flow {
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'tcp' | 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly packets: number;
  readonly payload: Buffer;
  /** The capture saw it begin. */
  readonly complete: boolean;
}

const ethernet = 1;
const cooked2 = 276;
const nothing = Buffer.alloc(0);
const other = {
  source: '',
  destination: '',
  protocol: 'other',
  sourcePort: 0,
  destinationPort: 0,
  sequence: 0,
  syn: false,
} as const;

/** Packets of a pcap file in order. Throws on what is not such a file; ignores a last record that was cut. */
export function parsePcap(file: Buffer): Packet[] {
  if (file.length < 24 || file.readUInt32LE(0) !== 0xa1b2c3d4)
    throw new Error('not a little-endian pcap file');
  const linkType = file.readUInt32LE(20);
  const packets: Packet[] = [];
  for (let at = 24; at + 16 <= file.length;) {
    const captured = file.readUInt32LE(at + 8);
    const length = file.readUInt32LE(at + 12);
    const frame = file.subarray(at + 16, at + 16 + captured);
    if (frame.length < captured) break;
    packets.push(parseFrame(frame, linkType, length));
    at += 16 + captured;
  }
  return packets;
}

function parseFrame(frame: Buffer, linkType: number, length: number): Packet {
  const [typeAt, headerLength] = linkType === cooked2 ? [0, 20] : [12, 14];
  if ((linkType !== ethernet && linkType !== cooked2) || frame.length < headerLength)
    return { ...other, length, payload: frame };
  const type = frame.readUInt16BE(typeAt);
  const packet = frame.subarray(headerLength);
  if (type === 0x0800 && packet.length >= 20) return parseIpv4(packet, length);
  if (type === 0x86dd && packet.length >= 40) return parseIpv6(packet, length);
  return { ...other, length, payload: packet };
}

function parseIpv4(packet: Buffer, length: number): Packet {
  const headerLength = (packet.readUInt8(0) & 15) * 4;
  // Ethernet pads short frames; the header knows how long the packet is. 0: left to the hardware, as long as the frame.
  const total = packet.readUInt16BE(2) || packet.length;
  const addresses = {
    source: textOf(packet.subarray(12, 16)),
    destination: textOf(packet.subarray(16, 20)),
  };
  return {
    ...parseTransport(packet.readUInt8(9), packet.subarray(headerLength, total)),
    ...addresses,
    length,
  };
}

function parseIpv6(packet: Buffer, length: number): Packet {
  const addresses = { source: textOf(packet.subarray(8, 24)), destination: textOf(packet.subarray(24, 40)) };
  const total = packet.readUInt16BE(4) || packet.length - 40;
  return { ...parseTransport(packet.readUInt8(6), packet.subarray(40, 40 + total)), ...addresses, length };
}

function parseTransport(
  protocol: number,
  segment: Buffer,
): Omit<Packet, 'source' | 'destination' | 'length'> {
  if (protocol === 6 && segment.length >= 20) {
    const syn = (segment.readUInt8(13) & 2) !== 0;
    return {
      protocol: 'tcp',
      sourcePort: segment.readUInt16BE(0),
      destinationPort: segment.readUInt16BE(2),
      sequence: (segment.readUInt32BE(4) + (syn ? 1 : 0)) >>> 0,
      syn,
      payload: segment.subarray((segment.readUInt8(12) >> 4) * 4),
    };
  }
  if (protocol === 17 && segment.length >= 8) {
    const ports = { sourcePort: segment.readUInt16BE(0), destinationPort: segment.readUInt16BE(2) };
    return { protocol: 'udp', ...ports, sequence: 0, syn: false, payload: segment.subarray(8) };
  }
  return { ...other, payload: segment };
}

/** Packets sorted into connections by direction, with the payload put in order and repeats left out. */
export function flowsOf(packets: readonly Packet[]): Flow[] {
  const byFlow = new Map<string, Packet[]>();
  for (const packet of packets) {
    if (packet.protocol === 'other') continue;
    const key = [
      packet.protocol,
      packet.source,
      packet.sourcePort,
      packet.destination,
      packet.destinationPort,
    ].join(' ');
    const started = byFlow.get(key);
    // A port that is used again is another connection.
    if (started === undefined || (packet.syn && started[0]?.sequence !== packet.sequence)) {
      if (started !== undefined) byFlow.set(`${key} ${byFlow.size}`, started);
      byFlow.set(key, [packet]);
    } else {
      started.push(packet);
    }
  }
  return [...byFlow.values()].flatMap(list => {
    const [first] = list;
    if (first === undefined || first.protocol === 'other') return [];
    const { source, destination, protocol, sourcePort, destinationPort } = first;
    const payload = protocol === 'tcp' ? inOrder(list) : Buffer.concat(list.map(packet => packet.payload));
    const complete = protocol === 'udp' || first.syn;
    return [
      { source, destination, protocol, sourcePort, destinationPort, packets: list.length, payload, complete },
    ];
  });
}

/** Joins TCP payloads by sequence number, modulo 2^32; a gap is left out. */
function inOrder(packets: readonly Packet[]): Buffer {
  const base = packets[0]?.sequence ?? 0;
  const pieces = packets
    .filter(packet => packet.payload.length > 0)
    .map(packet => ({ at: (packet.sequence - base) | 0, payload: packet.payload }))
    .sort((left, right) => left.at - right.at);
  const kept: Buffer[] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const { at, payload } of pieces) {
    const fresh = at >= end ? payload : payload.subarray(end - at);
    if (fresh.length > 0) kept.push(fresh);
    end = Math.max(end, at + payload.length);
  }
  return kept.length === 0 ? nothing : Buffer.concat(kept);
}

/** How much of a byte stream, from its first byte on, is TLS records, and how many bytes follow that are not. */
export function tlsRecords(stream: Buffer): {
  readonly records: number;
  readonly tlsBytes: number;
  readonly otherBytes: number;
} {
  let records = 0;
  let at = 0;
  while (at + 5 <= stream.length) {
    const type = stream.readUInt8(at);
    const size = stream.readUInt16BE(at + 3);
    // RFC 8446 §5.1: types 20 to 23 (24 is heartbeat, which nobody sends), version 3.x, 2^14 bytes and the expansion.
    if (type < 20 || type > 23 || stream.readUInt8(at + 1) !== 3 || size > 16_384 + 256) break;
    records++;
    at += 5 + size;
  }
  const tlsBytes = Math.min(at, stream.length);
  return { records, tlsBytes, otherBytes: stream.length - tlsBytes };
}

const texts = new Map<string, string>();

function textOf(bytes: Buffer): string {
  const key = bytes.toString('latin1');
  const known = texts.get(key);
  if (known !== undefined) return known;
  const text = ipaddr.fromByteArray([...bytes]).toString();
  texts.set(key, text);
  return text;
}
