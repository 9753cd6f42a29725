/** A Secret that several replicas share, in memory. */
import type { BundleStore } from '../../control/authority-store.ts';

export class MemoryStore implements BundleStore {
  readonly name = 'Secret test/authority';
  /** Fails every access with this. */
  failure: Error | null = null;
  #text: string | null;
  readonly #listeners = new Set<() => void>();

  constructor(text: string | null = null) {
    this.#text = text;
  }

  async read(): Promise<string | null> {
    if (this.failure !== null) throw this.failure;
    return this.#text;
  }

  async create(bundle: string): Promise<'made' | 'exists'> {
    if (this.failure !== null) throw this.failure;
    if (this.#text !== null) return 'exists';
    this.replace(bundle);
    return 'made';
  }

  onChange(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  replace(text: string | null): void {
    this.#text = text;
    for (const listener of this.#listeners) listener();
  }

  get listeners(): number {
    return this.#listeners.size;
  }
}
