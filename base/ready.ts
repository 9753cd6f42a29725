/**
 * Readiness by named tasks: the process is ready when each has been done, and says which are not.
 *
 * A task is declared before its work starts, so that a scrape in between can't find an empty list and take it for
 * readiness. A task may come undone (a lost BPF link, no shard running).
 */
import type { HttpRoutes } from './http.ts';

export interface ReadyTask {
  readonly name: string;
  readonly isDone: boolean;
  done(): void;
  /** Not done any more; `why` is shown to whoever asks. */
  undo(why?: string): void;
}

export class Ready {
  /** Tasks that are not done, with what is known about why. */
  readonly #pending = new Map<string, string | null>();
  readonly #names = new Set<string>();
  readonly #onChange: (ready: boolean) => void;
  #wasReady = false;

  /** @param onChange called at each change between ready and not ready */
  constructor(onChange: (ready: boolean) => void = () => {}) {
    this.#onChange = onChange;
  }

  /** Declares a task, pending. Throws when the name is taken. */
  task(name: string): ReadyTask {
    if (this.#names.has(name)) throw new Error(`readiness task "${name}" exists already`);
    this.#names.add(name);
    this.#pending.set(name, null);
    this.#changed();
    const pending = this.#pending;
    return {
      name,
      get isDone() {
        return !pending.has(name);
      },
      done: () => {
        pending.delete(name);
        this.#changed();
      },
      undo: why => {
        pending.set(name, why ?? null);
        this.#changed();
      },
    };
  }

  /** False while nothing has been declared. */
  get ready(): boolean {
    return this.#names.size > 0 && this.#pending.size === 0;
  }

  /** Names of pending tasks in the order they became so, with the reason in brackets where there is one. */
  pending(): string[] {
    return [...this.#pending].map(([name, why]) => (why === null ? name : `${name} (${why})`));
  }

  /** `ready`, or what a person reads who wonders why not. */
  toString(): string {
    if (this.ready) return 'ready';
    return this.#names.size === 0
      ? 'not ready, starting'
      : `not ready, pending: ${this.pending().join(', ')}`;
  }

  #changed(): void {
    if (this.ready === this.#wasReady) return;
    this.#wasReady = this.ready;
    this.#onChange(this.ready);
  }
}

/**
 * `GET /healthz/ready`: 200 or 500, as kubelets and other meshes' tooling expect. `draining` makes it 500 as well.
 * `GET /healthz/live`: 200 from whoever still turns its event loop; a kubelet starts a process anew that does not.
 */
export function readyRoutes(ready: Ready, isDraining: () => boolean = () => false): HttpRoutes {
  return {
    'GET /healthz/ready': () => {
      if (isDraining()) return { status: 500, body: 'not ready, draining\n' };
      return { status: ready.ready ? 200 : 500, body: `${ready.toString()}\n` };
    },
    'GET /healthz/live': () => ({ status: 200, body: 'alive\n' }),
  };
}
