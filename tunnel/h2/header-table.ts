/**
 * The HPACK tables: the static one of RFC 7541 Appendix A and a connection's dynamic one (§2.3, §4).
 */

/** One header field. Names are lower case; strings hold one byte per character (latin1). */
export type HeaderField = readonly [name: string, value: string];

/** Index 1 is element 0. */
export const staticTable: readonly HeaderField[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
];

/** The first static index of each regular name, for literals with an indexed name. */
export const staticNames: ReadonlyMap<string, number> = new Map(
  [...staticTable.entries()]
    .toReversed()
    .filter(([, [name]]) => !name.startsWith(':'))
    .map(([at, [name]]) => [name, at + 1]),
);

/** The size that RFC 7541 §4.1 gives a field in a table, and RFC 9113 §6.5.2 in a header list. */
export function fieldSize(field: HeaderField): number {
  return field[0].length + field[1].length + 32;
}

/** A ring of the newest fields, bounded by their summed sizes. */
export class DynamicTable {
  #ring: (HeaderField | null)[] = [];
  #newest = 0;
  #count = 0;
  #size = 0;
  #maxSize: number;
  /** Changes whenever an index may come to mean another field than before. */
  generation = 0;

  /** @param maxSize bytes, as fieldSize counts them */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  get size(): number {
    return this.#size;
  }

  get count(): number {
    return this.#count;
  }

  /** @param age 0 is the newest field */
  at(age: number): HeaderField | null {
    if (age >= this.#count) return null;
    const slot = this.#newest - age;
    return this.#ring[slot < 0 ? slot + this.#ring.length : slot] ?? null;
  }

  /** Adds a field and evicts old ones for it; one that is larger than the table empties it (§4.4). */
  add(field: HeaderField): void {
    this.generation += 1;
    const size = fieldSize(field);
    this.#evict(this.#maxSize - size);
    if (size > this.#maxSize) return;
    if (this.#count === this.#ring.length) this.#grow();
    this.#newest = (this.#newest + 1) % this.#ring.length;
    this.#ring[this.#newest] = field;
    this.#count += 1;
    this.#size += size;
  }

  resize(maxSize: number): void {
    if (maxSize === this.#maxSize) return;
    this.#maxSize = maxSize;
    this.generation += 1;
    this.#evict(maxSize);
  }

  #evict(room: number): void {
    while (this.#count > 0 && this.#size > room) {
      const age = this.#count - 1;
      const oldest = this.at(age);
      if (oldest !== null) this.#size -= fieldSize(oldest);
      const slot = this.#newest - age;
      this.#ring[slot < 0 ? slot + this.#ring.length : slot] = null;
      this.#count -= 1;
    }
  }

  #grow(): void {
    const ordered: (HeaderField | null)[] = [];
    for (let age = this.#count - 1; age >= 0; age -= 1) ordered.push(this.at(age));
    const capacity = Math.max(8, this.#count * 2);
    while (ordered.length < capacity) ordered.push(null);
    this.#ring = ordered;
    this.#newest = this.#count === 0 ? capacity - 1 : this.#count - 1;
  }
}
