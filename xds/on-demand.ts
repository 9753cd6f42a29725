/**
 * The mode of a client that does not want the whole of a type but what it is asked about, by name.
 *
 * Whoever asks waits until the answer is in force. What is asked for in one turn of the event loop goes in one message; while
 * there is no stream, names wait for the first request of the next.
 */
import type { Sparse } from '../proto/load.ts';
import type { WireDeltaRequest, WireDeltaResponse } from '../proto/messages.ts';
import type { Reading } from './reading.ts';
import { WantedNames } from './wanted-names.ts';
import type { Answer } from './wanted-names.ts';

type Names = Pick<
  Sparse<WireDeltaRequest>,
  'resourceNamesSubscribe' | 'resourceNamesUnsubscribe' | 'initialResourceVersions'
>;

const everything = '*';

export class OnDemand {
  readonly #names: WantedNames;
  #send: ((names: Names) => void) | null = null;
  #isDue = false;

  constructor(maxMissingNames: number) {
    this.#names = new WantedNames(maxMissingNames);
  }

  /** What the first request of a stream asks for; later ones go to `send`. */
  opened(known: ReadonlyMap<string, string>, send: (names: Names) => void): Names {
    this.#send = send;
    const pending = this.#names.pending().map(name => [name, ''] as const);
    return {
      // To take everything back in the same message is how the protocol says "nothing but these".
      resourceNamesSubscribe: [everything, ...this.#names.all()],
      resourceNamesUnsubscribe: [everything],
      initialResourceVersions: Object.fromEntries([...pending, ...known]),
    };
  }

  ended(): void {
    this.#send = null;
  }

  want(name: string, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const stop = (): void => {
        unwant();
        this.#sendSoon();
        reject(signal.reason as Error);
      };
      const unwant = this.#names.want(name, answer => {
        signal.removeEventListener('abort', stop);
        resolve(answer);
      });
      signal.addEventListener('abort', stop, { once: true });
      this.#sendSoon();
    });
  }

  /** To be called when a response is in force. */
  answered(response: WireDeltaResponse, { remember }: Reading): void {
    const inForce = new Set(remember.map(({ name }) => name));
    for (const { name, aliases } of response.resources) {
      const answer = inForce.has(name) ? 'found' : 'missing';
      for (const asked of [name, ...aliases]) this.#names.answered(asked, answer);
    }
    for (const name of response.removedResources) this.#names.answered(name, 'missing');
    this.#sendSoon();
  }

  #sendSoon(): void {
    if (this.#isDue || this.#send === null) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      if (this.#send === null) return;
      const { added, dropped } = this.#names.changes();
      if (added.length + dropped.length === 0) return;
      this.#send({ resourceNamesSubscribe: added, resourceNamesUnsubscribe: dropped });
    });
  }
}
