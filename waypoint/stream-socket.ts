/**
 * A tunnel's stream as the kind of thing that Node's HTTP works on: a Duplex that ends, halves and breaks as a socket does.
 */
import { Duplex } from 'node:stream';
import { CulvertError } from '../base/errors.ts';
import type { H2Stream, H2StreamHandlers } from '../tunnel/h2/stream.ts';

const CANCEL = 0x8;
const NO_ERROR = 0;

type WriteDone = (error?: Error | null) => void;

export class StreamSocket extends Duplex implements H2StreamHandlers {
  readonly #stream: H2Stream;
  /** Of the chunk that the stream keeps until its window opens. */
  #written: WriteDone | null = null;
  #isReset = false;
  #isHeld = false;

  /** Takes over an open stream; it is to be resumed by the first read. */
  constructor(stream: H2Stream) {
    super({ allowHalfOpen: true, highWaterMark: 64 * 1024 });
    this.#stream = stream;
    stream.handlers = this;
  }

  override _read(): void {
    if (!this.#isHeld) this.#stream.resume();
  }

  /** Nothing more is taken from the peer, whoever reads; what has come already goes on. */
  hold(): void {
    this.#isHeld = true;
    this.#stream.pause();
  }

  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (!this.#isReset && !this.#stream.closed) this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: WriteDone): void {
    if (this.#isReset || this.#stream.write(chunk)) done();
    else this.#written = done;
  }

  override _writev(chunks: { chunk: Buffer }[], done: WriteDone): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', done);
  }

  override _final(done: WriteDone): void {
    if (!this.#isReset) this.#stream.end();
    done();
  }

  override _destroy(error: Error | null, done: WriteDone): void {
    // After an end of ours that was sent, the peer is only told that nothing more of its is wanted.
    const isDone = error === null && this.writableFinished;
    if (!this.#isReset && !this.#stream.closed) this.#stream.reset(isDone ? NO_ERROR : CANCEL);
    this.#isReset = true;
    done(error);
  }

  /** As of net.Socket: ends, and closes once everything has been sent. */
  destroySoon(): void {
    this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  onData(chunk: Buffer): void {
    if (!this.push(chunk)) this.#stream.pause();
  }

  onEnd(): void {
    this.push(null);
  }

  onDrain(): void {
    const done = this.#written;
    this.#written = null;
    done?.();
  }

  onReset(code: number, cause: CulvertError | null): void {
    this.#isReset = true;
    this.onDrain();
    if (code === NO_ERROR && cause === null) this.push(null);
    else
      this.destroy(cause ?? new CulvertError('PEER_RESET', `the stream was reset with HTTP/2 error ${code}`));
  }
}
