/**
 * Which wanted names are answered by which resources: a resource has a name and aliases (`<network>/<ip>`), and is removed
 * by its name alone. A name is missing again when the last resource that stood for it is gone or has let go of it.
 */
export class ProvidedNames {
  /** Resource → the wanted names that it stands for. */
  readonly #names = new Map<string, readonly string[]>();
  /** Wanted name → the resources that stand for it. */
  readonly #resources = new Map<string, Set<string>>();

  /** A resource is there with these of the wanted names; returns those that nothing stands for any more. */
  set(resource: string, names: readonly string[]): readonly string[] {
    for (const name of names) {
      const resources = this.#resources.get(name);
      if (resources === undefined) this.#resources.set(name, new Set([resource]));
      else resources.add(resource);
    }
    const before = this.#names.get(resource) ?? [];
    if (names.length > 0) this.#names.set(resource, names);
    else this.#names.delete(resource);
    return before.filter(name => !names.includes(name) && this.#letGo(resource, name));
  }

  /** Whether that was the last one. */
  #letGo(resource: string, name: string): boolean {
    const resources = this.#resources.get(name);
    resources?.delete(resource);
    if (resources === undefined || resources.size > 0) return false;
    this.#resources.delete(name);
    return true;
  }
}
