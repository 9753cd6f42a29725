/**
 * The mode of a client that does not want the whole of a type but what it is asked about, by name.
 *
 * Whoever asks waits until the answer is in force. What is asked for at one time goes in one message; while there is no
 * stream, names wait for the first request of the next.
 *
 * Who has asked for very many names is spared nothing by asking, and control planes allow only so many: from then on the
 * client asks for everything, on a new stream, whose first whole response says what there is.
 */
import type { Sparse } from '../proto/load.ts';
import type { WireDeltaRequest, WireDeltaResponse } from '../proto/messages.ts';
import type { Clock } from '../tunnel/clock.ts';
import { ProvidedNames } from './provided.ts';
import { partMark } from './parts.ts';
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
  /** From so many names on everything is asked for. */
  readonly maxNames: number;
  /** Ends the stream, so that another one is opened. */
  readonly reopen: () => void;
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
  readonly #maxNames: number;
  readonly #reopen: () => void;
  #send: ((names: Names) => void) | null = null;
  /** Whether everything is asked for, and whether it has come. */
  #everything: 'not asked for' | 'asked for' | 'known' = 'not asked for';
  #isDue = false;
  #sentAt = Number.NEGATIVE_INFINITY;

  constructor({ always, maxMissingNames, maxNames, onGivenUp, reopen, clock }: OnDemandOptions) {
    this.#clock = clock;
    this.#always = always;
    this.#names = new WantedNames(maxMissingNames);
    this.#onGivenUp = onGivenUp;
    this.#maxNames = maxNames;
    this.#reopen = reopen;
  }

  /** How many names there are by what is known of them. */
  counts(): Readonly<Record<Answer | 'pending', number>> {
    return this.#names.counts();
  }

  /** What the first request of a stream asks for; later ones go to `send`. */
  opened(known: ReadonlyMap<string, string>, send: (names: Names) => void): Names {
    this.#send = send;
    if (this.#everything !== 'not asked for') {
      this.#names.changes();
      return {
        resourceNamesSubscribe: [everything, ...this.#always],
        initialResourceVersions: Object.fromEntries(known),
      };
    }
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
      // What there is the client knows.
      if (this.#everything === 'known') this.#settle();
      else this.#sendSoon();
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
    if (this.#everything === 'not asked for') this.#sendSoon();
    else if (response.systemVersionInfo !== partMark) this.#settle();
  }

  /** Everything is known: what has no answer yet is nothing. */
  #settle(): void {
    this.#everything = 'known';
    this.#lost(this.#names.pending());
  }

  #lost(names: readonly string[]): void {
    const givenUp = names.flatMap(name => this.#names.answered(name, 'missing'));
    if (givenUp.length > 0) this.#onGivenUp(givenUp);
  }

  #sendSoon(): void {
    if (this.#isDue || this.#send === null || this.#everything !== 'not asked for') return;
    this.#isDue = true;
    const early = Math.min(pauseMs, this.#sentAt + pauseMs - this.#clock.now());
    if (early > 0) this.#clock.after(early, () => this.#sendNow());
    else queueMicrotask(() => this.#sendNow());
  }

  #sendNow(): void {
    this.#isDue = false;
    if (this.#send === null || this.#everything !== 'not asked for') return;
    if (this.#names.size > this.#maxNames) {
      this.#everything = 'asked for';
      this.#reopen();
      return;
    }
    const { added, dropped } = this.#names.changes();
    if (added.length + dropped.length === 0) return;
    this.#sentAt = this.#clock.now();
    this.#send({ resourceNamesSubscribe: added, resourceNamesUnsubscribe: dropped });
  }
}
