/**
 * HTTP/2 frame constants and the checks that need nothing but a frame's own header (RFC 9113 §4, §6).
 *
 * reader.ts runs checkFrameHeader on every frame before one byte of its payload is looked at, so that a length that is
 * wrong or too large is refused before anything is kept.
 */
import { calmFault, frameSizeFault, protocolFault } from './errors.ts';
import type { H2Limits } from './limits.ts';

export const frameHeaderBytes = 9;
/** What a TLS record carries (RFC 8446 §5.1). */
export const recordBytes = 16_384;
/** A frame of this payload fills a record: who gets it has it in one piece. */
export const recordPayloadBytes = recordBytes - frameHeaderBytes;
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const FrameType = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const;

export const FrameFlag = {
  ACK: 0x1,
  END_STREAM: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const;

/** Every setting and window of RFC 9113 before a SETTINGS frame says otherwise. */
export const defaultWindowBytes = 65_535;
export const defaultMaxFrameBytes = 16_384;
export const maxWindowBytes = 0x7fff_ffff;
export const maxStreamId = 0x7fff_ffff;

/** Bytes of HEADERS that are not header block: pad length, priority, padding. */
const headersOverheadBytes = 1 + 5 + 255;

/** Debug data of GOAWAY that we still read; more is a flood. */
const maxGoawayBytes = 8 + 4096;

/** Throws the Fault that RFC 9113 names for a frame header which can be refused by itself. */
export function checkFrameHeader(
  type: number,
  flags: number,
  id: number,
  length: number,
  maxFrameBytes: number,
  limits: H2Limits,
): void {
  if (length > maxFrameBytes)
    throw frameSizeFault(`frame of ${length} bytes where ${maxFrameBytes} are allowed`);
  switch (type) {
    case FrameType.DATA:
      if (id === 0) throw protocolFault('DATA on stream 0');
      return;
    case FrameType.HEADERS:
    case FrameType.CONTINUATION:
      if (id === 0) throw protocolFault('header block on stream 0');
      if (length > limits.maxHeaderBlockBytes + headersOverheadBytes) {
        throw calmFault('H2_HEADER_FLOOD', `header block frame of ${length} bytes`);
      }
      return;
    case FrameType.PRIORITY:
      if (id === 0) throw protocolFault('PRIORITY on stream 0');
      if (length !== 5) throw frameSizeFault(`PRIORITY of ${length} bytes`);
      return;
    case FrameType.RST_STREAM:
      if (id === 0) throw protocolFault('RST_STREAM on stream 0');
      if (length !== 4) throw frameSizeFault(`RST_STREAM of ${length} bytes`);
      return;
    case FrameType.SETTINGS:
      checkSettingsHeader(flags, id, length, limits);
      return;
    case FrameType.PUSH_PROMISE:
      throw protocolFault('PUSH_PROMISE, which nobody may send here');
    case FrameType.PING:
      if (id !== 0) throw protocolFault(`PING on stream ${id}`);
      if (length !== 8) throw frameSizeFault(`PING of ${length} bytes`);
      return;
    case FrameType.GOAWAY:
      if (id !== 0) throw protocolFault(`GOAWAY on stream ${id}`);
      if (length < 8) throw frameSizeFault(`GOAWAY of ${length} bytes`);
      if (length > maxGoawayBytes) throw calmFault('H2_IGNORED_FLOOD', `GOAWAY of ${length} bytes`);
      return;
    case FrameType.WINDOW_UPDATE:
      if (length !== 4) throw frameSizeFault(`WINDOW_UPDATE of ${length} bytes`);
      return;
    default:
      return;
  }
}

function checkSettingsHeader(flags: number, id: number, length: number, limits: H2Limits): void {
  if (id !== 0) throw protocolFault(`SETTINGS on stream ${id}`);
  if ((flags & FrameFlag.ACK) !== 0 && length !== 0)
    throw frameSizeFault('SETTINGS acknowledgement with a payload');
  if (length % 6 !== 0) throw frameSizeFault(`SETTINGS of ${length} bytes`);
  if (length > limits.maxSettingsEntries * 6) {
    throw calmFault('H2_SETTINGS_FLOOD', `SETTINGS with ${length / 6} entries`);
  }
}

/** Writes the nine bytes of a frame header at `at`. */
export function writeFrameHeader(
  target: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  id: number,
): void {
  target[at] = length >>> 16;
  target[at + 1] = length >>> 8;
  target[at + 2] = length;
  target[at + 3] = type;
  target[at + 4] = flags;
  writeUint32(target, at + 5, id);
}

export function writeUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

/** Big-endian, unsigned. The caller has checked that four bytes are there. */
export function readUint32(source: Uint8Array, at: number): number {
  return (
    (((source[at] ?? 0) << 24) |
      ((source[at + 1] ?? 0) << 16) |
      ((source[at + 2] ?? 0) << 8) |
      (source[at + 3] ?? 0)) >>>
    0
  );
}
