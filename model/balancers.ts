/**
 * The choice of one endpoint among those that are fit: by turns, by how busy they are, or at random, each by its weight.
 */

/** An endpoint that may be chosen. */
export interface Candidate {
  readonly uid: string;
  /** Its share, relative to the others'; more than 0. */
  readonly weight: number;
  /** Requests that it has at the moment. */
  readonly active: number;
}

/** By weight. */
export function randomOne<C extends Candidate>(candidates: readonly C[], random: () => number): C | null {
  const [first] = candidates;
  if (first === undefined) return null;
  if (candidates.every(({ weight }) => weight === first.weight))
    return candidates[Math.floor(random() * candidates.length)] ?? first;
  let left = random() * candidates.reduce((sum, { weight }) => sum + weight, 0);
  return candidates.find(({ weight }) => (left -= weight) < 0) ?? candidates.at(-1) ?? null;
}

/** Of two at random the one with less to do for its weight (Mitzenmacher, the power of two choices). */
export function leastRequest<C extends Candidate>(candidates: readonly C[], random: () => number): C | null {
  const one = randomOne(candidates, random);
  if (one === null || candidates.length === 1) return one;
  const other = randomOne(candidates, random);
  if (other === null) return one;
  const [busy, idle] = [one.active / one.weight, other.active / other.weight];
  return idle < busy ? other : one;
}

/**
 * By turns, so that even a few in a row are spread by weight. Each has a credit that grows by its weight; the greatest is
 * served and pays for all.
 */
export class RoundRobin {
  readonly #credits = new Map<string, number>();

  pick<C extends Candidate>(candidates: readonly C[]): C | null {
    let [total, most] = [0, Number.NEGATIVE_INFINITY];
    let chosen: C | null = null;
    for (const candidate of candidates) {
      const credit = (this.#credits.get(candidate.uid) ?? 0) + candidate.weight;
      this.#credits.set(candidate.uid, credit);
      total += candidate.weight;
      if (credit > most) [chosen, most] = [candidate, credit];
    }
    if (chosen !== null) this.#credits.set(chosen.uid, most - total);
    return chosen;
  }

  /** Forgets those that are no endpoints any more. */
  keep(uids: ReadonlySet<string>): void {
    for (const uid of this.#credits.keys()) if (!uids.has(uid)) this.#credits.delete(uid);
  }
}
