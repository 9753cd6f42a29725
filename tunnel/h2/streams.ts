/**
 * The streams of one connection by id, and what an id without a stream means.
 *
 * Frames may still be on their way for a stream that we have reset; they are no fault of the peer as long as it could have sent
 * them before it knew. For that the last resets are remembered with the window that was open.
 */
import type { Stream } from './stream.ts';

/** Resets that are remembered. Older ones are given the benefit of the doubt. */
const rememberedResets = 256;

/**
 * idle: never used, so no frame may name it. reset: we reset it, late frames are ignored. closed: the peer has ended or
 * reset it and may send nothing that needs it.
 */
export type Absence = 'idle' | 'reset' | 'closed';

export class Streams {
  readonly #role: 'client' | 'server';
  readonly #open = new Map<number, Stream>();
  /** Ids we reset, oldest first, and how many bytes the peer may still have had under way on each. */
  readonly #resets = new Map<number, number>();
  #forgottenUpTo = 0;
  /** The highest id that the peer has used; 0 if none. */
  lastPeerId = 0;
  /** The id that our next stream would get. */
  nextLocalId = 1;
  /** Streams that left the table with bytes that their owners have not taken. */
  lingering = 0;

  constructor(role: 'client' | 'server') {
    this.#role = role;
  }

  get open(): number {
    return this.#open.size;
  }

  all(): IterableIterator<Stream> {
    return this.#open.values();
  }

  get(id: number): Stream | undefined {
    return this.#open.get(id);
  }

  add(stream: Stream): void {
    this.#open.set(stream.id, stream);
  }

  remove(stream: Stream): void {
    this.#open.delete(stream.id);
  }

  /** Why there is no stream of this id. Only clients open streams, with odd ids. */
  absence(id: number): Absence {
    if (id % 2 === 0) return 'idle';
    if (this.#role === 'server' ? id > this.lastPeerId : id >= this.nextLocalId) return 'idle';
    return this.#resets.has(id) || id <= this.#forgottenUpTo ? 'reset' : 'closed';
  }

  /** @param window bytes that the peer could send on the stream before it learns of the reset */
  rememberReset(id: number, window: number): void {
    if (this.#resets.size >= rememberedResets) {
      for (const oldest of this.#resets.keys()) {
        this.#resets.delete(oldest);
        this.#forgottenUpTo = Math.max(this.#forgottenUpTo, oldest);
        break;
      }
    }
    this.#resets.set(id, window);
  }

  /** DATA came late for a stream that we reset; false when it is more than the window had allowed. */
  takeLate(id: number, bytes: number): boolean {
    const window = this.#resets.get(id);
    if (window === undefined) return true;
    this.#resets.set(id, window - bytes);
    return bytes <= window;
  }

  /** The peer reset or ended it too: nothing more may come. Returns whether that was news. */
  settleReset(id: number): boolean {
    return this.#resets.delete(id);
  }
}
