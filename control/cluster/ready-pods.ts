/** How many pods of each waypoint are ready, as pods come and go. */
import { gatewayName } from '../../model/kinds/marks.ts';
import type { LocatedObject } from '../located.ts';

export class ReadyPods {
  /** By `namespace/name` of the Gateway, the names of pods. */
  readonly #ready = new Map<string, Set<string>>();

  /** Takes a change of a pod. */
  apply(before: LocatedObject | null, after: LocatedObject | null): void {
    const was = keyOf(before);
    if (was !== null && before !== null) {
      const names = this.#ready.get(was);
      names?.delete(before.name);
      if (names?.size === 0) this.#ready.delete(was);
    }
    const is = keyOf(after);
    if (is === null || after === null) return;
    let names = this.#ready.get(is);
    if (names === undefined) this.#ready.set(is, (names = new Set()));
    names.add(after.name);
  }

  count(namespace: string, gateway: string): number {
    return this.#ready.get(`${namespace}/${gateway}`)?.size ?? 0;
  }
}

/** The waypoint that a pod is a ready pod of; null for every other. */
function keyOf(object: LocatedObject | null): string | null {
  if (object?.kind !== 'Pod') return null;
  const { metadata, status } = object.value;
  const gateway = metadata.labels[gatewayName];
  if (gateway === undefined || metadata.deletionTimestamp !== undefined) return null;
  const isReady =
    status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
  return isReady ? `${object.namespace}/${gateway}` : null;
}
