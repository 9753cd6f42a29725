/**
 * Equal values once: thirty thousand workloads have few namespaces, nodes and sets of services between them.
 *
 * A pool forgets everything when it is full; what was shared stays shared, and sharing starts anew.
 */
const maxShared = 65_536;

/** Gives back the value that was made for `key` first. What is shared must not be changed. */
export class Pool<T> {
  readonly #values = new Map<string, T>();

  share(key: string, make: () => T): T {
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    if (this.#values.size >= maxShared) this.#values.clear();
    const made = make();
    this.#values.set(key, made);
    return made;
  }
}

const texts = new Pool<string>();
const lists = new Pool<readonly string[]>();
const none: readonly never[] = [];

/** The same text as one string. */
export function sharedText(text: string): string {
  return text === '' ? '' : texts.share(text, () => text);
}

/** The same list as one array. */
export function sharedList(items: readonly string[]): readonly string[] {
  return items.length === 0 ? none : lists.share(items.join('\n'), () => items.map(sharedText));
}
