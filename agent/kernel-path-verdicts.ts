/**
 * The agent's L4 decisions as the kernel knows them: who may connect to whom on this node without asking again.
 *
 * The main thread alone writes them, and each is decided here with the whole mesh as it is now: the same resolution and
 * the same policy as in a shard. A verdict lets connections begin, its grant lets those that have begun go on. Both are judged
 * again before a changed mesh reaches anybody else, so neither outlives what it was decided on.
 */
import { type Decision, type KnownVerdict, upkeep } from '../model/verdict-upkeep.ts';
import * as native from '../native/native.ts';
import {
  decodeGrantSerial,
  decodePassage,
  decodeVerdict,
  decodeVerdictKey,
  encodeGrant,
  encodeSlot,
  encodeVerdict,
  encodeVerdictKey,
  maxVerdicts,
  type VerdictKey,
} from './kernel-path-abi.ts';
import type { Maps } from './redirect-programs.ts';

/**
 * What becomes of a connection that a pod would open now: to a pod of this node, and policy allows or refuses it; or the
 * agent must carry it.
 */
export type Judgement = Decision;

export interface Judge {
  /** About a new connection. */
  route(key: VerdictKey): Judgement;
  /** About those that are open: whether policy lets them go on to the workload that they have reached. */
  stillAllowed(key: VerdictKey, uid: string): boolean;
}

interface Grant {
  readonly key: VerdictKey;
  readonly slot: number;
  /** Workload that its passages have reached. */
  uid: string;
  destination: bigint;
  serial: number;
  /** New connections may begin. */
  verdict: boolean;
  /** Nothing goes on under it, until there is a verdict again. */
  revoked: boolean;
}

type VerdictMaps = Pick<Maps, 'verdicts' | 'grants' | 'passages'>;

export class Verdicts {
  readonly #maps: VerdictMaps;
  readonly #grants = new Map<string, Grant>();
  #nextSlot = 0;

  constructor(maps: VerdictMaps) {
    this.#maps = maps;
  }

