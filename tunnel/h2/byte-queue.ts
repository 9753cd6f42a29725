/**
 * Bytes that wait: received for a paused stream, or written to one whose window is spent.
 *
 * Large chunks are kept as they are, small ones are copied together, so that a peer sending one byte a frame cannot
 * make us keep a hundred bytes of objects for each.
 */
const copiedBelowBytes = 4096;
const firstSlabBytes = 1024;
const largestSlabBytes = 16_384;
const empty = Buffer.alloc(0);

export class ByteQueue {
  /** Bytes in the queue. */
  length = 0;
  readonly #chunks: Buffer[] = [];
  #head = 0;
  /** Bytes of the head chunk that are gone. */
  #offset = 0;
  /** Where small chunks are gathered; becomes a chunk when full or when a large one follows. */
  #slab: Buffer = empty;
  #slabUsed = 0;
  /** What the last slab was made with; the next is twice as large. */
  #slabBytes = 0;

  /** Returns whether the chunk itself is kept, rather than a copy of its bytes. */
  push(chunk: Buffer): boolean {
    this.length += chunk.length;
    if (chunk.length >= copiedBelowBytes) {
      this.#seal();
      this.#chunks.push(chunk);
      return true;
    }
    if (this.#slab.length - this.#slabUsed < chunk.length) {
      this.#seal();
      this.#slabBytes = Math.min(
        largestSlabBytes,
        Math.max(firstSlabBytes, this.#slabBytes * 2, chunk.length),
      );
      this.#slab = Buffer.allocUnsafeSlow(this.#slabBytes);
    }
    this.#slab.set(chunk, this.#slabUsed);
    this.#slabUsed += chunk.length;
    return false;
  }

  /** The first bytes of the queue, at least one unless it is empty; they stay in it until skip(). */
  peek(): Buffer {
    if (this.#head === this.#chunks.length) this.#seal();
    const chunk = this.#chunks[this.#head];
    if (chunk === undefined) return empty;
    return this.#offset === 0 ? chunk : chunk.subarray(this.#offset);
  }

  /** Drops the first `count` bytes, which peek() has shown. */
  skip(count: number): void {
    this.length -= count;
    this.#offset += count;
    if (this.#offset < (this.#chunks[this.#head]?.length ?? 0)) return;
    this.#chunks[this.#head] = empty;
    this.#offset = 0;
    this.#head += 1;
    if (this.#head === this.#chunks.length) {
      this.#chunks.length = 0;
      this.#head = 0;
    }
  }

  #seal(): void {
    if (this.#slabUsed === 0) return;
    this.#chunks.push(this.#slab.subarray(0, this.#slabUsed));
    this.#slab = this.#slab.subarray(this.#slabUsed);
    this.#slabUsed = 0;
  }
}
