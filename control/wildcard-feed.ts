/**
 * The feed of a client that wants every resource of a type: a number up to which it has heard the changes, and nothing
 * for each resource, so that a thousand clients of thirty thousand resources cost no memory.
 *
 * A client that comes back says what it has. That is compared once; what differs is told first.
 */
import { Batch, sizeOf, type Feed, type KnownVersions, type News } from './feed.ts';
import type { Resource } from './resource.ts';
import { type Collection, type Reader, keyOf } from './resources.ts';

export class WildcardFeed implements Feed, Reader {
  readonly #collection: Collection;
  #position: number;
  /** What a client that came back lacks or has in another version, as of `#position`. */
  readonly #behind = new Map<string, Resource>();
  /** What it has and what is no more. */
  readonly #vanished = new Set<string>();

  constructor(collection: Collection, known: KnownVersions) {
    this.#collection = collection;
    this.#position = known.size === 0 ? 0 : collection.last;
    if (known.size > 0) this.#compare(known);
    collection.addReader(this);
  }

  get position(): number {
    return this.#position;
  }

  get hasNews(): boolean {
    return this.#position < this.#collection.last || this.#behind.size > 0 || this.#vanished.size > 0;
  }

  /** Tells these, though the client has them; that there are none of others. */
  ask(names: readonly string[]): void {
    for (const name of names) {
      const named = this.#collection.get(name);
      const found = named === null ? this.#collection.find(keyOf.alias(name)) : [named];
      if (found.length === 0) this.#vanished.add(name);
      for (const resource of found) this.#behind.set(resource.name, resource);
    }
  }

  take(maxBytes: number): News {
    const batch = new Batch();
    for (const name of this.#vanished) {
      if (batch.bytes > maxBytes) return batch.news(false);
      this.#vanished.delete(name);
      // What has come into being since is told of as a change.
      if (this.#collection.get(name) === null) batch.remove(name);
    }
    for (const [name, resource] of this.#behind) {
      if (batch.bytes > maxBytes) return batch.news(false);
      this.#behind.delete(name);
      if (resource.sequence <= this.#position && resource.frame !== null) batch.add(resource.frame);
    }
    const from = this.#position;
    for (const resource of this.#collection.after(from)) {
      if (batch.bytes > maxBytes) return batch.news(false);
      this.#position = resource.sequence;
      if (resource.frame !== null) batch.add(resource.frame);
      // One that came and went in between was never known to it.
      else if (resource.since <= from) batch.remove(resource.name);
    }
    this.#position = this.#collection.last;
    return batch.news(true);
  }

  exceeds(bytes: number): boolean {
    let left = bytes - this.#vanished.size;
    for (const resource of this.#behind.values()) if ((left -= sizeOf(resource)) < 0) return true;
    for (const resource of this.#collection.after(this.#position))
      if ((left -= sizeOf(resource)) < 0) return true;
    return left < 0;
  }

  close(): void {
    this.#collection.removeReader(this);
  }

  #compare(known: KnownVersions): void {
    const { behind, vanished } = comparison(this.#collection, known);
    for (const resource of behind) this.#behind.set(resource.name, resource);
    for (const name of vanished) this.#vanished.add(name);
  }
}

interface Comparison {
  readonly collection: Collection;
  /** Last change that it takes into account. */
  readonly last: number;
  readonly behind: readonly Resource[];
  readonly vanished: readonly string[];
}

/** After a restart many clients come back that know the same (known-versions.ts), one right after the other. */
const comparisons = new WeakMap<KnownVersions, Comparison>();

function comparison(collection: Collection, known: KnownVersions): Comparison {
  const before = comparisons.get(known);
  if (before?.collection === collection && before.last === collection.last) return before;
  const behind: Resource[] = [];
  let same = 0;
  for (const resource of collection.all()) {
    const version = known.get(resource.name);
    if (version !== undefined) same += 1;
    if (version !== resource.version) behind.push(resource);
  }
  const isAllThere = same === known.size;
  const vanished = isAllThere ? [] : [...known.keys()].filter(name => collection.get(name) === null);
  const made = { collection, last: collection.last, behind, vanished };
  comparisons.set(known, made);
  return made;
}
