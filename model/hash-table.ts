/**
 * Consistent hashing: the same key leads to the same endpoint, and an endpoint that comes, goes or is passed over moves
 * only what was its own. A ring of points (Karger), or the table of Maglev (Eisenbud and others, §3.4).
 */
import type { HashTable as Shape } from './traffic-policy.ts';

export interface Hashed {
  /** What it is hashed by. */
  readonly uid: string;
  /** Its share, relative to the others'. */
  readonly capacity: number;
}

/** A number from 0 to 2^32-1 that a text always has: FNV-1a, mixed by the end of MurmurHash3. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export class HashTable {
  readonly #count: number;
  /** Position of the endpoint at each slot. */
  readonly #owners: Uint32Array;
  /** Where the slots of a ring are, ascending; null: slots are all alike. */
  readonly #points: Uint32Array | null;

  constructor(shape: Shape, endpoints: readonly Hashed[]) {
    this.#count = endpoints.length;
    if (endpoints.length === 0) {
      this.#owners = new Uint32Array(0);
      this.#points = null;
    } else if (shape.type === 'maglev') {
      this.#owners = maglev(shape.size, endpoints);
      this.#points = null;
    } else {
      const { owners, points } = ring(shape.minimumSize, endpoints);
      this.#owners = owners;
      this.#points = points;
    }
  }

  /**
   * The position of the endpoint for a key, null where none fits.
   * @param fits whether the endpoint at a position may be used: for what is not, the next slots are looked at
   */
  pick(hash: number, fits: (position: number) => boolean): number | null {
    const owners = this.#owners;
    const { length } = owners;
    if (length === 0) return null;
    const start = this.#points === null ? hash % length : firstFrom(this.#points, hash);
    const seen = new Set<number>();
    for (let step = 0; step < length && seen.size < this.#count; step += 1) {
      const owner = owners[(start + step) % length] ?? 0;
      if (seen.has(owner)) continue;
      if (fits(owner)) return owner;
      seen.add(owner);
    }
    return null;
  }
}

function ring(
  minimumSize: number,
  endpoints: readonly Hashed[],
): { owners: Uint32Array; points: Uint32Array } {
  const total = endpoints.reduce((sum, { capacity }) => sum + capacity, 0);
  // Hash and owner in one number each, so that the machine's own sort does it.
  const packed: number[] = [];
  for (const [owner, { uid, capacity }] of endpoints.entries()) {
    const points = Math.max(1, Math.ceil((minimumSize * capacity) / total));
    for (let point = 0; point < points; point += 1) packed.push(hash32(`${uid}#${point}`) * 2 ** 21 + owner);
  }
  const sorted = Float64Array.from(packed).sort();
  return {
    owners: Uint32Array.from(sorted, value => value % 2 ** 21),
    points: Uint32Array.from(sorted, value => Math.floor(value / 2 ** 21)),
  };
}

/** The first point that is not before a hash; the ring is closed. */
function firstFrom(points: Uint32Array, hash: number): number {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((points[middle] ?? 0) < hash) low = middle + 1;
    else high = middle;
  }
  return low === points.length ? 0 : low;
}

/** @param size a prime: so each endpoint's sequence comes to every slot */
function maglev(size: number, endpoints: readonly Hashed[]): Uint32Array {
  const largest = endpoints.reduce((most, { capacity }) => Math.max(most, capacity), 0);
  const turns = endpoints.map(({ uid, capacity }) => ({
    at: hash32(uid) % size,
    skip: (hash32(`${uid}#skip`) % (size - 1)) + 1,
    share: capacity / largest,
    owed: 0,
  }));
  const free = 0xffffffff;
  const owners = new Uint32Array(size).fill(free);
  let filled = 0;
  for (;;) {
    for (const [owner, turn] of turns.entries()) {
      turn.owed += turn.share;
      if (turn.owed < 1) continue;
      turn.owed -= 1;
      while (owners[turn.at] !== free) turn.at = (turn.at + turn.skip) % size;
      owners[turn.at] = owner;
      filled += 1;
      if (filled === size) return owners;
    }
  }
}
