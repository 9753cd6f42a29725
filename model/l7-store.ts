/**
 * What waypoints follow, held by one of them while it changes. A list in which nothing has changed stays the same array, so
 * that whoever made something from it need not make it again.
 */
import { emptyL7, type L7Change, type L7List, type L7Resource, type L7State } from './l7.ts';

export class L7Store {
  readonly #lists = new Map<L7List, Map<string, L7Resource>>();
  #state: L7State = emptyL7;

  /** Each list sorted by key. */
  get state(): L7State {
    return this.#state;
  }

  apply(changes: readonly L7Change[]): void {
    const touched = new Set<L7List>();
    for (const { list, key, resource } of changes) {
      let known = this.#lists.get(list);
      if (known === undefined) this.#lists.set(list, (known = new Map()));
      if (resource !== null) known.set(key, resource);
      else if (!known.delete(key)) continue;
      touched.add(list);
    }
    if (touched.size === 0) return;
    const lists = [...touched].map(list => [list, sorted(this.#lists.get(list) ?? new Map())] as const);
    this.#state = { ...this.#state, ...Object.fromEntries(lists) };
  }
}

function sorted(resources: ReadonlyMap<string, L7Resource>): L7Resource[] {
  return [...resources].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, resource]) => resource);
}
