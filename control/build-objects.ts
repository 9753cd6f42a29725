/**
 * The objects a mesh is built from, by kind, namespace and name, as they come and go: what the parts of the builder look
 * things up in, and which of them a change is about.
 *
 * Of two objects of one kind and name the first in file order is in force; the other is reported and waits.
 */
import { isDeepStrictEqual } from 'node:util';
import type { KindName } from '../model/kinds/registry.ts';
import type { FindingStore } from './build-findings.ts';
import {
  type Located,
  type LocatedObject,
  type Origin,
  compareLocated,
  findingAt,
  objectName,
} from './located.ts';

export interface Objects {
  /** Every object of a kind that is in force, in no order. */
  all<Name extends KindName>(kind: Name): Iterable<Located<Name>>;
  /** Those of one namespace. */
  in<Name extends KindName>(kind: Name, namespace: string): Iterable<Located<Name>>;
  /** The object of a name, null when there is none. Cluster-scoped kinds have the namespace ''. */
  get<Name extends KindName>(kind: Name, namespace: string, name: string): Located<Name> | null;
}

/** Names an object; `origin` where several of one kind and name can be there (files, two API groups). */
export type ObjectRef = Pick<LocatedObject, 'kind' | 'namespace' | 'name'> & {
  readonly origin?: Pick<Origin, 'file' | 'index'>;
};

export interface ObjectChanges {
  /** New objects, and those that replace one of the same kind, name and origin. */
  readonly set: readonly LocatedObject[];
  /** Applied before `set`. */
  readonly removed: readonly ObjectRef[];
}

/** What was in force under a name, and what is now. Never both null. */
export interface ObjectChange {
  readonly kind: KindName;
  readonly namespace: string;
  readonly name: string;
  readonly before: LocatedObject | null;
  readonly after: LocatedObject | null;
}

/** One object, or several of one name, the one in force first. */
type Holders = LocatedObject | readonly LocatedObject[];
type Named = Map<string, Holders>;

export class ObjectStore implements Objects {
  readonly #kinds = new Map<KindName, Map<string, Named>>();

  // A map holds only objects of its own kind; the compiler can not see the connection between key and value.

  *all<Name extends KindName>(kind: Name): Iterable<Located<Name>> {
    for (const named of this.#kinds.get(kind)?.values() ?? [])
      for (const holders of named.values()) yield first(holders) as unknown as Located<Name>;
  }

  *in<Name extends KindName>(kind: Name, namespace: string): Iterable<Located<Name>> {
    const named = this.#kinds.get(kind)?.get(namespace);
    for (const holders of named?.values() ?? []) yield first(holders) as unknown as Located<Name>;
  }

  get<Name extends KindName>(kind: Name, namespace: string, name: string): Located<Name> | null {
    const holders = this.#kinds.get(kind)?.get(namespace)?.get(name);
    return holders === undefined ? null : (first(holders) as unknown as Located<Name>);
  }

  /** Takes a change in; returns what is another in force than before. An object that says the same as before is none. */
  apply({ set, removed }: ObjectChanges, findings: FindingStore): ObjectChange[] {
    const before = new Map<string, ObjectChange>();
    const remember = (ref: ObjectRef): void => {
      const { kind, namespace, name } = ref;
      const key = `${kind}/${namespace}/${name}`;
      if (before.has(key)) return;
      before.set(key, { kind, namespace, name, before: this.get(kind, namespace, name), after: null });
    };
    for (const ref of removed) {
      remember(ref);
      this.#put(
        ref,
        holdersOf(this.#find(ref)).filter(object => !isSameRef(object, ref)),
      );
    }
    for (const object of set) {
      remember(object);
      const all = holdersOf(this.#find(object));
      const old = all.find(other => isSameRef(other, object));
      if (old !== undefined && saysTheSame(old, object)) continue;
      this.#put(object, [...all.filter(other => other !== old), object].sort(compareLocated));
    }
    const changes: ObjectChange[] = [];
    for (const change of before.values()) {
      reportDuplicates(change, holdersOf(this.#find(change)), findings);
      const after: LocatedObject | null = this.get(change.kind, change.namespace, change.name);
      if (after === change.before) continue;
      const isNews = after === null || change.before === null || !saysTheSame(change.before, after);
      if (isNews) changes.push({ ...change, after });
    }
    return changes;
  }

  #find({ kind, namespace, name }: ObjectRef): Holders | undefined {
    return this.#kinds.get(kind)?.get(namespace)?.get(name);
  }

  #put({ kind, namespace, name }: ObjectRef, holders: readonly LocatedObject[]): void {
    let namespaces = this.#kinds.get(kind);
    if (namespaces === undefined) this.#kinds.set(kind, (namespaces = new Map()));
    let named = namespaces.get(namespace);
    if (named === undefined) namespaces.set(namespace, (named = new Map()));
    const [only] = holders;
    if (only !== undefined) named.set(name, holders.length === 1 ? only : holders);
    else if (named.delete(name) && named.size === 0) namespaces.delete(namespace);
  }
}

function first(holders: Holders): LocatedObject {
  // A list of holders is never empty.
  return Array.isArray(holders) ? holders[0] : (holders as LocatedObject);
}

function holdersOf(holders: Holders | undefined): readonly LocatedObject[] {
  if (holders === undefined) return [];
  return Array.isArray(holders) ? holders : [holders as LocatedObject];
}

function isSameRef({ origin: own }: LocatedObject, { origin }: ObjectRef): boolean {
  return own.file === (origin?.file ?? null) && own.index === (origin?.index ?? 0);
}

/** Also at the same lines, since findings show them; objects without a file have none. */
function saysTheSame(a: LocatedObject, b: LocatedObject): boolean {
  const sameLines = a.origin.lines === b.origin.lines || a.origin.lines.size + b.origin.lines.size === 0;
  return sameLines && a.origin.file === b.origin.file && isDeepStrictEqual(a.value, b.value);
}

function reportDuplicates(
  change: ObjectChange,
  [inForce, ...others]: readonly LocatedObject[],
  findings: FindingStore,
): void {
  const place =
    inForce === undefined || inForce.origin.file === null
      ? ''
      : `, as ${inForce.origin.file}:${inForce.origin.lines.get('') ?? 1} says`;
  // What is in force has its namesakes in its own name, so one list holds what is said of all of them.
  findings.put(
    'duplicates',
    objectName(change),
    others.map(object =>
      findingAt(
        object,
        'error',
        'duplicate-object',
        '',
        `${objectName(object)} exists already: the first is in force${place}`,
      ),
    ),
  );
}
