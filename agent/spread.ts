/**
 * Which shard carries a connection of a pod. The kernel deals connections out among the listeners of a SO_REUSEPORT group by
 * a hash of their addresses and ports, which is fair among thousands and often wrong among few: one in two times both
 * tunnels of a peer come to the same of two shards. So shards count, in memory that they share, what each carries of a pod,
 * and one that has accepted what another has more room for hands it over (passing.ts).
 */

/** Of a shard that does not listen on the pod: nothing comes to it. Far from anything that is counted. */
const absent = -(2 ** 30);
/** An eighth more than another has is not worth handing over. */
const tolerance = 3;

/** Counts of one kind of connection of one pod, for so many shards: to be shared among their threads. */
export function newCounts(shards: number): SharedArrayBuffer {
  const shared = new SharedArrayBuffer(shards * Int32Array.BYTES_PER_ELEMENT);
  new Int32Array(shared).fill(absent);
  return shared;
}

/** A shard has died, and all that it carried. */
export function forgetShard(counts: SharedArrayBuffer, shard: number): void {
  Atomics.store(new Int32Array(counts), shard, absent);
}

export class Spread {
  readonly #counts: Int32Array;
  readonly #own: number;

  /** @param own index of the shard that looks */
  constructor(counts: SharedArrayBuffer, own: number) {
    this.#counts = new Int32Array(counts);
    this.#own = own;
  }

  /** This shard listens. */
  begin(): void {
    Atomics.compareExchange(this.#counts, this.#own, absent, 0);
  }

  /** It is done with the pod. */
  end(): void {
    Atomics.store(this.#counts, this.#own, absent);
  }

  /** Counts one more that has come to this shard for the shard that is to carry it, and returns which. */
  place(): number {
    const counts = this.#counts;
    const own = Atomics.load(counts, this.#own);
    let [to, least] = [this.#own, own];
    for (let shard = 0; shard < counts.length; shard += 1) {
      const carried = Atomics.load(counts, shard);
      if (carried >= 0 && carried < least) [to, least] = [shard, carried];
    }
    if (own - least <= own >> tolerance) to = this.#own;
    Atomics.add(counts, to, 1);
    return to;
  }

  /** What was meant for another stays here. */
  keep(meantFor: number): void {
    this.#less(meantFor);
    Atomics.add(this.#counts, this.#own, 1);
  }

  /** One that this shard has carried is over. */
  over(): void {
    this.#less(this.#own);
  }

  /** What waited for a shard that has died is not among what its successor has counted: never below zero. */
  #less(shard: number): void {
    for (;;) {
      const carried = Atomics.load(this.#counts, shard);
      if (carried <= 0) return;
      if (Atomics.compareExchange(this.#counts, shard, carried, carried - 1) === carried) return;
    }
  }
}
