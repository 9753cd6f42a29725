/**
 * What a shard tells of connections to neighbours, so that the main thread can write verdicts: each kind now and then, since
 * one that got no verdict will hardly get one for the next connection.
 */
import type { FromShard } from './messages.ts';
import type { Pod } from './pod.ts';

const everyMs = 1_000;
const mostKinds = 10_000;

export class VerdictRequests {
  readonly #send: (message: FromShard) => void;
  readonly #askedAt = new Map<string, number>();

  constructor(send: (message: FromShard) => void) {
    this.#send = send;
  }

  ask(pod: Pod, address: string, port: number): void {
    const kind = `${pod.uid} ${address} ${port}`;
    const now = performance.now();
    if (now - (this.#askedAt.get(kind) ?? -everyMs) < everyMs) return;
    if (this.#askedAt.size >= mostKinds) this.#askedAt.clear();
    this.#askedAt.set(kind, now);
    this.#send({ type: 'neighbour', podUid: pod.uid, address, port });
  }
}
