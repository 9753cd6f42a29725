/**
 * The inotify watches of a directory tree, one for each directory, kept equal to what a walk has found.
 */
import { type FSWatcher, watch } from 'node:fs';
import type { DirectoryIdentity } from './directory-walk.ts';

export interface DirectoryEvent {
  /** The directory, relative to the root; null for one that only links point into. */
  readonly directory: string | null;
  /** The entry it is about; null where the kernel did not say. */
  readonly name: string | null;
}

interface Held {
  readonly watcher: FSWatcher;
  readonly id: string;
}

export class DirectoryWatchers {
  readonly #onEvent: (event: DirectoryEvent) => void;
  readonly #held = new Map<string, Held>();
  #problem: string | null = null;

  constructor(onEvent: (event: DirectoryEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** Why some directory is not watched, null when all are. */
  get problem(): string | null {
    return this.#problem;
  }

  /**
   * Watches exactly these directories, by absolute path.
   * @returns whether some are watched only from now on, so that what happened before may have been missed
   */
  sync(directories: ReadonlyMap<string, DirectoryIdentity>): boolean {
    let added = false;
    this.#problem = null;
    for (const [path, { watcher, id }] of this.#held) {
      if (directories.get(path)?.id === id) continue;
      watcher.close();
      this.#held.delete(path);
    }
    for (const [absolute, identity] of directories) {
      if (!this.#held.has(absolute) && this.#open(absolute, identity)) added = true;
    }
    return added;
  }

  close(): void {
    for (const { watcher } of this.#held.values()) watcher.close();
    this.#held.clear();
  }

  #open(absolute: string, { path, id }: DirectoryIdentity): boolean {
    try {
      const watcher = watch(absolute, (_, name) => this.#onEvent({ directory: path, name }));
      watcher.on('error', () => {
        watcher.close();
        this.#held.delete(absolute);
        this.#onEvent({ directory: path, name: null });
      });
      this.#held.set(absolute, { watcher, id });
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The kernel's limit on watches (fs.inotify.max_user_watches) or on open files.
      this.#problem = `${absolute}: ${code ?? String(error)}`;
      return false;
    }
  }
}
