/**
 * Our PINGs under way and who waits for their acknowledgement (RFC 9113 §6.7).
 */
import { readUint32, writeUint32 } from './frames.ts';
import type { FrameWriter } from './writer.ts';

/** @param rttMs round trip in milliseconds, or null when the connection ended before */
export type PingDone = (rttMs: number | null) => void;

interface Waiting {
  readonly sentAt: number;
  readonly done: PingDone;
}

export class Pings {
  readonly #writer: FrameWriter;
  readonly #now: () => number;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;

  constructor(writer: FrameWriter, now: () => number) {
    this.#writer = writer;
    this.#now = now;
  }

  send(done: PingDone): void {
    const payload = new Uint8Array(8);
    writeUint32(payload, 4, this.#next);
    this.#waiting.set(this.#next, { sentAt: this.#now(), done });
    this.#next = (this.#next + 1) >>> 0;
    this.#writer.ping(0, payload, 0);
  }

  /** Returns false for an acknowledgement of nothing that we sent. */
  acknowledged(source: Uint8Array, start: number): boolean {
    const number = readUint32(source, start + 4);
    const waiting = this.#waiting.get(number);
    if (waiting === undefined || readUint32(source, start) !== 0) return false;
    this.#waiting.delete(number);
    waiting.done(this.#now() - waiting.sentAt);
    return true;
  }

  abandon(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { done } of waiting) done(null);
  }
}
