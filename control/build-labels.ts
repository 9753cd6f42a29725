/**
 * Selectors and what they choose, in both directions: which members carry the labels a selector names, and which
 * selectors choose a member. Both look at few, however many there are.
 */
import { selects } from '../model/workload.ts';

type Labels = Readonly<Record<string, string>>;

/** Something that selectors choose. */
export interface Labelled {
  readonly uid: string;
  readonly namespace: string;
  readonly labels: Labels;
}

type Some<T> = T | Map<string, T>;

/** Members by namespace and by single labels. A member is replaced by adding it again under its uid. */
export class LabelIndex<T extends Labelled> {
  readonly #namespaces = new Map<string, Map<string, T>>();
  /** Namespace → key → value → members. Many values have one member (the name of a pod of a StatefulSet). */
  readonly #labels = new Map<string, Map<string, Map<string, Some<T>>>>();

  add(member: T): void {
    const { uid, namespace, labels } = member;
    mapIn(this.#namespaces, namespace).set(uid, member);
    const keys = mapIn(this.#labels, namespace);
    for (const [key, value] of Object.entries(labels)) {
      const values = mapIn(keys, key);
      const some = values.get(value);
      if (some instanceof Map) some.set(uid, member);
      else if (some === undefined || some.uid === uid) values.set(value, member);
      else
        values.set(
          value,
          new Map([
            [some.uid, some],
            [uid, member],
          ]),
        );
    }
  }

  remove({ uid, namespace, labels }: T): void {
    const members = this.#namespaces.get(namespace);
    if (members?.delete(uid) === true && members.size === 0) this.#namespaces.delete(namespace);
    const keys = this.#labels.get(namespace);
    for (const [key, value] of Object.entries(labels)) {
      const values = keys?.get(key);
      const some = values?.get(value);
      if (some instanceof Map ? some.delete(uid) && some.size === 0 : some?.uid === uid)
        values?.delete(value);
      if (values?.size === 0) keys?.delete(key);
    }
    if (keys?.size === 0) this.#labels.delete(namespace);
  }

  namespaces(): Iterable<string> {
    return this.#namespaces.keys();
  }

  in(namespace: string): Iterable<T> {
    return this.#namespaces.get(namespace)?.values() ?? [];
  }

  /** The members of a namespace that carry every label of `selector`; an empty one selects them all. */
  select(namespace: string, selector: Labels): T[] {
    let fewest: Some<T> | undefined;
    for (const [key, value] of Object.entries(selector)) {
      const some = this.#labels.get(namespace)?.get(key)?.get(value);
      if (some === undefined) return [];
      if (fewest === undefined || sizeOf(some) < sizeOf(fewest)) fewest = some;
    }
    const candidates =
      fewest === undefined ? this.in(namespace) : fewest instanceof Map ? fewest.values() : [fewest];
    return [...candidates].filter(member => selects(selector, member.labels));
  }
}

interface Selecting {
  /** Null: it chooses in every namespace. */
  readonly namespace: string | null;
  readonly selector: Labels;
}

/** Selectors by name, filed under one of their labels. One without labels is not for here: it chooses by namespace. */
export class SelectorIndex {
  readonly #selectors = new Map<string, Selecting>();
  readonly #filed = new Map<string, Set<string>>();

  set(id: string, namespace: string | null, selector: Labels): void {
    this.delete(id);
    const place = placeOf({ namespace, selector });
    if (place === null) return;
    this.#selectors.set(id, { namespace, selector });
    const ids = this.#filed.get(place);
    if (ids === undefined) this.#filed.set(place, new Set([id]));
    else ids.add(id);
  }

  delete(id: string): void {
    const selecting = this.#selectors.get(id);
    const place = selecting === undefined ? null : placeOf(selecting);
    if (place === null) return;
    this.#selectors.delete(id);
    const ids = this.#filed.get(place);
    if (ids?.delete(id) === true && ids.size === 0) this.#filed.delete(place);
  }

  get(id: string): Selecting | null {
    return this.#selectors.get(id) ?? null;
  }

  /** The names of those that choose a member. */
  choosing({ namespace, labels }: Omit<Labelled, 'uid'>): string[] {
    const found: string[] = [];
    for (const [key, value] of Object.entries(labels)) {
      for (const scope of [namespace, null]) {
        for (const id of this.#filed.get(placeName(scope, key, value)) ?? []) {
          if (selects(this.#selectors.get(id)?.selector ?? {}, labels)) found.push(id);
        }
      }
    }
    return found;
  }
}

function placeOf({ namespace, selector }: Selecting): string | null {
  const [label] = Object.entries(selector);
  return label === undefined ? null : placeName(namespace, label[0], label[1]);
}

function placeName(namespace: string | null, key: string, value: string): string {
  return `${namespace ?? ''}\0${key}\0${value}`;
}

function sizeOf(some: Labelled | Map<string, Labelled>): number {
  return some instanceof Map ? some.size : 1;
}

function mapIn<K, V>(maps: Map<string, Map<K, V>>, key: string): Map<K, V> {
  let map = maps.get(key);
  if (map === undefined) maps.set(key, (map = new Map()));
  return map;
}
