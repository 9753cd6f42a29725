/**
 * Who claims what only one can have: an address, a network namespace, a uid, a host name. Almost everything has one
 * claimant, which is kept without a list around it, since a large cluster has hundreds of thousands.
 */
export class Claims {
  readonly #claimants = new Map<string, string | readonly string[]>();

  of(key: string): readonly string[] {
    const claimants = this.#claimants.get(key);
    if (claimants === undefined) return [];
    return typeof claimants === 'string' ? [claimants] : claimants;
  }

  has(key: string): boolean {
    return this.#claimants.has(key);
  }

  /** Whether more than one claims it. */
  isContested(key: string): boolean {
    const claimants = this.#claimants.get(key);
    return claimants !== undefined && typeof claimants !== 'string';
  }

  add(key: string, claimant: string): void {
    const others = this.of(key);
    if (others.length === 0) this.#claimants.set(key, claimant);
    else if (!others.includes(claimant)) this.#claimants.set(key, [...others, claimant]);
  }

  remove(key: string, claimant: string): void {
    const others = this.of(key).filter(other => other !== claimant);
    const [only] = others;
    if (only === undefined) this.#claimants.delete(key);
    else this.#claimants.set(key, others.length === 1 ? only : others);
  }
}
