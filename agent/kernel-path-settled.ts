/**
 * Passages whose records end before the kernel has told of their end: cut by policy, or gone from the table unheard of. So that
 * what is told of them later begins no second record; and a record that is just ending gets its last numbers from it.
 */
import type { Connection } from './connections.ts';

/** What was to be told is told by then; some ends have found no room among the events. */
const toldMs = 5_000;

export class SettledPassages {
  readonly #settled = new Map<bigint, { readonly since: number; readonly connection: Connection }>();

  add(id: bigint, connection: Connection): void {
    this.#settled.set(id, { since: performance.now(), connection });
  }

  has(id: bigint): boolean {
    return this.#settled.has(id);
  }

  /** The kernel tells that it is over. Returns whose record knew so already, null where there is none. */
  take(id: bigint): Connection | null {
    const settled = this.#settled.get(id);
    if (settled === undefined) return null;
    this.#settled.delete(id);
    return settled.connection;
  }

  /** @param present those that the kernel still has */
  prune(present: ReadonlySet<bigint>): void {
    for (const [id, { since }] of this.#settled)
      if (!present.has(id) && performance.now() - since > toldMs) this.#settled.delete(id);
  }

  clear(): void {
    this.#settled.clear();
  }
}
