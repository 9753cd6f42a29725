/**
 * Which endpoint a client of a service had last, where the service keeps clients (`sessionAffinity: ClientIP`): it comes
 * back to that one until it has made no connection for as long as the service says.
 *
 * Each shard has its own, and tells the others what it notes; what none has noted yet all choose alike (balance.ts). Time
 * is the caller's.
 */

/** What one shard tells the others. */
export interface KeptClient {
  /** Uid of the client's workload. */
  readonly client: string;
  /** Service key. */
  readonly service: string;
  /** Uid of the endpoint's workload. */
  readonly endpoint: string;
  /** How often this client was forgotten by this service: it is given out anew each time, everywhere alike. */
  readonly turn: number;
}

/** What is known of a client for one choice; `endpoint` is null when it may have any. */
export interface Kept {
  readonly endpoint: string | null;
  readonly turn: number;
}

interface Entry extends KeptClient {
  usedAt: number;
  toldAt: number;
}

/** Others are told again that a client is there at most so often; meanwhile they keep it so much longer. */
const maxLagMs = 30_000;
const anybody: Kept = { endpoint: null, turn: 0 };

export class Affinity {
  readonly #limit: number;
  /** Those used longest ago first. */
  readonly #entries = new Map<string, Entry>();

  /** @param limit clients that are remembered, of all services together */
  constructor(limit = 100_000) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  find(client: string, service: string, timeoutMs: number, now: number): Kept {
    const entry = this.#entries.get(keyOf(client, service));
    if (entry === undefined) return anybody;
    const { endpoint, turn, usedAt } = entry;
    return now - usedAt < timeoutMs + lagOf(timeoutMs)
      ? { endpoint, turn }
      : { endpoint: null, turn: turn + 1 };
  }

  /** The client has made a connection to this endpoint; returns what the other shards are to be told, if anything. */
  note(
    { client, service, endpoint }: Omit<KeptClient, 'turn'>,
    timeoutMs: number,
    now: number,
  ): KeptClient | null {
    const before = this.#entries.get(keyOf(client, service));
    const { turn } = this.find(client, service, timeoutMs, now);
    const kept = { client, service, endpoint, turn };
    const isNews =
      before === undefined ||
      before.endpoint !== endpoint ||
      before.turn !== turn ||
      now - before.toldAt >= lagOf(timeoutMs);
    this.#set(kept, now, isNews ? now : before.toldAt);
    return isNews ? kept : null;
  }

  /** Another shard has noted this. */
  heard(kept: KeptClient, now: number): void {
    this.#set(kept, now, now);
  }

  #set(kept: KeptClient, usedAt: number, toldAt: number): void {
    const key = keyOf(kept.client, kept.service);
    this.#entries.delete(key);
    this.#entries.set(key, { ...kept, usedAt, toldAt });
    if (this.#entries.size <= this.#limit) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}

function keyOf(client: string, service: string): string {
  return `${client} ${service}`;
}

function lagOf(timeoutMs: number): number {
  return Math.min(timeoutMs / 4, maxLagMs);
}
