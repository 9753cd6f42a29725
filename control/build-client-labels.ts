/**
 * Which workloads carry the labels that VirtualServices ask of clients (`sourceLabels`), as workloads and their labels come and go:
 * waypoints know workloads, not labels.
 */
import { selects } from '../model/workload.ts';

type Labels = Readonly<Record<string, string>>;

export interface ClientLabelsOptions {
  /** By uid. */
  readonly workloads: Pick<ReadonlyMap<string, unknown>, 'keys' | 'has'>;
  readonly labelsOf: (uid: string) => Labels | null;
}

interface Choice {
  readonly selector: Labels;
  readonly chosen: ReadonlySet<string>;
}

export class ClientLabels {
  readonly #options: ClientLabelsOptions;
  /** By who asked. */
  readonly #choices = new Map<string, Choice[]>();

  constructor(options: ClientLabelsOptions) {
    this.#options = options;
  }

  /** Uids, sorted. */
  choose(asker: string, selector: Labels): string[] {
    const chosen = [...this.#options.workloads.keys()].filter(uid => this.#has(uid, selector)).sort();
    const choices = this.#choices.get(asker) ?? [];
    this.#choices.set(asker, [...choices, { selector, chosen: new Set(chosen) }]);
    return chosen;
  }

  forget(asker: string): void {
    this.#choices.delete(asker);
  }

  /** Who would be answered in another way now, when these workloads may be others than they were. */
  stale(workloads: Iterable<string>): string[] {
    if (this.#choices.size === 0) return [];
    const uids = [...workloads];
    return [...this.#choices].flatMap(([asker, choices]) => {
      const isOther = choices.some(({ selector, chosen }) =>
        uids.some(uid => this.#has(uid, selector) !== chosen.has(uid)),
      );
      return isOther ? [asker] : [];
    });
  }

  #has(uid: string, selector: Labels): boolean {
    const { workloads, labelsOf } = this.#options;
    return workloads.has(uid) && selects(selector, labelsOf(uid) ?? {});
  }
}
