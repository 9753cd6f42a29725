/**
 * The mode of a client that does not want the whole of a type but what it is asked about, by name.
 *
 * Whoever asks waits until the answer is in force. What is asked for at one time goes in one message; while there is no
 * stream, names wait for the first request of the next.
 */
import type { Sparse } from '../proto/load.ts';
import type { WireDeltaRequest, WireDeltaResponse } from '../proto/messages.ts';
import type { Clock } from '../tunnel/clock.ts';
import { ProvidedNames } from './provided.ts';
import type { Reading } from './reading.ts';
import { WantedNames } from './wanted-names.ts';
import type { Answer } from './wanted-names.ts';

type Names = Pick<
  Sparse<WireDeltaRequest>,
  'resourceNamesSubscribe' | 'resourceNamesUnsubscribe' | 'initialResourceVersions'
>;

export interface OnDemandOptions {
  /** Asked for on every stream. */
  readonly always: readonly string[];
  readonly maxMissingNames: number;
  /** Hears of names that were missing, and of which no news will come any more. */
  readonly onGivenUp: (names: readonly string[]) => void;
  readonly clock: Clock;
}

/** Between two requests for names: a pod that scans addresses costs the control plane no more than this. */
const pauseMs = 5;
const everything = '*';

export class OnDemand {
  readonly #clock: Clock;
  readonly #always: readonly string[];
  readonly #names: WantedNames;
  readonly #provided = new ProvidedNames();
  readonly #onGivenUp: (names: readonly string[]) => void;
  #send: ((names: Names) => void) | null = null;
  #isDue = false;
  #sentAt = Number.NEGATIVE_INFINITY;

  constructor({ always, maxMissingNames, onGivenUp, clock }: OnDemandOptions) {
    this.#clock = clock;
    this.#always = always;
    this.#names = new WantedNames(maxMissingNames);
    this.#onGivenUp = onGivenUp;
  }

  /** How many names there are by what is known of them. */
  counts(): Readonly<Record<Answer | 'pending', number>> {
    return this.#names.counts();
  }

  /** What the first request of a stream asks for; later ones go to `send`. */
  opened(known: ReadonlyMap<string, string>, send: (names: Names) => void): Names {
    this.#send = send;
    const pending = this.#names.pending().map(name => [name, ''] as const);
    return {
      // To take everything back in the same message is how the protocol says "nothing but these".
      resourceNamesSubscribe: [everything, ...this.#always, ...this.#names.all()],
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
      const stands = inForce.has(name);
      const wanted = [name, ...aliases].filter(asked => this.#names.has(asked));
      this.#lost(this.#provided.set(name, stands ? wanted : []));
      for (const asked of wanted) this.#names.answered(asked, stands ? 'found' : 'missing');
    }
    for (const name of response.removedResources) {
      this.#lost([name, ...this.#provided.set(name, [])]);
    }
    this.#sendSoon();
  }

  #lost(names: readonly string[]): void {
    const givenUp = names.flatMap(name => this.#names.answered(name, 'missing'));
    if (givenUp.length > 0) this.#onGivenUp(givenUp);
  }

  #sendSoon(): void {
    if (this.#isDue || this.#send === null) return;
    this.#isDue = true;
    const early = Math.min(pauseMs, this.#sentAt + pauseMs - this.#clock.now());
    if (early > 0) this.#clock.after(early, () => this.#sendNow());
    else queueMicrotask(() => this.#sendNow());
  }

  #sendNow(): void {
    this.#isDue = false;
    if (this.#send === null) return;
    const { added, dropped } = this.#names.changes();
    if (added.length + dropped.length === 0) return;
    this.#sentAt = this.#clock.now();
    this.#send({ resourceNamesSubscribe: added, resourceNamesUnsubscribe: dropped });
  }
}
