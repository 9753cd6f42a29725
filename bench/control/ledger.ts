/**
 * What the light agents of one process know of one type: a number for each name and each version, and for each agent the
 * version it has of each name. A thousand agents that know thirty thousand resources take a hundred megabytes together.
 */
import { knownVersion } from './wire.ts';

/** Numbers for texts, from 1 on. */
class Numbers {
  readonly texts: string[] = [''];
  readonly #numbers = new Map<string, number>();

  of(text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const number = this.texts.push(text) - 1;
    this.#numbers.set(text, number);
    return number;
  }
}

/** Names that one agent may know beside those it knew before, at once. */
const growth = 1_024;

export class Ledger {
  readonly #names = new Numbers();
  readonly #versions = new Numbers();
  /** When some agent has last accepted a version of a name, by its number. */
  readonly #acceptedAt: number[] = [];
  #encodedOf: Uint32Array | null = null;
  #encoded = Buffer.alloc(0);

  /** Forgets when what was accepted. */
  restart(): void {
    this.#acceptedAt.length = 0;
  }

  knowledge(): Known {
    return new Known(this.#names, this.#versions);
  }

  accepted(names: readonly number[], at: number): void {
    for (const name of names) this.#acceptedAt[name] = at;
  }

  /** Name → when the last agent of this process accepted it, since `restart`. */
  times(): [name: string, at: number][] {
    const times: [string, number][] = [];
    this.#acceptedAt.forEach((at, name) => times.push([this.#names.texts[name] ?? '', at]));
    return times;
  }

  /** What an agent has, as its first request says it. Those who know the same share the bytes. */
  encode(known: Known): Buffer {
    if (this.#encodedOf === null || !known.equals(this.#encodedOf)) {
      this.#encoded = Buffer.concat(
        // As real agents send them: those of equal knowledge send equal bytes.
        [...known.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(entry => knownVersion(...entry)),
      );
      this.#encodedOf = known.copy();
    }
    return this.#encoded;
  }
}

/** What one agent knows. */
export class Known {
  readonly #names: Numbers;
  readonly #versions: Numbers;
  #held = new Uint32Array(0);

  constructor(names: Numbers, versions: Numbers) {
    this.#names = names;
    this.#versions = versions;
  }

  /** Returns the number of the name. */
  set(name: string, version: string): number {
    const number = this.#names.of(name);
    if (number >= this.#held.length) {
      const larger = new Uint32Array(this.#names.texts.length + growth);
      larger.set(this.#held);
      this.#held = larger;
    }
    this.#held[number] = this.#versions.of(version);
    return number;
  }

  remove(name: string): void {
    const number = this.#names.of(name);
    if (number < this.#held.length) this.#held[number] = 0;
  }

  /** Name and version of everything that it has. */
  *entries(): Generator<[name: string, version: string]> {
    for (const [name, version] of this.#held.entries())
      if (version !== 0) yield [this.#names.texts[name] ?? '', this.#versions.texts[version] ?? ''];
  }

  copy(): Uint32Array {
    return this.#held.slice();
  }

  equals(held: Uint32Array): boolean {
    const shorter = Math.min(held.length, this.#held.length);
    const longer = held.length > shorter ? held : this.#held;
    return (
      bytes(held, 0, shorter).equals(bytes(this.#held, 0, shorter)) &&
      longer.subarray(shorter).every(version => version === 0)
    );
  }
}

function bytes(numbers: Uint32Array, from: number, to: number): Buffer {
  return Buffer.from(numbers.buffer, numbers.byteOffset + from * 4, (to - from) * 4);
}
