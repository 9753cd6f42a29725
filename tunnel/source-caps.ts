/**
 * How much one source address may hold at one pod's tunnel listener: handshakes under way, and tunnels.
 * A flood from one address costs that address its tunnels, and nobody else anything.
 */
export class SourceCaps {
  readonly #handshakes = new Map<string, number>();
  readonly #tunnels = new Map<string, number>();
  readonly #maxHandshakes: number;
  readonly #maxTunnels: number;

  constructor(maxHandshakes: number, maxTunnels: number) {
    this.#maxHandshakes = maxHandshakes;
    this.#maxTunnels = maxTunnels;
  }

  /** No tunnel is open and none in its handshake. */
  get empty(): boolean {
    return this.#tunnels.size === 0;
  }

  /** Counts one more tunnel in its handshake, or returns false and counts nothing. */
  enter(source: string): boolean {
    const handshakes = this.#handshakes.get(source) ?? 0;
    const tunnels = this.#tunnels.get(source) ?? 0;
    if (handshakes >= this.#maxHandshakes || tunnels >= this.#maxTunnels) return false;
    this.#handshakes.set(source, handshakes + 1);
    this.#tunnels.set(source, tunnels + 1);
    return true;
  }

  /** The handshake is over, well or not. */
  handshakeDone(source: string): void {
    decrement(this.#handshakes, source);
  }

  /** The TCP connection is gone. */
  leave(source: string): void {
    decrement(this.#tunnels, source);
  }
}

function decrement(counts: Map<string, number>, key: string): void {
  const count = counts.get(key) ?? 0;
  if (count <= 1) counts.delete(key);
  else counts.set(key, count - 1);
}
