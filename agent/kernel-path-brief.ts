/**
 * Passages that have opened and ended since the last look, which most of a busy service's are: their books are kept in bulk.
 * The first of a kind goes the way of all others (kernel-path-passages.ts) and says how: those that follow in the same
 * batch of events differ from it in the client's port, times and bytes only, and are added without an object for each.
 */
import { formatHostPort } from '../model/address.ts';
import type { Connection } from './connections.ts';
import { pathSizes } from './kernel-path-abi.ts';
import { sizes } from './redirect-abi.ts';
import type { ConnectionKind } from './observe.ts';

/** Where in an event of 32-bit words things are. */
const word = (bytes: number): number => bytes / 4;
const eventWords = word(pathSizes.pathEvent);
const atNs = word(8);
const passage = word(24);
const ports = passage + word(40);
const sourceNetns = passage + word(sizes.flow);
const openedNs = sourceNetns + word(8);
const slot = openedNs + word(8);
const ends = slot + word(8);
const endWords = word(pathSizes.passageEnd);
/** Within an end: its socket, its cookie, bytes sent and received, then state and error. */
const [sent, received, state] = [word(16), word(24), word(32)];
const closed = ends + 2 * endWords;
const twoTo32 = 0x1_0000_0000;

interface Kind {
  /** An event of it. */
  readonly at: number;
  readonly address: string;
  readonly books: ConnectionKind;
}

/** One batch of events. */
export class BriefPassages {
  readonly #words: Uint32Array;
  readonly #kinds = new Map<number, Kind[]>();

  /** @param bytes of `path_events`, aligned */
  constructor(bytes: Buffer) {
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / 4));
  }

  /** Adds the passage whose end event `index` is to the books, if one of its kind has been there. */
  add(index: number): boolean {
    const at = index * eventWords;
    const kind = this.#kinds.get(this.#word(at + slot))?.find(known => this.#alike(known.at, at));
    if (kind === undefined) return false;
    const opener = at + ends;
    const server = opener + endWords;
    const up = this.#long(opener + sent) + this.#long(server + received);
    const down = this.#long(server + sent) + this.#long(opener + received);
    const lasted = this.#long(at + atNs) - this.#long(at + openedNs);
    kind.books.add(formatHostPort(kind.address, this.#sourcePort(at)), up, down, lasted / 1e6);
    return true;
  }

  /** The connection of event `index` ended well: those like it are kept by these books. */
  learn(index: number, connection: Connection, books: ConnectionKind): void {
    const at = index * eventWords;
    const kinds = this.#kinds.get(this.#word(at + slot)) ?? [];
    kinds.push({ at, address: connection.source.address, books });
    this.#kinds.set(this.#word(at + slot), kinds);
  }

  /** All that is not of one connection alone is the same: who, where to, by which verdict, and how it ended. */
  #alike(one: number, other: number): boolean {
    const same = (from: number, to: number): boolean => {
      for (let at = from; at < to; at += 1) if (this.#word(one + at) !== this.#word(other + at)) return false;
      return true;
    };
    return (
      same(passage, ports) &&
      this.#word(one + ports) >>> 16 === this.#word(other + ports) >>> 16 &&
      same(ports + 1, openedNs) &&
      same(slot, ends) &&
      same(ends + state, ends + endWords) &&
      same(ends + endWords + state, closed) &&
      same(closed + 1, eventWords)
    );
  }

  #sourcePort(at: number): number {
    const both = this.#word(at + ports);
    return ((both & 0xff) << 8) | ((both >>> 8) & 0xff);
  }

  /** Up to 2^53, which is a hundred days in nanoseconds. */
  #long(at: number): number {
    return this.#word(at) + this.#word(at + 1) * twoTo32;
  }

  #word(at: number): number {
    return this.#words[at] ?? 0;
  }
}
