/**
 * Services as the kernel knows them: among which endpoints it may draw for a pod's connection to a Service's address, so
 * that a choice of this node with a verdict never meets the agent.
 *
 * Written for what a pod has asked for and the agent has carried to a neighbour, each judged with the whole mesh as it
 * is now, and again before a changed mesh reaches anybody else. What a draw can't decide is not here (model/service-choices.ts),
 * nor what does not fit: it goes through the agent, as before.
 */
import * as native from '../native/native.ts';
import { decodeVerdictKey, encodeVerdictKey, type VerdictKey } from './kernel-path-abi.ts';
import type { KnownService, ServiceJudge } from './kernel-path-service-judge.ts';
import { encodeService, maxChoices, maxServices } from './kernel-path-service-abi.ts';
import type { Maps } from './redirect-programs.ts';
import { encodeEndpoint, type Endpoint } from './redirect-abi.ts';

type ServiceMaps = Pick<Maps, 'services' | 'refusing'>;

interface Entry {
  readonly key: VerdictKey;
  known: KnownService;
}

export class ServiceTable {
  readonly #maps: ServiceMaps;
  readonly #entries = new Map<string, Entry>();
  /** Services that did not fit, by why, since the start of the process. */
  readonly leftOut = { endpoints: 0, room: 0 };

  constructor(maps: ServiceMaps) {
    this.#maps = maps;
  }

  /** Pairs of a pod and a Service. */
  get size(): number {
    return this.#entries.size;
  }

  /** Takes over what an earlier agent has written, as it would be now. */
  adopt(judge: ServiceJudge): void {
    this.#entries.clear();
    for (const bytes of this.#keys()) {
      const key = decodeVerdictKey(bytes);
      if (key === null) native.mapDelete(this.#maps.services, bytes);
      else this.#put(key, judge.service(key, null));
    }
  }

  /** A connection to this Service has reached this endpoint, by way of a shard. */
  learn(key: VerdictKey, reached: Endpoint, judge: ServiceJudge): void {
    native.mapDelete(this.#maps.refusing, encodeEndpoint(reached));
    this.#put(key, judge.service(key, this.#entries.get(nameOf(key))?.known ?? null));
  }

  /** Judges all again. To be called before anybody else hears of a changed mesh. */
  follow(judge: ServiceJudge): void {
    for (const { key, known } of this.#entries.values()) this.#put(key, judge.service(key, known));
  }

  /** A namespace is captured no more. What was chosen of it has no verdict any more. */
  retired(cookie: bigint): void {
    for (const { key } of this.#entries.values()) if (key.source === cookie) this.#put(key, null);
  }

  /** Ends the kernel path for new connections. */
  clear(): void {
    for (const bytes of this.#keys()) native.mapDelete(this.#maps.services, bytes);
    this.#entries.clear();
  }

  #put(key: VerdictKey, known: KnownService | null): void {
    const name = nameOf(key);
    const before = this.#entries.get(name);
    if (before !== undefined && before.known === known) return;
    if (known === null || !this.#fits(known, before)) {
      native.mapDelete(this.#maps.services, encodeVerdictKey(key));
      this.#entries.delete(name);
      return;
    }
    native.mapUpdate(this.#maps.services, encodeVerdictKey(key), encodeService(key, known.choices), 'any');
    this.#entries.set(name, { key, known });
  }

  #fits({ choices }: KnownService, before: Entry | undefined): boolean {
    const why =
      choices.length > maxChoices
        ? 'endpoints'
        : before === undefined && this.#entries.size >= maxServices
          ? 'room'
          : null;
    if (why !== null) this.leftOut[why] += 1;
    return why === null;
  }

  #keys(): Buffer[] {
    const { count, keys, keySize } = native.mapEntriesBatch(this.#maps.services);
    return Array.from({ length: count }, (_, at) => keys.subarray(at * keySize, (at + 1) * keySize));
  }
}

function nameOf({ source, address, port }: VerdictKey): string {
  return `${source} ${address} ${port}`;
}
