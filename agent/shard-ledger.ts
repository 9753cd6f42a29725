/**
 * What the main thread and its shards still owe each other: answers to enrolments, and descriptors that were lent.
 *
 * A namespace descriptor stays open until the shard says that it is done with it: a number that is reused early would
 * be another pod's namespace.
 */
import * as native from '../native/native.ts';

export class ShardLedger {
  readonly #waiting = new Map<string, (error: string | null) => void>();
  readonly #lent = new Map<number, Set<number>>();

  lend(shard: number, fd: number): void {
    const fds = this.#lent.get(shard) ?? new Set();
    fds.add(fd);
    this.#lent.set(shard, fds);
  }

  giveBack(shard: number, fd: number): void {
    if (this.#lent.get(shard)?.delete(fd) === true) native.close(fd);
  }

  /** Resolves with what a shard says about a pod: an error, or null when it listens. */
  answer(shard: number, podUid: string): Promise<string | null> {
    return new Promise(resolve => this.#waiting.set(`${shard} ${podUid}`, resolve));
  }

  answered(shard: number, podUid: string, error: string | null): void {
    const key = `${shard} ${podUid}`;
    this.#waiting.get(key)?.(error);
    this.#waiting.delete(key);
  }

  /** A shard is gone, and with it everything that it owed. */
  lost(shard: number): void {
    for (const [key, resolve] of this.#waiting) {
      if (!key.startsWith(`${shard} `)) continue;
      this.#waiting.delete(key);
      resolve('the shard died');
    }
    for (const fd of this.#lent.get(shard) ?? []) native.close(fd);
    this.#lent.delete(shard);
  }
}
