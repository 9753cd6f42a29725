/**
 * Everything that clients can be told, by type and name, encoded once. Between build and serve: the builder's changes come
 * in, the feeds of each client (wildcard-feed.ts, keyed-feed.ts) read what their client has not heard yet.
 *
 * The store keeps nothing about clients but who waits for which key; a change costs what it has and who must hear it,
 * however many resources there are.
 */
import { ChangeLog } from './change-log.ts';
import { Lookup } from './lookup.ts';
import { frameOf, versionOf, type Offer, type Resource } from './resource.ts';

/** What changed of one type. Removed names that nobody knows, and content that is there already, count for nothing. */
export interface TypeChanges {
  readonly set: readonly Offer[];
  readonly removed: readonly string[];
}

/** Who reads a collection in the order of its changes. */
export interface Reader {
  /** Has been told everything up to this change. */
  readonly position: number;
}

/** Who waits for single resources. */
export interface Watcher {
  /** A resource that one of its keys leads or led to has changed, or is gone. */
  touch(name: string): void;
}

export const keyOf = {
  name: (name: string): string => `name ${name}`,
  alias: (alias: string): string => `alias ${alias}`,
  /** What is a part of the resource of this name. */
  part: (name: string): string => `part ${name}`,
  node: (node: string): string => `node ${node}`,
};

/** One list for the many that have nothing to list. */
const none: readonly string[] = [];

/** All resources of one type. */
export class Collection {
  readonly typeUrl: string;
  readonly #resources = new Map<string, Resource>();
  /** Removed ones that some reader has still to hear of. */
  readonly #gone = new Map<string, Resource>();
  readonly #log = new ChangeLog();
  readonly #byKey = new Lookup<Resource>();
  readonly #readers = new Set<Reader>();
  readonly #watchers = new Lookup<Watcher>();
  #last = 0;

  constructor(typeUrl: string) {
    this.typeUrl = typeUrl;
  }

  /** Number of the last change. */
  get last(): number {
    return this.#last;
  }

  get size(): number {
    return this.#resources.size;
  }

  get(name: string): Resource | null {
    return this.#resources.get(name) ?? null;
  }

  all(): IterableIterator<Resource> {
    return this.#resources.values();
  }

  /** Resources that an alias, a whole or a node leads to; see `keyOf`. */
  find(key: string): readonly Resource[] {
    return this.#byKey.get(key);
  }

  /** Changes after that number, removals included, oldest first. */
  after(sequence: number): Iterable<Resource> {
    return this.#log.after(sequence);
  }

  /** From now on removals are kept until this reader has passed them. */
  addReader(reader: Reader): void {
    this.#readers.add(reader);
  }

  removeReader(reader: Reader): void {
    this.#readers.delete(reader);
  }

  /** Number of keys that somebody waits for. */
  get watched(): number {
    return this.#watchers.size;
  }

  watch(key: string, watcher: Watcher): void {
    this.#watchers.add(key, watcher);
  }

  unwatch(key: string, watcher: Watcher): void {
    this.#watchers.remove(key, watcher);
  }

  /** Returns how many resources really changed. */
  apply(changes: TypeChanges): number {
    const before = this.#last;
    for (const name of changes.removed) this.#remove(name);
    for (const offer of changes.set) this.#set(offer);
    if (this.#last > before && this.#log.isWorthCleaning(this.#gone.size)) this.#clean();
    return this.#last - before;
  }

  #set(offer: Offer): void {
    const { name, content, aliases = none, partOf = none, node = null } = offer;
    const version = versionOf(content);
    const known = this.#resources.get(name);
    if (known?.version === version && known.node === node) return;
    this.#last += 1;
    if (known !== undefined) this.#unindex(known);
    const frame = frameOf(this.typeUrl, offer, version);
    const sequence = this.#last;
    const before = known ?? this.#gone.get(name);
    // Written out: an object that is put together of others takes half as much again.
    const resource = before ?? { name, sequence, since: sequence, version, frame, aliases, partOf, node };
    if (before !== undefined) Object.assign(before, { sequence, version, frame, aliases, partOf, node });
    this.#gone.delete(name);
    this.#resources.set(name, resource);
    this.#log.append(resource, before === undefined);
    this.#index(resource);
  }

  #remove(name: string): void {
    const resource = this.#resources.get(name);
    if (resource === undefined) return;
    this.#last += 1;
    this.#unindex(resource);
    Object.assign(resource, { sequence: this.#last, frame: null, aliases: none, partOf: none, node: null });
    this.#resources.delete(name);
    this.#gone.set(name, resource);
    this.#log.append(resource, false);
  }

  #index(resource: Resource): void {
    for (const key of keysOf(resource)) this.#byKey.add(key, resource);
    this.#tell(resource);
  }

  #unindex(resource: Resource): void {
    for (const key of keysOf(resource)) this.#byKey.remove(key, resource);
    this.#tell(resource);
  }

  /** Those who wait for it as it is now: called before a change and after it. */
  #tell(resource: Resource): void {
    for (const watcher of this.#watchers.get(keyOf.name(resource.name))) watcher.touch(resource.name);
    for (const key of keysOf(resource)) {
      for (const watcher of this.#watchers.get(key)) watcher.touch(resource.name);
    }
  }

  #clean(): void {
    const positions = Array.from(this.#readers, reader => reader.position);
    const passed = Math.min(this.#last, ...positions);
    this.#log.clean(resource => {
      if (resource.frame !== null || resource.sequence > passed) return true;
      this.#gone.delete(resource.name);
      return false;
    });
  }
}

function keysOf({ aliases, partOf, node }: Resource): string[] {
  return [
    ...aliases.map(keyOf.alias),
    ...partOf.map(keyOf.part),
    ...(node === null ? [] : [keyOf.node(node)]),
  ];
}

export class ResourceStore {
  readonly #collections = new Map<string, Collection>();
  readonly #listeners = new Set<() => void>();

  /** @param typeUrls the types there are; anything else is unknown to clients */
  constructor(typeUrls: readonly string[]) {
    for (const typeUrl of typeUrls) this.#collections.set(typeUrl, new Collection(typeUrl));
  }

  collection(typeUrl: string): Collection | null {
    return this.#collections.get(typeUrl) ?? null;
  }

  /** Takes changes of any types at once; clients hear of them together. Returns how many resources really changed. */
  apply(changes: Readonly<Record<string, TypeChanges>>): number {
    let changed = 0;
    for (const [typeUrl, change] of Object.entries(changes)) {
      const collection = this.#collections.get(typeUrl);
      if (collection === undefined) throw new Error(`no resources of type ${typeUrl} are served`);
      changed += collection.apply(change);
    }
    if (changed > 0) for (const listener of this.#listeners) listener();
    return changed;
  }

  /** Calls back after every change; returns what ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Number of resources by type. */
  sizes(): Record<string, number> {
    return Object.fromEntries(Array.from(this.#collections, ([typeUrl, { size }]) => [typeUrl, size]));
  }
}
