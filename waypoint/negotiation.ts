/**
 * Which version of HTTP an endpoint speaks where TLS decides it (ALPN): asked with the first connection, and known from then
 * on until it does not hold any more.
 *
 * The connection that asked is not wasted: it is the first one of the pool for what it has agreed on.
 */
import type { Duplex } from 'node:stream';
import type tls from 'node:tls';
import type { Way } from './balance.ts';
import type { WaypointContext } from './context.ts';
import type { Spoken } from './tls-out.ts';
import { dial } from './tunnel-out.ts';

const both: readonly Spoken[] = ['h2', 'http/1.1'];
/** Endpoints come and go: when there are so many, all are asked again. */
const maxKnown = 10_000;
/** A connection that nobody came for. */
const unusedMs = 5_000;

export class Negotiation {
  readonly #context: WaypointContext;
  /** By key of the way. */
  readonly #known = new Map<string, Spoken>();
  readonly #asking = new Map<string, Promise<Spoken>>();
  readonly #ready = new Map<string, tls.TLSSocket>();

  constructor(context: WaypointContext) {
    this.#context = context;
  }

  /** What is spoken there; null where nobody has asked yet. */
  known({ key }: Way): Spoken | null {
    return this.#known.get(key) ?? null;
  }

  /** Asks; those who come meanwhile wait for the same answer. Rejects as `dial` does. */
  ask(way: Way): Promise<Spoken> {
    const { key } = way;
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#ask(way).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking;
  }

  /** A connection for a pool of one version. */
  async open(way: Way, version: Spoken): Promise<Duplex> {
    const ready = this.#ready.get(way.key);
    if (ready !== undefined && this.#known.get(way.key) === version) {
      this.#ready.delete(way.key);
      if (!ready.destroyed) return ready;
    }
    try {
      return await dial(this.#context, null, way, [version]);
    } catch (error) {
      // It may have become another server.
      this.#known.delete(way.key);
      throw error;
    }
  }

  close(): void {
    for (const socket of this.#ready.values()) socket.destroy();
    this.#ready.clear();
  }

  async #ask(way: Way): Promise<Spoken> {
    const { key } = way;
    const socket = (await dial(this.#context, null, way, both)) as tls.TLSSocket;
    const spoken = socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1';
    if (this.#known.size >= maxKnown) this.#known.clear();
    this.#known.set(key, spoken);
    this.#ready.get(key)?.destroy();
    this.#ready.set(key, socket);
    const forget = (): void => {
      if (this.#ready.get(key) === socket) this.#ready.delete(key);
    };
    socket.on('error', () => {}).once('close', forget);
    setTimeout(() => {
      if (this.#ready.get(key) !== socket) return;
      forget();
      socket.destroy();
    }, unusedMs).unref();
    return spoken;
  }
}
