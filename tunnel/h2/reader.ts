/**
 * Cuts the transport's chunks into frames without copying payloads of DATA: they pass on as they come, also in parts.
 *
 * Every other frame is handed on whole; one that straddles chunks is put together in a buffer of its own (bounded by
 * checkFrameHeader). What a frame means is decided in inbound.ts.
 */
import { Fault, ErrorCode, protocolFault } from './errors.ts';
import { FrameFlag, FrameType, checkFrameHeader, frameHeaderBytes, preface, readUint32 } from './frames.ts';
import type { H2Limits } from './limits.ts';

export interface FrameSink {
  /** The stream whose header block must go on in the next frame, or 0. */
  readonly continues: number;
  /**
   * A DATA frame begins.
   * @param frameBytes what counts for flow control
   * @param paddingBytes of them that are padding, with its length
   */
  onData(flags: number, id: number, frameBytes: number, paddingBytes: number): void;
  /** Some of its payload; may be called any number of times. */
  onPayload(chunk: Buffer): void;
  /** The DATA frame is over. */
  onDataDone(): void;
  /** Any other frame; its payload is source[start, end). Unknown types come without payload. */
  onFrame(type: number, flags: number, id: number, source: Buffer, start: number, end: number): void;
}

const empty = Buffer.alloc(0);

