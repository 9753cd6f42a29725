/**
 * How an agent ends: it lets connections end, with another agent in its place or without one. Accepting stops first, and at
 * a deadline the rest is cut.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Agent } from './agent.ts';
import type { Predecessor } from './handover/predecessor.ts';

/** One that gets ready while this agent is told to stop is waited for. */
const successorMs = 10_000;

export class Ending {
  readonly #agent: Agent;
  #onDrained: () => void = () => {};

  constructor(agent: Agent) {
    this.#agent = agent;
  }

  /** Where another agent is about to take over: with it nobody is refused. */
  async untilNobodyComes(): Promise<void> {
    const { successors } = this.#agent;
    if (successors?.present === true)
      await Promise.race([successors.settled, delay(successorMs, null, { ref: false })]);
  }

  /** Told to stop. */
  async drain(): Promise<void> {
    const { parts, place, successors, log, config } = this.#agent;
    if (place.retiring) {
      successors?.close();
      await place.forget();
    }
    log.info({ deadlineMs: config.limits.drainMs }, 'draining');
    if (place.retiring) {
      await place.retired;
    } else if (parts.predecessor?.present === true && (await this.#giveBack(parts.predecessor))) {
      await this.#drainShards(true, null);
    } else {
      const drained = this.#drainShards(false, null);
      if (parts.shards.running > 0) await parts.pods.stopListening();
      await drained;
    }
  }

  /**
   * Another agent serves. Not before that one has lasted a while: it may still be called off. Without a cluster nobody else
   * ends this process.
   */
  async retire(calledOff: AbortSignal, leastMs: number): Promise<void> {
    await Promise.all([
      this.#drainShards(true, calledOff),
      delay(leastMs, null, { signal: calledOff }).catch(() => {}),
    ]);
    if (!calledOff.aborted && this.#agent.config.source.kind === 'directory') this.#agent.onRetired();
  }

  /** A shard has nothing left. */
  drained(): void {
    this.#onDrained();
  }

  /** The agent before is still there: it serves again, and nobody is refused. */
  async #giveBack(predecessor: Predecessor): Promise<boolean> {
    const { parts, place, successors } = this.#agent;
    await parts.pods.suspend();
    parts.shards.broadcast({ type: 'pause' });
    if (!(await predecessor.giveBack())) return false;
    place.rest();
    successors?.stopListening();
    await parts.source.end();
    return true;
  }

  async #drainShards(successor: boolean, calledOff: AbortSignal | null): Promise<void> {
    const { parts, config } = this.#agent;
    const { drainMs } = config.limits;
    let waiting = parts.shards.running;
    if (waiting === 0) return;
    const drained = new Promise<void>(resolve => {
      this.#onDrained = () => {
        waiting -= 1;
        if (waiting === 0) resolve();
      };
      calledOff?.addEventListener('abort', () => resolve(), { once: true });
      setTimeout(resolve, drainMs + 1_000).unref();
    });
    parts.shards.broadcast({ type: 'drain', deadlineMs: drainMs, successor });
    await drained;
  }
}
