/** A directory of configuration that a test watches, and what it is made of. */
import { type DirectoryState, type WatchDirectoryOptions, watchDirectory } from '../../control/directory.ts';

/** What of a test is needed here. */
interface Test {
  teardown(ending: () => unknown): void;
}

/** A file with one object. */
export const account = (name: string, namespace = 'shop'): string =>
  `apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: ${name}, namespace: ${namespace} }\n`;

/** A watched directory whose states can be waited for. */
export class Watched {
  readonly states: DirectoryState[] = [];
  readonly errors: unknown[] = [];
  #waiting: (() => void)[] = [];
  close: () => Promise<void> = async () => {};

  static async open(
    t: Test,
    directory: string,
    options: Partial<WatchDirectoryOptions> = {},
  ): Promise<Watched> {
    const watched = new Watched();
    const watch = await watchDirectory(directory, {
      signal: new AbortController().signal,
      // What is seen is seen because the kernel told of it.
      rescanMs: 3_600_000,
      onError: error => watched.errors.push(error),
      ...options,
      onChange: state => {
        watched.#add(state);
        options.onChange?.(state);
      },
    });
    watched.close = () => watch.close();
    t.teardown(() => watch.close());
    watched.#add(watch.current);
    return watched;
  }

  get current(): DirectoryState {
    const state = this.states.at(-1);
    if (state === undefined) throw new Error('no state');
    return state;
  }

  /** Names of what is in force. */
  get names(): string[] {
    return namesOf(this.current);
  }

  /** Resolves when a state holds, the present one included; the test's own limit is the deadline. */
  async until(holds: (state: DirectoryState) => boolean): Promise<DirectoryState> {
    while (!holds(this.current)) await new Promise<void>(resolve => this.#waiting.push(resolve));
    return this.current;
  }

  #add(state: DirectoryState): void {
    this.states.push(state);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

export function namesOf(state: DirectoryState): string[] {
  return state.objects.map(({ name }) => name);
}

/** Whether exactly these are in force. */
export function has(...names: string[]): (state: DirectoryState) => boolean {
  return state => namesOf(state).join() === names.join();
}

export const hasErrors = (state: DirectoryState): boolean =>
  state.findings.some(({ severity }) => severity === 'error');
