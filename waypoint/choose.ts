/**
 * The choice of one endpoint among those that may be chosen: first the locality or level that a try goes to, then one of its
 * endpoints by the balancing of the policy.
 */
import { leastRequest, randomOne, RoundRobin } from '../model/balancers.ts';
import { HashTable } from '../model/hash-table.ts';
import { chooseLevel, isWithin, sharesFor, type LevelHealth } from '../model/nearness.ts';
import type { Balancing, TrafficPolicy } from '../model/traffic-policy.ts';
import type { Workload } from '../model/workload.ts';
import { farthest, type Member } from './member.ts';

export class Chooser {
  /** Numbers in [0, 1). */
  readonly #random: () => number;
  readonly #turns = new RoundRobin();
  #members: readonly Member[] = [];
  #table: HashTable | null = null;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** These are all there are from now on. */
  renew(members: readonly Member[], uids: ReadonlySet<string>): void {
    this.#members = members;
    this.#turns.keep(uids);
    this.#table = null;
  }

  /**
   * One of `fit`, null where there is none.
   * @param from where the waypoint is
   * @param hash of the key that leads to one endpoint; null: none
   */
  choose(
    policy: TrafficPolicy,
    fit: readonly Member[],
    from: Workload | null,
    hash: number | null,
  ): Member | null {
    return this.#choose(policy.balancing, this.#near(policy, fit, from), hash);
  }

  /** Those of the locality or level that this try goes to. */
  #near(policy: TrafficPolicy, fit: readonly Member[], from: Workload | null): readonly Member[] {
    const [only] = fit;
    const { locality, balancing } = policy;
    if (only === undefined) return fit;
    if (locality?.type === 'distribute') {
      const shares = sharesFor(locality.shares, from?.locality ?? null);
      return shares === null ? fit : this.#share(fit, shares);
    }
    if (fit.every(({ level }) => level === only.level)) return fit;
    const nearest = fit.reduce((least, { level }) => Math.min(least, level), only.level);
    // A key has to lead to one endpoint, so its level is not drawn.
    if (locality === null || balancing.type === 'hash') return fit.filter(({ level }) => level === nearest);
    const levels: LevelHealth[] = [];
    for (let level = 0; level <= farthest; level += 1) {
      const at = (one: Member): boolean => one.level === level;
      levels.push({ all: this.#members.filter(at).length, fit: fit.filter(at).length });
    }
    const chosen = chooseLevel(levels, this.#random());
    return fit.filter(({ level }) => level === chosen);
  }

  #share(
    fit: readonly Member[],
    shares: readonly { readonly locality: string; readonly weight: number }[],
  ): readonly Member[] {
    const groups = shares.map(({ locality, weight }) => {
      const isHere = ({ endpoint }: Member): boolean => isWithin(endpoint.workload.locality, locality);
      const [all, here] = [this.#members.filter(isHere), fit.filter(isHere)];
      // What falls out of a locality takes its part of the share with it, once it is more than some.
      const health = all.length === 0 ? 0 : Math.min(1, (here.length / all.length) * 1.4);
      return { here, uid: locality, weight: weight * health, active: 0 };
    });
    const chosen = randomOne(
      groups.filter(({ weight }) => weight > 0),
      this.#random,
    );
    return chosen?.here ?? [];
  }

  #choose(balancing: Balancing, members: readonly Member[], hash: number | null): Member | null {
    const random = this.#random;
    if (balancing.type === 'hash' && hash !== null) {
      this.#table ??= new HashTable(
        balancing.table,
        this.#members.map(({ uid, endpoint }) => ({ uid, capacity: endpoint.workload.capacity })),
      );
      const possible = new Set(members);
      const fits = (at: number): boolean => {
        const member = this.#members[at];
        return member !== undefined && possible.has(member);
      };
      const at = this.#table.pick(hash, fits);
      return at === null ? null : (this.#members[at] ?? null);
    }
    if (balancing.type === 'round-robin') return this.#turns.pick(members);
    return balancing.type === 'random' ? randomOne(members, random) : leastRequest(members, random);
  }
}
