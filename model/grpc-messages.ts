/**
 * Counts the messages of a gRPC stream by their prefixes: one byte of flags and a length of four
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Pure; looks at prefixes only.
 */
const prefixBytes = 5;

export class GrpcMessages {
  #count = 0;
  /** Bytes of the message under way that are still to come. */
  #left = 0;
  /** Bytes of a prefix that is not whole yet, and the length as far as it is known. */
  #prefix = 0;
  #length = 0;

  /** Messages whose prefix has come whole. */
  get count(): number {
    return this.#count;
  }

  take(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      if (this.#prefix > 0) this.#length = this.#length * 256 + (chunk[at] ?? 0);
      this.#prefix += 1;
      at += 1;
      if (this.#prefix < prefixBytes) continue;
      this.#count += 1;
      this.#left = this.#length;
      this.#prefix = 0;
      this.#length = 0;
    }
  }
}
