/**
 * Writes frames into the output, one method for each type (RFC 9113 §6).
 */
import { FrameFlag, FrameType, defaultMaxFrameBytes, frameHeaderBytes, preface } from './frames.ts';
import { writeFrameHeader, writeUint32 } from './frames.ts';
import { blockBound, emptyTableUpdate, encodeConnect, encodeFields, encodeStatus } from './header-encoder.ts';
import type { HeaderField } from './header-table.ts';
import type { Output } from './output.ts';
import { encodeSettings } from './settings.ts';
import type { SettingEntry } from './settings.ts';

export class FrameWriter {
  readonly #output: Output;
  #firstBlock = true;
  /** Largest payload that the peer takes. */
  maxFrameBytes = defaultMaxFrameBytes;

  constructor(output: Output) {
    this.#output = output;
  }

  preface(): void {
    const at = this.#output.reserve(preface.length);
    this.#output.buffer.set(preface, at);
    this.#output.commit(at + preface.length, 0);
  }

  /** One DATA frame of source[start, end), which is no longer than the output has room and the peer allows. */
  data(id: number, flags: number, source: Buffer, start: number, end: number): void {
    const length = end - start;
    const at = this.#output.reserve(frameHeaderBytes + length);
    const { buffer } = this.#output;
    writeFrameHeader(buffer, at, length, FrameType.DATA, flags, id);
    if (length === source.length) buffer.set(source, at + frameHeaderBytes);
    else source.copy(buffer, at + frameHeaderBytes, start, end);
    this.#output.commit(at + frameHeaderBytes + length, 0);
  }

  settings(entries: readonly SettingEntry[]): void {
    const at = this.#start(FrameType.SETTINGS, 0, 0, entries.length * 6);
    this.#output.commit(encodeSettings(this.#output.buffer, at, entries), 0);
  }

  settingsAck(): void {
    const at = this.#start(FrameType.SETTINGS, FrameFlag.ACK, 0, 0);
    this.#output.commit(at, frameHeaderBytes);
  }

  /** @param payload eight bytes of it from `start` */
  ping(flags: number, payload: Uint8Array, start: number): void {
    const at = this.#start(FrameType.PING, flags, 0, 8);
    for (let i = 0; i < 8; i += 1) this.#output.buffer[at + i] = payload[start + i] ?? 0;
    this.#output.commit(at + 8, frameHeaderBytes + 8);
  }

  goaway(lastStreamId: number, code: number): void {
    const at = this.#start(FrameType.GOAWAY, 0, 0, 8);
    writeUint32(this.#output.buffer, at, lastStreamId);
    writeUint32(this.#output.buffer, at + 4, code);
    this.#output.commit(at + 8, 0);
  }

  reset(id: number, code: number): void {
    this.#word(FrameType.RST_STREAM, id, code);
  }

  windowUpdate(id: number, increment: number): void {
    this.#word(FrameType.WINDOW_UPDATE, id, increment);
  }

  /** A CONNECT request. Throws CulvertError H2_BAD_HEADER, and then nothing is written. */
  connect(id: number, authority: string, fields: readonly HeaderField[]): void {
    const at = this.#startBlock(authority.length, fields);
    const { buffer } = this.#output;
    this.#endBlock(id, 0, encodeFields(buffer, encodeConnect(buffer, at, authority), fields), 0);
  }

  /** A response's HEADERS. Throws CulvertError H2_BAD_HEADER, and then nothing is written. */
  response(id: number, flags: number, status: number, fields: readonly HeaderField[]): void {
    const at = this.#startBlock(3, fields);
    const { buffer } = this.#output;
    this.#endBlock(id, flags, encodeFields(buffer, encodeStatus(buffer, at, status), fields), 1);
  }

  #start(type: number, flags: number, id: number, length: number): number {
    const at = this.#output.reserve(frameHeaderBytes + length);
    writeFrameHeader(this.#output.buffer, at, length, type, flags, id);
    return at + frameHeaderBytes;
  }

  #word(type: number, id: number, value: number): void {
    const at = this.#start(type, 0, id, 4);
    writeUint32(this.#output.buffer, at, value);
    this.#output.commit(at + 4, frameHeaderBytes + 4);
  }

  /** Makes room for a header block and returns where its first field goes. */
  #startBlock(pseudoBytes: number, fields: readonly HeaderField[]): number {
    const bound = blockBound(pseudoBytes, fields);
    // A block over the peer's frame size is cut into CONTINUATION frames, each with a header of its own.
    const frames = Math.ceil(bound / this.maxFrameBytes);
    const at = this.#output.reserve(bound + frames * frameHeaderBytes) + frameHeaderBytes;
    if (!this.#firstBlock) return at;
    this.#output.buffer[at] = emptyTableUpdate;
    return at + 1;
  }

  /** @param owed 1 where a peer can provoke the frame */
  #endBlock(id: number, flags: number, end: number, owed: number): void {
    this.#firstBlock = false;
    const start = this.#output.fill;
    const length = end - start - frameHeaderBytes;
    const { buffer } = this.#output;
    if (length <= this.maxFrameBytes) {
      writeFrameHeader(buffer, start, length, FrameType.HEADERS, flags | FrameFlag.END_HEADERS, id);
      this.#output.commit(end, owed * (end - start));
      return;
    }
    const block = Buffer.from(buffer.subarray(start + frameHeaderBytes, end));
    let at = start;
    for (let sent = 0; sent < length; sent += this.maxFrameBytes) {
      const part = block.subarray(sent, sent + this.maxFrameBytes);
      const type = sent === 0 ? FrameType.HEADERS : FrameType.CONTINUATION;
      const last = sent + part.length === length ? FrameFlag.END_HEADERS : 0;
      writeFrameHeader(buffer, at, part.length, type, (sent === 0 ? flags : 0) | last, id);
      buffer.set(part, at + frameHeaderBytes);
      at += frameHeaderBytes + part.length;
    }
    this.#output.commit(at, owed * (at - start));
  }
}
