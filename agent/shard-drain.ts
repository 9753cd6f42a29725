/**
 * The end of a shard: connections may end by themselves until the deadline, and are cut then. Tunnels that other agents have
 * to here are told goodbye, which lets their streams run on and sends new ones to whoever listens now.
 */
import { CulvertError } from '../base/errors.ts';
import type { ShardContext } from './shard-context.ts';

export interface ShardDrainOptions {
  readonly deadlineMs: number;
  /** Not before: what was accepted last may not be a connection yet. */
  readonly leastMs: number;
  /** Nothing else is under way that is no connection. */
  readonly idle: () => boolean;
  /** Called once, with how many were cut. */
  readonly onDone: (forced: number) => void;
}

const lookEveryMs = 50;

export class ShardDrain {
  readonly #context: ShardContext;
  readonly #options: ShardDrainOptions;
  readonly #begun = performance.now();
  readonly #look: NodeJS.Timeout;
  readonly #deadline: NodeJS.Timeout;

  constructor(context: ShardContext, options: ShardDrainOptions) {
    this.#context = context;
    this.#options = options;
    this.#farewell();
    this.#look = setInterval(() => this.#check(), lookEveryMs);
    this.#deadline = setTimeout(() => this.#finish(), options.deadlineMs);
  }

  cancel(): void {
    clearInterval(this.#look);
    clearTimeout(this.#deadline);
  }

  #check(): void {
    // Handshakes that were under way become tunnels later.
    this.#farewell();
    const { leastMs, idle } = this.#options;
    const settled = performance.now() - this.#begun >= leastMs;
    if (settled && this.#context.connections.size === 0 && idle()) this.#finish();
  }

  #farewell(): void {
    for (const pod of this.#context.pods.values()) for (const tunnel of pod.inboundTunnels) tunnel.goaway();
  }

  #finish(): void {
    this.cancel();
    const { deadlineMs } = this.#options;
    const left = this.#context.connections.all();
    for (const connection of left) {
      const error = new CulvertError('DRAIN_DEADLINE', `still open ${deadlineMs} ms after the drain began`, {
        side: 'us',
      });
      connection.cut(error);
      connection.closed(error);
    }
    this.#options.onDone(left.length);
  }
}
