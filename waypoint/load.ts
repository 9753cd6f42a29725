/**
 * What is under way to the endpoints of one service, held against the limits of its policy. What is too much is refused at
 * once, so that a service that is slow does not make everything wait that goes elsewhere.
 */
import { CulvertError } from '../base/errors.ts';
import type { RetryBudget, TrafficLimits } from '../model/traffic-policy.ts';

/** Which limit struck. */
export type Overflow = 'connections' | 'pending' | 'requests' | 'retries' | 'budget';

/** A place for one try; to be given back when the try is over. */
export interface Slot {
  release(): void;
}

interface Waiting {
  readonly start: () => void;
}

export class Load {
  readonly #onOverflow: (limit: Overflow) => void;
  readonly #waiting = new Set<Waiting>();
  #requests = 0;
  /** HTTP/1.1 requests and carried connections: each has a connection for itself. */
  #connections = 0;
  #retries = 0;
  /** Set by the owner. */
  limits: TrafficLimits;
  budget: RetryBudget | null = null;

  constructor(limits: TrafficLimits, onOverflow: (limit: Overflow) => void) {
    this.limits = limits;
    this.#onOverflow = onOverflow;
  }

  get requests(): number {
    return this.#requests;
  }

  get retries(): number {
    return this.#retries;
  }

  get pending(): number {
    return this.#waiting.size;
  }

  /**
   * A place for a request. `start` is called when there is a connection for it, at once where there is.
   * @param own whether the request has a connection for itself (HTTP/1.1)
   * @returns the place, or the error where there is none
   */
  enter(own: boolean, start: () => void): Slot | CulvertError {
    const { requests, pending } = this.limits;
    if (requests !== null && this.#requests >= requests) return this.#refuse('requests', requests);
    if (!own || this.#hasConnection()) {
      const slot = this.#take(own);
      start();
      return slot;
    }
    if (pending !== null && this.#waiting.size >= pending) return this.#refuse('pending', pending);
    return this.#wait(start);
  }

  /** A place for a connection that is carried as it is: it does not wait. */
  connect(): Slot | CulvertError {
    const { connections } = this.limits;
    if (connections !== null && !this.#hasConnection()) return this.#refuse('connections', connections);
    this.#connections += 1;
    return once(() => this.#free());
  }

  /** A place for a further try; null where there are too many. */
  retry(): Slot | null {
    const { retries } = this.limits;
    if (retries !== null && this.#retries >= retries) {
      this.#onOverflow('retries');
      return null;
    }
    if (this.budget !== null) {
      const { percent, minimum } = this.budget;
      const most = Math.max(minimum, Math.floor(((this.#requests + this.#waiting.size) * percent) / 100));
      if (this.#retries >= most) {
        this.#onOverflow('budget');
        return null;
      }
    }
    this.#retries += 1;
    return once(() => (this.#retries -= 1));
  }

  #hasConnection(): boolean {
    const { connections } = this.limits;
    return connections === null || this.#connections < connections;
  }

  #take(own: boolean): Slot {
    this.#requests += 1;
    if (own) this.#connections += 1;
    return once(() => {
      this.#requests -= 1;
      if (own) this.#free();
    });
  }

  #wait(start: () => void): Slot {
    let taken: Slot | null = null;
    const waiting: Waiting = {
      start: () => {
        taken = this.#take(true);
        start();
      },
    };
    this.#waiting.add(waiting);
    return once(() => {
      this.#waiting.delete(waiting);
      taken?.release();
    });
  }

  /** A connection is free: whoever waits longest gets it. */
  #free(): void {
    this.#connections -= 1;
    const [next] = this.#waiting;
    if (next === undefined || !this.#hasConnection()) return;
    this.#waiting.delete(next);
    next.start();
  }

  #refuse(limit: Overflow, most: number): CulvertError {
    this.#onOverflow(limit);
    return new CulvertError(
      'UPSTREAM_OVERFLOW',
      `more than the ${most} ${names[limit]} that the traffic policy permits`,
      {
        side: 'server',
        fix: 'raise the limit in the connectionPool of the DestinationRule, or add endpoints',
      },
    );
  }
}

const names: Readonly<Record<Overflow, string>> = {
  connections: 'connections',
  pending: 'waiting requests',
  requests: 'requests at a time',
  retries: 'further tries',
  budget: 'further tries',
};

function once(release: () => void): Slot {
  let held = true;
  return {
    release: () => {
      if (!held) return;
      held = false;
      release();
    },
  };
}
