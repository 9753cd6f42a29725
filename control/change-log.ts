/**
 * The order in which resources changed, each standing at its last change only: a client that has heard everything up to
 * some number needs what stands behind it, however long ago that was.
 *
 * Memory is that of the resources and of removals that somebody still has to hear of, not of the number of changes.
 */
import type { Resource } from './resource.ts';

/** Entries beside the living ones before it is worth to clean up. */
const slack = 1_000;

export class ChangeLog {
  #sequences: number[] = [];
  #resources: Resource[] = [];
  /** Entries that a later change of the same resource has made pointless. */
  #stale = 0;

  /** Notes that the resource has changed; `resource.sequence` is the number of that change, higher than all before. */
  append(resource: Resource, isNew: boolean): void {
    if (!isNew) this.#stale += 1;
    this.#sequences.push(resource.sequence);
    this.#resources.push(resource);
  }

  /** Resources that changed after `sequence`, in the order of their last changes. */
  *after(sequence: number): Generator<Resource> {
    const sequences = this.#sequences;
    const resources = this.#resources;
    for (let at = this.#find(sequence); at < sequences.length; at += 1) {
      const resource = resources[at];
      if (resource !== undefined && resource.sequence === sequences[at]) yield resource;
    }
  }

  get length(): number {
    return this.#sequences.length;
  }

  isWorthCleaning(removed: number): boolean {
    return this.#stale + removed > slack + (this.#sequences.length - this.#stale - removed) / 2;
  }

  /** Leaves out what `keep` refuses, and what is stale. */
  clean(keep: (resource: Resource) => boolean): void {
    const sequences: number[] = [];
    const resources: Resource[] = [];
    for (const [at, resource] of this.#resources.entries()) {
      if (resource.sequence !== this.#sequences[at] || !keep(resource)) continue;
      sequences.push(resource.sequence);
      resources.push(resource);
    }
    this.#sequences = sequences;
    this.#resources = resources;
    this.#stale = 0;
  }

  /** Index of the first entry after `sequence`. */
  #find(sequence: number): number {
    let low = 0;
    let high = this.#sequences.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sequences[middle] ?? 0) <= sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
