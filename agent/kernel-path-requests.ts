/**
 * What a shard tells of connections to neighbours, so that the main thread can write verdicts: each kind now and then, since
 * one that got no verdict will hardly get one for the next connection.
 */
import type { FromShard } from './messages.ts';
import type { Pod } from './pod.ts';
import type { Endpoint } from './redirect-abi.ts';

/** A connection of a pod to another of this node is open. */
export interface Neighbour {
  readonly podUid: string;
  /** Its own address and port. */
  readonly reached: Endpoint;
  /** The Service that was asked for; null where it was the neighbour itself. */
  readonly service: Endpoint | null;
}

const everyMs = 1_000;
const mostKinds = 10_000;

export class VerdictRequests {
  readonly #send: (message: FromShard) => void;
  readonly #askedAt = new Map<string, number>();

  constructor(send: (message: FromShard) => void) {
    this.#send = send;
  }

  ask(pod: Pod, reached: Endpoint, service: Endpoint | null): void {
    const kind = [pod.uid, reached.address, reached.port, service?.address, service?.port].join(' ');
    const now = performance.now();
    if (now - (this.#askedAt.get(kind) ?? -everyMs) < everyMs) return;
    if (this.#askedAt.size >= mostKinds) this.#askedAt.clear();
    this.#askedAt.set(kind, now);
    this.#send({ type: 'neighbour', neighbour: { podUid: pod.uid, reached, service } });
  }
}
