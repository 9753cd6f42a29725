/**
 * What a client knows of the resources of one type: names and versions, to ask for what changed and no more.
 *
 * The resources themselves are with whoever takes the updates. All of it outlives the stream it came by.
 */
import type { Known, Reading, Refusal } from './reading.ts';

export interface TypeState {
  /** Whether a whole state has come once; it stays so while disconnected, since the last state holds. */
  readonly synced: boolean;
  readonly resources: number;
  /** Resources whose newest version could not be used, or only the harshest way. */
  readonly refused: readonly Refusal[];
}

export class Knowledge implements Known {
  readonly #versions = new Map<string, string>();
  readonly #services = new Set<string>();
  readonly #refused = new Map<string, string>();
  #synced = false;

  /** Name to version, as the first request on a stream has it. */
  get versions(): ReadonlyMap<string, string> {
    return this.#versions;
  }

  get synced(): boolean {
    return this.#synced;
  }

  has(name: string): boolean {
    return this.#versions.has(name);
  }

  isService(name: string): boolean {
    return this.#services.has(name);
  }

  /** To be called when the update is in force. `isPart`: what follows belongs to the same state. */
  learn(reading: Reading, isPart = false): void {
    const { delta, nodePods, l7 } = reading.update;
    for (const removed of [
      delta.removedWorkloads,
      delta.removedServices,
      delta.removedPolicies,
      nodePods.removed,
      l7.removed,
    ]) {
      for (const name of removed) this.#forget(name);
    }
    for (const { name, version, isService } of reading.remember) {
      this.#versions.set(name, version);
      this.#refused.delete(name);
      if (isService) this.#services.add(name);
    }
    for (const { name, reason } of reading.refused) this.#refused.set(name, reason);
    if (!isPart) this.#synced = true;
  }

  state(): TypeState {
    const refused = [...this.#refused].map(([name, reason]) => ({ name, reason }));
    return { synced: this.#synced, resources: this.#versions.size, refused };
  }

  #forget(name: string): void {
    this.#versions.delete(name);
    this.#services.delete(name);
    this.#refused.delete(name);
  }
}
