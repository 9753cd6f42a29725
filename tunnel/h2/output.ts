/**
 * Everything that leaves a connection: bytes are gathered in one buffer and handed to the transport in few, large writes.
 *
 * At most one write is under way; what comes meanwhile is gathered behind it. A lone answer leaves at once; where many streams
 * are busy, frames wait for the end of the turn of the event loop. A TLSSocket encrypts a write of one buffer in
 * place, while a vector of buffers is first copied together, so copying payloads here costs nothing extra. Buffers come
 * from a small pool: an idle connection holds none.
 */
import type { Duplex } from 'node:stream';

/** Bytes gathered before DATA has to wait for the transport. */
const gatherBytes = 131_072;
/** Gathered bytes that are worth a write before the turn of the event loop is over. */
const earlyFlushBytes = 65_536;
/** Room behind gatherBytes for frames that do not wait. */
const slackBytes = 4096;
const pooledBuffers = 8;

const pool: Buffer[] = [];
const nothing = Buffer.alloc(0);

function takeBuffer(): Buffer {
  return pool.pop() ?? Buffer.allocUnsafeSlow(gatherBytes + slackBytes);
}

function giveBuffer(buffer: Buffer): void {
  if (buffer.length === gatherBytes + slackBytes && pool.length < pooledBuffers) pool.push(buffer);
}

export interface OutputOwner {
  /** The transport took what was written: DATA may be gathered again. */
  onOutputDrained(): void;
  /** More bytes are owed to a peer that does not read than it may make us keep. */
  onOutputOverflow(): void;
}

export class Output {
  readonly #transport: Duplex;
  readonly #owner: OutputOwner;
  readonly #maxOwedBytes: number;
  /** Where reserve() makes room; written up to `fill`. */
  buffer: Buffer = nothing;
  fill = 0;
  bytesWritten = 0;
  #owed = 0;
  #writing: Buffer | null = null;
  #scheduled = false;
  #held = false;
  /** Frames came while a write was under way: gathering for a whole turn pays. */
  #busy = false;
  /** Frames gathered since the last write. */
  #frames = 0;
  #closed = false;

  /** @param maxOwedBytes of frames that the peer provoked and does not read */
  constructor(transport: Duplex, owner: OutputOwner, maxOwedBytes: number) {
    this.#transport = transport;
    this.#owner = owner;
    this.#maxOwedBytes = maxOwedBytes;
  }

  /** Bytes that may be gathered before they have to wait for the transport; 0 or less when it is saturated. */
  get room(): number {
    return gatherBytes - this.fill;
  }

  /** Makes room for `bytes` behind `fill` and returns `fill`. What is written there counts only once committed. */
  reserve(bytes: number): number {
    if (this.buffer.length - this.fill < bytes) this.#makeRoom(bytes);
    return this.fill;
  }

  /** Takes the bytes up to `end` into the output. `owed` of them are answers that a peer can provoke. */
  commit(end: number, owed: number): void {
    if (this.#closed) return;
    this.fill = end;
    this.#frames += 1;
    if (owed > 0) this.#owe(owed);
    if (this.#writing !== null || this.#held) return;
    if (end >= earlyFlushBytes) this.flush();
    else this.#schedule();
  }

  /** While held, nothing is written: release() follows in the same turn. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    if (this.#writing !== null || this.fill === 0) return;
    if (this.#busy && this.fill < earlyFlushBytes) this.#schedule();
    else this.flush();
  }

  /** Hands what is gathered to the transport. */
  flush(): void {
    if (this.fill === 0 || this.#closed) return;
    const { buffer, fill } = this;
    this.buffer = nothing;
    this.fill = 0;
    this.#owed = 0;
    this.#busy &&= this.#frames > 1;
    this.#frames = 0;
    this.#writing = buffer;
    this.bytesWritten += fill;
    this.#transport.write(buffer.subarray(0, fill), this.#onWritten);
  }

  /** Writes what is left, also behind a write under way, and ends the transport. */
  finish(): void {
    if (this.#closed) return;
    this.flush();
    this.#transport.end();
    this.close();
  }

  /** Drops what is left. Buffers that the transport may still read are left to it. */
  close(): void {
    this.#closed = true;
    this.#writing = null;
    this.buffer = nothing;
    this.fill = 0;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (this.#busy) setImmediate(this.#onTurn);
    else process.nextTick(this.#onTurn);
  }

  readonly #onTurn = (): void => {
    this.#scheduled = false;
    if (this.#writing === null) this.flush();
  };

  readonly #onWritten = (error?: Error | null): void => {
    const written = this.#writing;
    this.#writing = null;
    if (written === null || this.#closed) return;
    if (this.fill > 0) this.#busy = true;
    giveBuffer(written);
    if (error === null || error === undefined) this.#owner.onOutputDrained();
  };

  #owe(bytes: number): void {
    const before = this.#owed;
    this.#owed += bytes;
    // Told later: whoever is writing here is in the middle of something.
    if (before <= this.#maxOwedBytes && this.#owed > this.#maxOwedBytes)
      process.nextTick(() => this.#owner.onOutputOverflow());
  }

  #makeRoom(bytes: number): void {
    const wanted = this.fill + bytes;
    const larger = wanted <= gatherBytes + slackBytes ? takeBuffer() : Buffer.allocUnsafeSlow(wanted * 2);
    this.buffer.copy(larger, 0, 0, this.fill);
    giveBuffer(this.buffer);
    this.buffer = larger;
  }
}
