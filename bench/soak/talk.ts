/** One pod that asks another, time after time, by the container runtime of its node: no API server is needed for it. */
import type { ClusterNode } from '../../test/lab/cluster/node.ts';

export interface Place {
  readonly node: ClusterNode;
  /** Of the container. */
  readonly id: string;
}

export class Talk {
  readonly what: string;
  readonly #from: Place;
  readonly #url: string;
  readonly #isAnswered: boolean;
  #asked = 0;
  #wrong = 0;

  /** @param isAnswered whether it should be */
  constructor(what: string, from: Place, url: string, isAnswered: boolean) {
    this.what = what;
    this.#from = from;
    this.#url = url;
    this.#isAnswered = isAnswered;
  }

  async isAsItShould(): Promise<boolean> {
    const { node, id } = this.#from;
    const { code } = await node.runInContainer(id, ['talk', 'ask', this.#url], { check: false });
    return (code === 0) === this.#isAnswered;
  }

  async ask(): Promise<void> {
    this.#asked += 1;
    if (!(await this.isAsItShould())) this.#wrong += 1;
  }

  /** How it went since the last time. */
  take(): string {
    const text = `${this.#asked - this.#wrong} of ${this.#asked}`;
    this.#asked = 0;
    this.#wrong = 0;
    return text;
  }
}
