/**
 * SETTINGS (RFC 9113 §6.5): what we announce, and what a peer's frame means.
 */
import { CulvertError } from '../../base/errors.ts';
import { flowControlFault, protocolFault } from './errors.ts';
import {
  defaultMaxFrameBytes,
  defaultWindowBytes,
  maxWindowBytes,
  readUint32,
  writeUint32,
} from './frames.ts';
import { fieldSize } from './header-table.ts';
import type { HeaderField } from './header-table.ts';
import type { H2Limits } from './limits.ts';

/** Our side of a connection. Bytes, but for the stream count. */
export interface H2Settings {
  /** INITIAL_WINDOW_SIZE: what a stream may send before its consumer has taken anything. Bounds a slow reader's cost. */
  readonly streamWindowBytes: number;
  /** What a stream's window may grow to while its consumer keeps up. */
  readonly maxStreamWindowBytes: number;
  /** The connection's window, and what all streams together may grow beyond streamWindowBytes. */
  readonly connectionWindowBytes: number;
  /** MAX_FRAME_SIZE that we accept. */
  readonly maxFrameBytes: number;
  /** MAX_CONCURRENT_STREAMS of a server. */
  readonly maxStreams: number;
}

export const defaultSettings: H2Settings = {
  streamWindowBytes: 262_144,
  maxStreamWindowBytes: 4_194_304,
  connectionWindowBytes: 16_777_216,
  maxFrameBytes: 1_048_576,
  maxStreams: 200,
};

const SettingId = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
  ENABLE_CONNECT_PROTOCOL: 0x8,
  NO_RFC7540_PRIORITIES: 0x9,
} as const;

export type SettingEntry = readonly [id: number, value: number];

/** The entries of our one SETTINGS frame. */
export function announcedSettings(
  role: 'client' | 'server',
  own: H2Settings,
  limits: H2Limits,
): SettingEntry[] {
  return [
    role === 'client' ? [SettingId.ENABLE_PUSH, 0] : [SettingId.MAX_CONCURRENT_STREAMS, own.maxStreams],
    [SettingId.INITIAL_WINDOW_SIZE, own.streamWindowBytes],
    [SettingId.MAX_FRAME_SIZE, own.maxFrameBytes],
    [SettingId.MAX_HEADER_LIST_SIZE, limits.maxHeaderListBytes],
  ];
}

/** Writes the payload of a SETTINGS frame; returns where the next byte goes. */
export function encodeSettings(target: Uint8Array, at: number, entries: readonly SettingEntry[]): number {
  let next = at;
  for (const [id, value] of entries) {
    target[next] = id >>> 8;
    target[next + 1] = id;
    writeUint32(target, next + 2, value);
    next += 6;
  }
  return next;
}

/** What the peer announced so far; the RFC's initial values until it does. */
export class PeerSettings {
  initialWindowBytes = defaultWindowBytes;
  maxFrameBytes = defaultMaxFrameBytes;
  /** Streams that we may have open; what most peers allow, until the peer has said. */
  maxStreams = 100;
  maxHeaderListBytes = maxWindowBytes;
  /** The peer's first SETTINGS have arrived. */
  known = false;

  /**
   * Applies source[start, end), a multiple of six bytes. Throws the Fault for a value out of range.
   * @param role ours
   */
  apply(role: 'client' | 'server', source: Uint8Array, start: number, end: number): void {
    if (!this.known) {
      this.known = true;
      this.maxStreams = maxWindowBytes;
    }
    for (let at = start; at < end; at += 6) {
      const id = ((source[at] ?? 0) << 8) | (source[at + 1] ?? 0);
      this.#set(role, id, readUint32(source, at + 2));
    }
  }

  /**
   * Throws CulvertError H2_HEADERS_TOO_LARGE for a list that the peer has said it does not take.
   * @param pseudoBytes what the pseudo fields count
   */
  checkHeaderList(pseudoBytes: number, fields: readonly HeaderField[]): void {
    let bytes = pseudoBytes;
    for (const field of fields) bytes += fieldSize(field);
    if (bytes <= this.maxHeaderListBytes) return;
    const message = `header list of ${bytes} bytes where the peer takes ${this.maxHeaderListBytes}`;
    throw new CulvertError('H2_HEADERS_TOO_LARGE', message);
  }

  #set(role: 'client' | 'server', id: number, value: number): void {
    switch (id) {
      case SettingId.ENABLE_PUSH:
        if (value > 1 || (role === 'client' && value !== 0)) throw protocolFault(`ENABLE_PUSH of ${value}`);
        return;
      case SettingId.MAX_CONCURRENT_STREAMS:
        this.maxStreams = value;
        return;
      case SettingId.INITIAL_WINDOW_SIZE:
        if (value > maxWindowBytes) throw flowControlFault(`INITIAL_WINDOW_SIZE of ${value}`);
        this.initialWindowBytes = value;
        return;
      case SettingId.MAX_FRAME_SIZE:
        if (value < defaultMaxFrameBytes || value > 0xff_ffff)
          throw protocolFault(`MAX_FRAME_SIZE of ${value}`);
        this.maxFrameBytes = value;
        return;
      case SettingId.MAX_HEADER_LIST_SIZE:
        this.maxHeaderListBytes = value;
        return;
      case SettingId.ENABLE_CONNECT_PROTOCOL:
      case SettingId.NO_RFC7540_PRIORITIES:
        if (value > 1) throw protocolFault(`setting ${id} of ${value}`);
        return;
      // HEADER_TABLE_SIZE: our encoder keeps no table, whatever the peer allows (header-encoder.ts).
      default:
        return;
    }
  }
}