type State = 'preface' | 'header' | 'padLength' | 'payload' | 'skip' | 'whole';

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #limits: H2Limits;
  readonly #maxFrameBytes: number;
  #state: State;
  #stopped = false;
  readonly #header = Buffer.alloc(frameHeaderBytes);
  /** Bytes of the preface, header or whole frame that are there. */
  #have = 0;
  #type = 0;
  #flags = 0;
  #id = 0;
  #length = 0;
  /** Payload bytes still to come, and padding behind them. */
  #left = 0;
  #padding = 0;
  #whole: Buffer = empty;
  #first = true;
  /** Frames begun. */
  frames = 0;

  /** @param expectPreface true for a server */
  constructor(sink: FrameSink, limits: H2Limits, maxFrameBytes: number, expectPreface: boolean) {
    this.#sink = sink;
    this.#limits = limits;
    this.#maxFrameBytes = maxFrameBytes;
    this.#state = expectPreface ? 'preface' : 'header';
  }

  /** True in the middle of a frame that a sender has no reason to interrupt, or of a header block. */
  get midFrame(): boolean {
    return (
      this.#state === 'whole' || this.#sink.continues !== 0 || (this.#state === 'header' && this.#have > 0)
    );
  }

  /** Nothing more is handed on. */
  stop(): void {
    this.#stopped = true;
  }

  /** Throws the Fault of the first frame that cannot be. */
  read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      switch (this.#state) {
        case 'header':
          at = this.#readHeader(chunk, at);
          break;
        case 'payload':
          at = this.#readPayload(chunk, at);
          break;
        case 'whole':
          at = this.#readWhole(chunk, at);
          break;
        case 'skip':
          at = this.#skip(chunk, at);
          break;
        case 'padLength':
          this.#beginData(chunk[at] ?? 0);
          at += 1;
          break;
        case 'preface':
          at = this.#readPreface(chunk, at);
          break;
      }
    }
  }

  #readPreface(chunk: Buffer, from: number): number {
    let at = from;
    while (at < chunk.length && this.#have < preface.length) {
      if (chunk[at] !== preface[this.#have]) {
        throw new Fault(
          'H2_BAD_PREFACE',
          ErrorCode.PROTOCOL_ERROR,
          'the first bytes are not the HTTP/2 preface',
        );
      }
      at += 1;
      this.#have += 1;
    }
    if (this.#have === preface.length) this.#expectHeader();
    return at;
  }

  #expectHeader(): void {
    this.#state = 'header';
    this.#have = 0;
  }

  #readHeader(chunk: Buffer, at: number): number {
    if (this.#have === 0 && chunk.length - at >= frameHeaderBytes) {
      this.#beginFrame(chunk, at);
      return this.#bodyInPlace(chunk, at + frameHeaderBytes);
    }
    const take = Math.min(frameHeaderBytes - this.#have, chunk.length - at);
    chunk.copy(this.#header, this.#have, at, at + take);
    this.#have += take;
    if (this.#have < frameHeaderBytes) return at + take;
    this.#beginFrame(this.#header, 0);
    return this.#bodyInPlace(chunk, at + take);
  }

  #beginFrame(source: Buffer, at: number): void {
    const length = ((source[at] ?? 0) << 16) | ((source[at + 1] ?? 0) << 8) | (source[at + 2] ?? 0);
    const type = source[at + 3] ?? 0;
    const flags = source[at + 4] ?? 0;
    const id = readUint32(source, at + 5) & 0x7fff_ffff;
    if (this.#first && (type !== FrameType.SETTINGS || (flags & FrameFlag.ACK) !== 0)) {
      throw new Fault('H2_BAD_PREFACE', ErrorCode.PROTOCOL_ERROR, 'the first frame is not SETTINGS');
    }
    this.#first = false;
    checkFrameHeader(type, flags, id, length, this.#maxFrameBytes, this.#limits);
    const { continues } = this.#sink;
    if ((type === FrameType.CONTINUATION) !== (continues !== 0) || (continues !== 0 && id !== continues)) {
      throw protocolFault('a header block that is interrupted, or goes on where none began');
    }
    this.frames += 1;
    this.#type = type;
    this.#flags = flags;
    this.#id = id;
    this.#length = length;
  }

  /** Begins the frame's body, whose first byte would be chunk[at]; returns where reading goes on. */
  #bodyInPlace(chunk: Buffer, at: number): number {
    const length = this.#length;
    if (this.#type === FrameType.DATA) {
      if ((this.#flags & FrameFlag.PADDED) === 0) this.#beginData(-1);
      else if (length === 0) throw protocolFault('padded DATA without a pad length');
      else this.#state = 'padLength';
      return at;
    }
    if (this.#type > FrameType.CONTINUATION) {
      this.#left = length;
      this.#state = 'skip';
      this.#sink.onFrame(this.#type, this.#flags, this.#id, empty, 0, 0);
      if (length === 0) this.#expectHeader();
      return at;
    }
    if (chunk.length - at >= length) {
      this.#expectHeader();
      this.#sink.onFrame(this.#type, this.#flags, this.#id, chunk, at, at + length);
      return at + length;
    }
    this.#whole = Buffer.allocUnsafe(length);
    this.#have = 0;
    this.#state = 'whole';
    return at;
  }

  #readWhole(chunk: Buffer, at: number): number {
    const take = Math.min(this.#length - this.#have, chunk.length - at);
    chunk.copy(this.#whole, this.#have, at, at + take);
    this.#have += take;
    if (this.#have === this.#length) {
      const whole = this.#whole;
      this.#whole = empty;
      this.#expectHeader();
      this.#sink.onFrame(this.#type, this.#flags, this.#id, whole, 0, whole.length);
    }
    return at + take;
  }

  /** @param padLength the frame's pad length, or -1 where it has none */
  #beginData(padLength: number): void {
    const padding = padLength + 1;
    if (padding > this.#length) throw protocolFault('padding longer than its frame');
    this.#left = this.#length - padding;
    this.#padding = Math.max(0, padLength);
    this.#state = 'payload';
    this.#sink.onData(this.#flags, this.#id, this.#length, padding);
    if (this.#left === 0) this.#endPayload();
  }

  #readPayload(chunk: Buffer, at: number): number {
    const available = chunk.length - at;
    if (available > this.#left) {
      const end = at + this.#left;
      this.#left = 0;
      this.#sink.onPayload(chunk.subarray(at, end));
      this.#endPayload();
      return end;
    }
    this.#left -= available;
    this.#sink.onPayload(at === 0 ? chunk : chunk.subarray(at));
    if (this.#left === 0) this.#endPayload();
    return chunk.length;
  }

  #endPayload(): void {
    this.#sink.onDataDone();
    this.#left = this.#padding;
    if (this.#left === 0) this.#expectHeader();
    else this.#state = 'skip';
  }

  #skip(chunk: Buffer, at: number): number {
    const take = Math.min(this.#left, chunk.length - at);
    this.#left -= take;
    if (this.#left === 0) this.#expectHeader();
    return at + take;
  }
}
