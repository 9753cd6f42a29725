/**
 * Names that somebody waits for, where a client does not want the whole of a type but what it is asked about.
 *
 * A name that was asked for stays subscribed, so that its later changes come too. Names that nothing has, such as the
 * addresses somebody scans for, are given up from the oldest on when there are too many.
 */
export type Answer = 'found' | 'missing';

interface Wanted {
  answer: Answer | null;
  readonly waiting: Set<(answer: Answer) => void>;
}

export class WantedNames {
  readonly #limit: number;
  readonly #wanted = new Map<string, Wanted>();
  #missing = 0;
  /** To be said on the stream. */
  readonly #added = new Set<string>();
  readonly #dropped = new Set<string>();

  /** How many names without an answer `found` are kept. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** All of them, to subscribe to on a new stream. What `changes` had to say is said with that. */
  all(): readonly string[] {
    this.#added.clear();
    this.#dropped.clear();
    return [...this.#wanted.keys()];
  }

  /** Those without an answer. */
  pending(): readonly string[] {
    return [...this.#wanted].filter(([, { answer }]) => answer === null).map(([name]) => name);
  }

  get size(): number {
    return this.#wanted.size;
  }

  has(name: string): boolean {
    return this.#wanted.has(name);
  }

  /** How many there are by their answer. */
  counts(): Readonly<Record<Answer | 'pending', number>> {
    const counts = { found: 0, missing: 0, pending: 0 };
    for (const { answer } of this.#wanted.values()) counts[answer ?? 'pending'] += 1;
    return counts;
  }

  /** What to subscribe to and unsubscribe from since the last call. */
  changes(): { readonly added: readonly string[]; readonly dropped: readonly string[] } {
    const changes = { added: [...this.#added], dropped: [...this.#dropped] };
    this.#added.clear();
    this.#dropped.clear();
    return changes;
  }

  /** Calls back once with the answer, at once when there is one; returns what ends that. */
  want(name: string, callback: (answer: Answer) => void): () => void {
    let wanted = this.#wanted.get(name);
    if (wanted === undefined) {
      wanted = { answer: null, waiting: new Set() };
      this.#wanted.set(name, wanted);
      if (!this.#dropped.delete(name)) this.#added.add(name);
    }
    const { answer, waiting } = wanted;
    if (answer !== null) {
      callback(answer);
      return () => {};
    }
    waiting.add(callback);
    return () => {
      waiting.delete(callback);
      // What nobody waits for any more is not worth an answer.
      if (waiting.size === 0 && this.#wanted.get(name)?.answer === null) this.#drop(name);
    };
  }

  /** Something came under this name, or the server said that there is nothing. Returns the names given up for it. */
  answered(name: string, answer: Answer): readonly string[] {
    const wanted = this.#wanted.get(name);
    if (wanted === undefined) return [];
    if (wanted.answer === 'missing') this.#missing -= 1;
    wanted.answer = answer;
    if (answer === 'missing') {
      this.#missing += 1;
      // The newest at the end.
      this.#wanted.delete(name);
      this.#wanted.set(name, wanted);
    }
    for (const callback of wanted.waiting) callback(answer);
    wanted.waiting.clear();
    return this.#missing > this.#limit ? this.#dropOldest() : [];
  }

  #dropOldest(): readonly string[] {
    for (const [name, { answer }] of this.#wanted) {
      if (answer !== 'missing') continue;
      this.#missing -= 1;
      this.#drop(name);
      return [name];
    }
    return [];
  }

  #drop(name: string): void {
    this.#wanted.delete(name);
    if (!this.#added.delete(name)) this.#dropped.add(name);
  }
}
