/**
 * Puts a header block together from HEADERS and CONTINUATION (RFC 9113 §4.3, §6.2, §6.10) under the limits.
 *
 * Nearly every block is one frame and is read where it lies; only a continued one is copied.
 */
import { calmFault, protocolFault } from './errors.ts';
import { FrameFlag } from './frames.ts';
import type { H2Limits } from './limits.ts';

/** Reads whole blocks; called once for each. */
export interface HeaderIntake {
  onBlock(id: number, endStream: boolean, source: Buffer, start: number, end: number): void;
}

export class HeaderBlocks {
  readonly #intake: HeaderIntake;
  readonly #limits: H2Limits;
  #parts: Buffer[] = [];
  #bytes = 0;
  #endStream = false;
  /** The stream whose block goes on, or 0. */
  continues = 0;

  constructor(intake: HeaderIntake, limits: H2Limits) {
    this.#intake = intake;
    this.#limits = limits;
  }

  /** A HEADERS frame, its payload source[start, end). */
  onHeaders(flags: number, id: number, source: Buffer, start: number, end: number): void {
    let from = start;
    let to = end;
    if ((flags & FrameFlag.PADDED) !== 0) {
      to -= from < end ? (source[from] ?? 0) : 1;
      from += 1;
    }
    if ((flags & FrameFlag.PRIORITY) !== 0) from += 5;
    if (from > to) throw protocolFault('HEADERS with padding or priority longer than the frame');
    const endStream = (flags & FrameFlag.END_STREAM) !== 0;
    if ((flags & FrameFlag.END_HEADERS) !== 0) {
      this.#check(to - from);
      this.#intake.onBlock(id, endStream, source, from, to);
      return;
    }
    this.#parts = [];
    this.#bytes = 0;
    this.#endStream = endStream;
    this.continues = id;
    this.#keep(source, from, to);
  }

  /** A CONTINUATION frame of the block that goes on. */
  onContinuation(flags: number, source: Buffer, start: number, end: number): void {
    if (this.#parts.length > this.#limits.maxContinuations) {
      throw calmFault(
        'H2_CONTINUATION_FLOOD',
        `more than ${this.#limits.maxContinuations} CONTINUATION frames`,
      );
    }
    this.#keep(source, start, end);
    if ((flags & FrameFlag.END_HEADERS) === 0) return;
    const block = Buffer.concat(this.#parts, this.#bytes);
    const id = this.continues;
    this.#parts = [];
    this.continues = 0;
    this.#intake.onBlock(id, this.#endStream, block, 0, block.length);
  }

  #keep(source: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    this.#check(this.#bytes);
    this.#parts.push(Buffer.from(source.subarray(start, end)));
  }

  #check(bytes: number): void {
    if (bytes > this.#limits.maxHeaderBlockBytes) {
      throw calmFault('H2_HEADER_FLOOD', `header block over ${this.#limits.maxHeaderBlockBytes} bytes`);
    }
  }
}
