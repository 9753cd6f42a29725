/**
 * Things found by keys that several of them may share, kept small: most keys lead to exactly one, and that one stands
 * in the map itself.
 */
export class Lookup<T extends object> {
  readonly #found = new Map<string, T | Set<T>>();

  add(key: string, item: T): void {
    const known = this.#found.get(key);
    if (known === undefined) this.#found.set(key, item);
    else if (known instanceof Set) known.add(item);
    else if (known !== item) this.#found.set(key, new Set([known, item]));
  }

  remove(key: string, item: T): void {
    const known = this.#found.get(key);
    if (known === item) this.#found.delete(key);
    if (!(known instanceof Set)) return;
    known.delete(item);
    const [only] = known;
    if (known.size === 1 && only !== undefined) this.#found.set(key, only);
  }

  /** A snapshot: what is done with it may change the lookup. */
  get(key: string): readonly T[] {
    const known = this.#found.get(key);
    if (known === undefined) return [];
    return known instanceof Set ? [...known] : [known];
  }

  /** Number of keys that lead to something. */
  get size(): number {
    return this.#found.size;
  }
}
