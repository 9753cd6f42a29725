/** Notices when nothing has moved for a while. One timer for each, however much moves. */
export class Idle {
  readonly #limitMs: number;
  readonly #moved: () => number;
  readonly #onIdle: (limitMs: number) => void;
  #seen: number;
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param limitMs 0: it is never idle
   * @param moved what has moved so far, a number that grows
   * @param onIdle called once, after one to two times the limit
   */
  constructor(limitMs: number, moved: () => number, onIdle: (limitMs: number) => void) {
    this.#limitMs = limitMs;
    this.#moved = moved;
    this.#onIdle = onIdle;
    this.#seen = moved();
    if (limitMs > 0) this.#timer = setTimeout(() => this.#look(), limitMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #look(): void {
    const moved = this.#moved();
    if (moved === this.#seen) {
      this.#onIdle(this.#limitMs);
      return;
    }
    this.#seen = moved;
    this.#timer?.refresh();
  }
}
