/**
 * The feed of a client that wants some resources: those it names, by name or alias, with what is part of them (the
 * workloads of a service), and those of its own node. It knows what the client has, as far as the client needs it.
 *
 * A collection may be confined to nodes (`confined`): then a client sees its own node's and asks for others in vain.
 */
import { Batch, type Feed, type KnownVersions, type News } from './feed.ts';
import { frameWithAliases, type Resource } from './resource.ts';
import { type Collection, type Watcher, keyOf } from './resources.ts';

export interface KeyedFeedOptions {
  /** The caller's node, as its token says it; null for a caller without one. */
  readonly node: string | null;
  /** Nothing of other nodes is told, whoever asks. */
  readonly confined: boolean;
  /** What the client has already. */
  readonly known: KnownVersions;
}

export class KeyedFeed implements Feed, Watcher {
  readonly #collection: Collection;
  readonly #node: string | null;
  readonly #confined: boolean;
  /** Names and aliases that it asked for. */
  readonly #asked = new Set<string>();
  /** Names of the resources these lead to, whose parts it wants too. */
  readonly #wholes = new Set<string>();
  /** Name → version that it has. */
  readonly #told: Map<string, string>;
  /** Names to look at anew. */
  readonly #touched = new Set<string>();
  /** Asked for just now: told even if it has them. */
  readonly #again = new Set<string>();
  /** Asked for, and there is nothing. */
  readonly #missing = new Set<string>();

  constructor(collection: Collection, options: KeyedFeedOptions) {
    this.#collection = collection;
    this.#node = options.node;
    this.#confined = options.confined;
    this.#told = new Map(options.known);
    for (const name of options.known.keys()) {
      this.#mind(name);
      this.#touched.add(name);
    }
    if (this.#node === null) return;
    collection.watch(keyOf.node(this.#node), this);
    for (const { name } of collection.find(keyOf.node(this.#node))) this.#touched.add(name);
  }

  /** Names it has asked for. */
  get asked(): ReadonlySet<string> {
    return this.#asked;
  }

  /** What it has. */
  get told(): KnownVersions {
    return this.#told;
  }

  get hasNews(): boolean {
    return this.#touched.size > 0 || this.#missing.size > 0;
  }

  touch(name: string): void {
    this.#touched.add(name);
  }

  ask(names: readonly string[]): void {
    for (const name of names) {
      this.#asked.add(name);
      this.#mind(name);
      this.#collection.watch(keyOf.alias(name), this);
      const found = this.#lookup(name);
      for (const resource of found) {
        this.#touched.add(resource.name);
        this.#again.add(resource.name);
      }
      if (found.length === 0) this.#missing.add(name);
    }
  }

  /** It does not ask for these any more. What it gets anyway is told again, as the client may have forgotten it. */
  forget(names: readonly string[]): void {
    for (const name of names) {
      if (!this.#asked.delete(name)) continue;
      this.#missing.delete(name);
      this.#collection.unwatch(keyOf.alias(name), this);
      for (const resource of this.#lookup(name)) {
        this.#touched.add(resource.name);
        this.#again.add(resource.name);
      }
      this.#mind(name);
    }
  }

  take(maxBytes: number): News {
    const batch = new Batch();
    for (const name of this.#missing) {
      this.#missing.delete(name);
      // Unless it has come into being in the meantime.
      if (this.#lookup(name).length > 0) continue;
      this.#told.delete(name);
      batch.remove(name);
    }
    // What is a whole is settled first, or a part might be told and taken back at once.
    for (const name of this.#touched) this.#follow(name);
    // Parts come before their whole, even if it takes several responses: who has a service has all its endpoints.
    for (const wholes of [false, true]) {
      for (const name of this.#touched) {
        if (this.#wholes.has(name) !== wholes) continue;
        if (batch.bytes > maxBytes) return batch.news(false);
        this.#touched.delete(name);
        this.#settle(name, batch);
      }
    }
    return batch.news(true);
  }

  exceeds(bytes: number): boolean {
    let left = bytes;
    for (const name of this.#touched) {
      if ((left -= this.#collection.get(name)?.frame?.length ?? name.length) < 0) return true;
    }
    return false;
  }

  close(): void {
    for (const name of this.#asked) {
      this.#collection.unwatch(keyOf.name(name), this);
      this.#collection.unwatch(keyOf.alias(name), this);
    }
    for (const name of this.#told.keys()) this.#collection.unwatch(keyOf.name(name), this);
    for (const name of this.#wholes) this.#collection.unwatch(keyOf.part(name), this);
    if (this.#node !== null) this.#collection.unwatch(keyOf.node(this.#node), this);
  }

  #settle(name: string, batch: Batch): void {
    const resource = this.#collection.get(name);
    const again = this.#again.delete(name);
    if (resource !== null && this.#isWanted(resource)) {
      if (!again && this.#told.get(name) === resource.version) return;
      const frame = frameWithAliases(resource);
      if (frame === null) return;
      batch.add(frame);
      this.#told.set(name, resource.version);
    } else if (this.#told.delete(name)) {
      batch.remove(name);
    }
    this.#mind(name);
  }

  /** Hears of a name that was asked for or told, whatever else leads there or no longer does. */
  #mind(name: string): void {
    if (this.#asked.has(name) || this.#told.has(name)) this.#collection.watch(keyOf.name(name), this);
    else this.#collection.unwatch(keyOf.name(name), this);
  }

  /** Parts are wanted as long as their whole is asked for. */
  #follow(name: string): void {
    const resource = this.#collection.get(name);
    const asked = resource !== null && this.#isVisible(resource) && this.#isAsked(resource);
    if (asked === this.#wholes.has(name)) return;
    if (asked) {
      this.#wholes.add(name);
      this.#collection.watch(keyOf.part(name), this);
    } else {
      this.#wholes.delete(name);
      this.#collection.unwatch(keyOf.part(name), this);
    }
    for (const part of this.#collection.find(keyOf.part(name))) this.#touched.add(part.name);
  }

  #lookup(asked: string): Resource[] {
    const named = this.#collection.get(asked);
    const found = this.#collection.find(keyOf.alias(asked));
    return (named === null ? found : [named, ...found]).filter(resource => this.#isVisible(resource));
  }

  #isVisible({ node }: Resource): boolean {
    return !this.#confined || (node !== null && node === this.#node);
  }

  #isAsked({ name, aliases }: Resource): boolean {
    return this.#asked.has(name) || aliases.some(alias => this.#asked.has(alias));
  }

  #isWanted(resource: Resource): boolean {
    if (!this.#isVisible(resource)) return false;
    if (resource.node !== null && resource.node === this.#node) return true;
    return this.#isAsked(resource) || resource.partOf.some(whole => this.#wholes.has(whole));
  }
}
