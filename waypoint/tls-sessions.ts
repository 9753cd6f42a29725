/**
 * Sessions of TLS with endpoints, the last one of each: with it the next connection costs half a handshake.
 *
 * Whoever asks by a key goes on with what was verified under the same key, and nothing is verified again: everything that
 * counts for that has to be in it.
 */

/** Each is some kilobytes. */
const most = 1_000;

export class TlsSessions {
  /** The one that was used last is the last. */
  readonly #sessions = new Map<string, Buffer>();

  /** One that has been taken is gone: used twice, it would tell whoever listens that two connections are of one client. */
  take(key: string): Buffer | undefined {
    const session = this.#sessions.get(key);
    this.#sessions.delete(key);
    return session;
  }

  put(key: string, session: Buffer): void {
    this.#sessions.delete(key);
    this.#sessions.set(key, session);
    for (const oldest of this.#sessions.keys()) {
      if (this.#sessions.size <= most) return;
      this.#sessions.delete(oldest);
    }
  }
}
