/**
 * Tunnels that one pod keeps open to other nodes. A pool belongs to one pod, and its key names the source identity as
 * well, so a tunnel opened for one service account never carries another's traffic.
 *
 * Callers that arrive while a tunnel is being opened wait for it instead of opening their own. Capacity comes back as
 * soon as a stream ends. A tunnel ends when idle, when old, or before its certificate does.
 */
import { CulvertError } from '../base/errors.ts';
import type { Tunnel } from './tunnel.ts';

export interface TunnelTarget {
  /** Where to dial: IP and port of the other agent's listener or of a waypoint. */
  readonly address: string;
  readonly port: number;
  readonly sourceIdentity: string;
  /** SPIFFE IDs; the peer must prove one of them. */
  readonly expectedIdentities: readonly string[];
}

export type OpenTunnel = (target: TunnelTarget) => Promise<Tunnel>;

interface Entry {
  readonly target: TunnelTarget;
  readonly tunnels: Tunnel[];
  opening: Promise<Tunnel> | null;
}

const sweepMs = 5_000;
/** New tunnels that may say goodbye before they took a stream, for one caller. */
const mostFarewells = 3;

export class TunnelPool {
  readonly #entries = new Map<string, Entry>();
  readonly #open: OpenTunnel;
  readonly #idleMs: number;
  #timer: NodeJS.Timeout | null = null;
  #closed: CulvertError | null = null;

  constructor(open: OpenTunnel, idleMs: number) {
    this.#open = open;
    this.#idleMs = idleMs;
  }

  /** A tunnel with room for one more stream, if there is one already. The hot path: no promise. */
  ready(target: TunnelTarget): Tunnel | null {
    const entry = this.#entries.get(keyOf(target));
    if (entry === undefined) return null;
    const now = Date.now();
    for (const tunnel of entry.tunnels) {
      if (tunnel.hasRoom(now)) {
        tunnel.idleSince = now;
        return tunnel;
      }
    }
    return null;
  }

  /** A tunnel with room, opened if need be. Rejects with the CulvertError of the attempt. */
  async acquire(target: TunnelTarget): Promise<Tunnel> {
    const key = keyOf(target);
    let farewells = 0;
    for (;;) {
      if (this.#closed !== null) throw this.#closed;
      const tunnel = this.ready(target);
      if (tunnel !== null) return tunnel;
      let entry = this.#entries.get(key);
      if (entry === undefined) {
        entry = { target, tunnels: [], opening: null };
        this.#entries.set(key, entry);
      }
      entry.opening ??= this.#openInto(entry);
      const opened = await entry.opening;
      if (opened.hasRoom(Date.now())) return opened;
      // Whoever took it was about to leave, and another one listens there now.
      if (opened.connection.draining && farewells < mostFarewells) {
        farewells += 1;
        continue;
      }
      if (opened.connection.maxStreams === 0 || opened.isSpent(Date.now())) {
        throw new CulvertError(
          'TUNNEL_CLOSED',
          `the tunnel to ${target.address}:${target.port} took no stream, new as it was`,
          { side: 'server' },
        );
      }
    }
  }

  /** Tunnels and streams of this pool. */
  count(): { tunnels: number; streams: number } {
    let tunnels = 0;
    let streams = 0;
    for (const entry of this.#entries.values()) {
      for (const tunnel of entry.tunnels) {
        tunnels += 1;
        streams += tunnel.streams;
      }
    }
    return { tunnels, streams };
  }

  /** Lets running streams end, and opens nothing more. */
  drain(): void {
    this.#closed ??= new CulvertError('DRAINING', 'the agent is shutting down', { side: 'us' });
    for (const entry of this.#entries.values()) for (const tunnel of entry.tunnels) tunnel.retire();
  }

  close(error: CulvertError): void {
    this.#closed = error;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    for (const entry of this.#entries.values()) for (const tunnel of entry.tunnels) tunnel.destroy(error);
    this.#entries.clear();
  }

  async #openInto(entry: Entry): Promise<Tunnel> {
    try {
      const tunnel = await this.#open(entry.target);
      if (this.#closed !== null) {
        tunnel.destroy(this.#closed);
        throw this.#closed;
      }
      entry.tunnels.unshift(tunnel);
      this.#timer ??= setInterval(() => this.#sweep(), sweepMs).unref();
      return tunnel;
    } finally {
      entry.opening = null;
      if (entry.tunnels.length === 0) this.#entries.delete(keyOf(entry.target));
    }
  }

  #sweep(): void {
    const now = Date.now();
    for (const [key, entry] of this.#entries) {
      for (let i = entry.tunnels.length - 1; i >= 0; i -= 1) {
        const tunnel = entry.tunnels[i];
        if (tunnel === undefined) continue;
        if (tunnel.streams > 0) tunnel.idleSince = now;
        const idle = now - tunnel.idleSince >= this.#idleMs;
        if (!idle && !tunnel.isSpent(now)) continue;
        // Streams that still run on a spent tunnel keep it alive without the pool's help.
        tunnel.retire();
        entry.tunnels.splice(i, 1);
      }
      if (entry.tunnels.length === 0 && entry.opening === null) this.#entries.delete(key);
    }
    if (this.#entries.size === 0 && this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }
}

function keyOf(target: TunnelTarget): string {
  return `${target.sourceIdentity}>${target.address}:${target.port}>${target.expectedIdentities.join()}`;
}