  /** Verdicts in force. */
  get size(): number {
    let count = 0;
    for (const { verdict } of this.#grants.values()) if (verdict) count += 1;
    return count;
  }

  /** Takes over what an earlier agent has written, if it would be decided so now; the rest is removed. */
  adopt(judge: Judge): void {
    this.#grants.clear();
    const { count, keys, values, keySize, valueSize } = native.mapEntriesBatch(this.#maps.verdicts);
    for (let entry = 0; entry < count; entry += 1) {
      const bytes = keys.subarray(entry * keySize, (entry + 1) * keySize);
      const key = decodeVerdictKey(bytes);
      const { destination, slot, serial } = decodeVerdict(values.subarray(entry * valueSize));
      const judgement = key === null ? null : judge.route(key);
      if (key === null || judgement?.kind !== 'allowed' || judgement.destination !== destination) {
        native.mapDelete(this.#maps.verdicts, bytes);
        if (judgement?.kind === 'denied' && serial === this.#serialOf(slot)) this.#revokeSlot(slot);
        continue;
      }
      this.#grants.set(nameOf(key), {
        key,
        slot,
        uid: judgement.uid,
        destination,
        serial,
        verdict: true,
        revoked: false,
      });
    }
    // Slots of passages under way may have no verdict any more.
    this.#nextSlot = Math.max(-1, ...this.#slotsInUse()) + 1;
  }

  /** Somebody has connected by way of a shard: the next time it may go by itself. */
  learn(key: VerdictKey, judge: Judge): void {
    const known = this.#grants.get(nameOf(key));
    if (known?.verdict === true) return;
    const judgement = judge.route(key);
    if (judgement.kind !== 'allowed') return;
    const { destination, uid } = judgement;
    if (known !== undefined && known.destination === destination && known.uid === uid) {
      this.#write(known);
      return;
    }
    const slot = this.#freeSlot();
    if (slot === null) return;
    // Whatever an older verdict of this slot has let in is over.
    const serial = (this.#serialOf(slot) + 1) >>> 0;
    native.mapUpdate(this.#maps.grants, encodeSlot(slot), encodeGrant(serial, false), 'any');
    const grant: Grant = { key, slot, uid, destination, serial, verdict: false, revoked: false };
    this.#grants.set(nameOf(key), grant);
    this.#write(grant);
  }

  /** Judges all again. To be called before anybody else hears of a changed mesh. */
  follow(judge: Judge): void {
    for (const grant of this.#grants.values()) {
      if (!grant.revoked && !judge.stillAllowed(grant.key, grant.uid)) this.#revoke(grant);
      if (grant.verdict && upkeep(known(grant), judge.route(grant.key)) === 'goes') this.#withdraw(grant);
    }
  }

  /**
   * Writes again what was taken away and would be decided as it was before. To be called when everybody has heard of the changed
   * mesh, by which connections are judged that begin under it.
   */
  renew(judge: Judge): void {
    for (const grant of this.#grants.values())
      if (!grant.verdict && upkeep(known(grant), judge.route(grant.key)) === 'returns') this.#write(grant);
  }

  /** A namespace is captured no more: nothing begins in it or ends in it. */
  retired(cookie: bigint): void {
    for (const [name, grant] of this.#grants) {
      if (grant.key.source !== cookie && grant.destination !== cookie) continue;
      this.#withdraw(grant);
      this.#grants.delete(name);
    }
  }

  /** Ends the kernel path for new connections. */
  clear(): void {
    const { count, keys, keySize } = native.mapEntriesBatch(this.#maps.verdicts);
    for (let entry = 0; entry < count; entry += 1)
      native.mapDelete(this.#maps.verdicts, keys.subarray(entry * keySize, (entry + 1) * keySize));
    this.#grants.clear();
  }

  #write(grant: Grant): void {
    native.mapUpdate(this.#maps.verdicts, encodeVerdictKey(grant.key), encodeVerdict(grant), 'any');
    grant.verdict = true;
    grant.revoked = false;
  }

  #withdraw(grant: Grant): void {
    if (!grant.verdict) return;
    native.mapDelete(this.#maps.verdicts, encodeVerdictKey(grant.key));
    grant.verdict = false;
  }

  /** From here on no write of its passages arrives in a join; the shard that keeps the books ends them. */
  #revoke(grant: Grant): void {
    this.#withdraw(grant);
    grant.serial = this.#revokeSlot(grant.slot);
    grant.revoked = true;
  }

  #revokeSlot(slot: number): number {
    const serial = (this.#serialOf(slot) + 1) >>> 0;
    native.mapUpdate(this.#maps.grants, encodeSlot(slot), encodeGrant(serial, false), 'any');
    return serial;
  }

  #serialOf(slot: number): number {
    const grant = native.mapLookup(this.#maps.grants, encodeSlot(slot));
    return grant === null ? 0 : decodeGrantSerial(grant);
  }

  /** The next that was never used, or one that nothing uses any more; null where all are in use. */
  #freeSlot(): number | null {
    if (this.#nextSlot < maxVerdicts) return this.#nextSlot++;
    const used = this.#slotsInUse();
    for (const [name, grant] of this.#grants) if (!grant.verdict) this.#grants.delete(name);
    for (let slot = 0; slot < maxVerdicts; slot += 1) if (!used.has(slot)) return slot;
    return null;
  }

  #slotsInUse(): Set<number> {
    const used = new Set<number>();
    for (const { slot, verdict } of this.#grants.values()) if (verdict) used.add(slot);
    const { count, values, valueSize } = native.mapEntriesBatch(this.#maps.passages);
    for (let entry = 0; entry < count; entry += 1)
      used.add(decodePassage(0n, values.subarray(entry * valueSize, (entry + 1) * valueSize)).slot);
    return used;
  }
}

function known({ verdict, destination, uid }: Grant): KnownVerdict {
  return { inForce: verdict, destination, uid };
}

function nameOf({ source, address, port }: VerdictKey): string {
  return `${source} ${address} ${port}`;
}
