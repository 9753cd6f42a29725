/**
 * The file that tells the CNI plugin which namespaces belong to the mesh while no agent answers: a new pod of these waits,
 * every other starts. Beside the CNI configuration, since it must outlive a reboot of the node.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Its name among the CNI configuration, where runtimes pass over it. */
export const enrolledNamespacesFile = 'culvert-enrolled-namespaces';

export class EnrolledNamespaces {
  readonly #path: string;
  #names: ReadonlySet<string>;

  /** Knows what an earlier agent has written. */
  constructor(path: string) {
    this.#path = path;
    this.#names = new Set(read(path));
  }

  has(namespace: string): boolean {
    return this.#names.has(namespace);
  }

  /** Replaces the file as a whole, if anything has changed. */
  set(enrolled: readonly string[], excluded: readonly string[]): void {
    const names = enrolled.filter(name => !excluded.includes(name)).toSorted();
    if (names.join() === [...this.#names].join()) return;
    mkdirSync(dirname(this.#path), { recursive: true });
    const fresh = `${this.#path}.new`;
    writeFileSync(fresh, names.map(name => `${name}\n`).join(''), { mode: 0o644 });
    renameSync(fresh, this.#path);
    this.#names = new Set(names);
  }

  remove(): void {
    rmSync(this.#path, { force: true });
    this.#names = new Set();
  }
}

function read(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
