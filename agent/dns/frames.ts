/**
 * DNS messages in a TCP stream: two bytes of length, then the message (RFC 1035 §4.2.2).
 */
const prefix = 2;

/** The message as it goes on the wire. */
export function frame(message: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(prefix + message.length);
  bytes.writeUInt16BE(message.length, 0);
  message.copy(bytes, prefix);
  return bytes;
}

/** Takes a stream apart; holds at most what was pushed and not taken. */
export class FrameReader {
  #bytes: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
  }

  /** The next complete message, or null. */
  next(): Buffer | null {
    if (this.#bytes.length < prefix) return null;
    const end = prefix + this.#bytes.readUInt16BE(0);
    if (this.#bytes.length < end) return null;
    const message = this.#bytes.subarray(prefix, end);
    this.#bytes = this.#bytes.subarray(end);
    return message;
  }
}
