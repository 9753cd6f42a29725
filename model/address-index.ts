/**
 * Finds what answers at an address of a network: the index behind `Mesh` for workloads by IP and services by VIP.
 *
 * Nested maps, so that a lookup on the data path builds no key; almost every address has exactly one claim.
 */

/** What claims an address of a network, best claim first. */
export class AddressIndex<T> {
  readonly #networks = new Map<string, Map<string, readonly T[]>>();
  readonly #compare: (a: T, b: T) => number;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get(network: string, ip: string): readonly T[] {
    return this.#networks.get(network)?.get(ip) ?? [];
  }

  add(network: string, ip: string, item: T): void {
    let addresses = this.#networks.get(network);
    if (addresses === undefined) this.#networks.set(network, (addresses = new Map()));
    const others = (addresses.get(ip) ?? []).filter(other => other !== item);
    addresses.set(ip, [...others, item].sort(this.#compare));
  }

  remove(network: string, ip: string, item: T): void {
    const addresses = this.#networks.get(network);
    const others = (addresses?.get(ip) ?? []).filter(other => other !== item);
    if (others.length > 0) addresses?.set(ip, others);
    else addresses?.delete(ip);
  }
}
