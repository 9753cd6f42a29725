/**
 * Watches one connection's silence: the opening handshake has a deadline, later a PING asks a peer that says nothing.
 *
 * Any byte of the peer is a sign of life, so a loaded connection is neither pinged nor cut while its answer is queued
 * behind data. A peer that stops in the middle of a frame it could have finished is cut, however alive.
 */

/** Milliseconds. */
export interface H2Timing {
  /** From the start until the peer's SETTINGS and its acknowledgement of ours. */
  readonly handshakeTimeoutMs: number;
  /** Silence after which a PING is sent. */
  readonly pingIntervalMs: number;
  /** Silence after a PING that ends the connection. */
  readonly pingTimeoutMs: number;
  /** For the peer to close after we have; then the transport is destroyed. */
  readonly closeTimeoutMs: number;
}

export const defaultTiming: H2Timing = {
  handshakeTimeoutMs: 10_000,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 20_000,
  closeTimeoutMs: 1000,
};

/** The effects of time, so that tests need not wait. */
export interface H2Clock {
  /** Monotonic milliseconds. */
  now(): number;
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** Timers do not keep the process alive: the transport does that. */
export const realClock: H2Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms).unref(),
  clearTimeout: timer => clearTimeout(timer as NodeJS.Timeout),
};

/** What the keepalive sees of its connection and may do to it. */
export interface KeepaliveTarget {
  readonly bytesReceived: number;
  readonly framesReceived: number;
  /** The peer has begun a frame (other than DATA) or a header block and not ended it. */
  readonly midFrame: boolean;
  sendKeepalivePing(): void;
  onHandshakeTimeout(): void;
  onSilence(silentMs: number): void;
  onStuckFrame(): void;
}

export class Keepalive {
  readonly #target: KeepaliveTarget;
  readonly #timing: H2Timing;
  readonly #clock: H2Clock;
  #timer: unknown;
  #seenBytes = 0;
  #seenFrames = 0;
  #wasMidFrame = false;
  /** When the unanswered PING was sent, or null. */
  #pingedAt: number | null = null;

  constructor(target: KeepaliveTarget, timing: H2Timing, clock: H2Clock) {
    this.#target = target;
    this.#timing = timing;
    this.#clock = clock;
    this.#timer = clock.setTimeout(() => target.onHandshakeTimeout(), timing.handshakeTimeoutMs);
  }

  /** The handshake is done: from here on silence is watched. */
  established(): void {
    this.#schedule(this.#timing.pingIntervalMs);
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  readonly #tick = (): void => {
    const { bytesReceived, framesReceived, midFrame } = this.#target;
    if (midFrame && this.#wasMidFrame && framesReceived === this.#seenFrames) {
      this.#target.onStuckFrame();
      return;
    }
    this.#wasMidFrame = midFrame;
    this.#seenFrames = framesReceived;
    if (bytesReceived !== this.#seenBytes) {
      this.#seenBytes = bytesReceived;
      this.#pingedAt = null;
      this.#schedule(this.#timing.pingIntervalMs);
      return;
    }
    const now = this.#clock.now();
    if (this.#pingedAt === null) {
      this.#pingedAt = now;
      this.#target.sendKeepalivePing();
    }
    const left = this.#timing.pingTimeoutMs - (now - this.#pingedAt);
    if (left <= 0) this.#target.onSilence(now - this.#pingedAt);
    else this.#schedule(Math.min(left, this.#timing.pingIntervalMs));
  };

  #schedule(ms: number): void {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(this.#tick, ms);
  }
}
