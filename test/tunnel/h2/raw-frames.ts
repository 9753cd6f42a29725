/**
 * HTTP/2 frames built and read by hand.
 *
 * Nothing of tunnel/h2 is used here, so a mistake there cannot hide itself.
 */

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;

export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [at, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, at * 4);
  return bytes;
}

export function frame(type: number, flags: number, id: number, payload: Buffer | string = ''): Buffer {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, body]);
}

export function settings(...entries: (readonly [id: number, value: number])[]): Buffer {
  const bytes = Buffer.alloc(entries.length * 6);
  for (const [at, [id, value]] of entries.entries()) {
    bytes.writeUInt16BE(id, at * 6);
    bytes.writeUInt32BE(value, at * 6 + 2);
  }
  return frame(SETTINGS, 0, 0, bytes);
}

/** A header block of literals without indexing; every string shorter than 127 bytes. */
export function block(...fields: (readonly [name: string, value: string])[]): Buffer {
  const text = (value: string): Buffer =>
    Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
  return Buffer.concat(
    fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])),
  );
}

export const connectBlock = block([':method', 'CONNECT'], [':authority', '10.0.0.1:80']);
export const okBlock = block([':status', '200']);

export function connectFrame(id: number, flags = END_HEADERS): Buffer {
  return frame(HEADERS, flags, id, connectBlock);
}

/** Cuts bytes into frames; what is left over stays. */
export function parseFrames(bytes: Buffer): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = [];
  let at = 0;
  while (bytes.length - at >= 9) {
    const length = bytes.readUIntBE(at, 3);
    if (bytes.length - at < 9 + length) break;
    const payload = bytes.subarray(at + 9, at + 9 + length);
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      id: bytes.readUInt32BE(at + 5),
      payload,
    });
    at += 9 + length;
  }
  return { frames, rest: bytes.subarray(at) };
}

/** The wire code of the GOAWAY among the frames, or null. */
export function goawayCode(frames: readonly Frame[]): number | null {
  const goaway = frames.filter(({ type }) => type === GOAWAY).at(-1);
  return goaway === undefined ? null : goaway.payload.readUInt32BE(4);
}

/** The wire code of the RST_STREAM for `id` among the frames, or null. */
export function resetCode(frames: readonly Frame[], id: number): number | null {
  const reset = frames.find(({ type, id: of }) => type === RST_STREAM && of === id);
  return reset === undefined ? null : reset.payload.readUInt32BE(0);
}
