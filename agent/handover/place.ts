/**
 * The place of the one agent of a node: what must be done, and never by two. Taken at the start, or from the agent before;
 * given to the next one, and taken back where that one fails.
 */
import { isOurs, lock, takeLock } from '../../base/lock.ts';
import type { Agent } from '../agent.ts';
import type { Estate, PortEstate } from './estate.ts';
import { untilStartedAgain } from './restart.ts';
import type { Giver } from './successors.ts';

/** The agent's own server sockets. */
export interface Ports {
  estate(): readonly PortEstate[];
  release(): Promise<void>;
  takeBack(): Promise<void>;
  stop(): Promise<void>;
}

/** How often namespaces are looked at, and failed enrolments tried again. */
const recheckMs = 1_000;
/** A new agent that dies does so soon; longer than that the old one is there in any case. */
const probationMs = 3_000;

export class Place implements Giver {
  readonly #agent: Agent;
  readonly #lock: string;
  readonly #timers: NodeJS.Timeout[] = [];
  #release: () => void = () => {};
  #holds = false;
  /** Ends the wait of `retire` when it is called off. */
  #retirement: AbortController | null = null;
  #retired: Promise<void> = Promise.resolve();
  /** Set by whoever owns them. */
  ports: Ports | null = null;

  constructor(agent: Agent, lockPath: string) {
    this.#agent = agent;
    this.#lock = lockPath;
  }

  /** This agent is the one of its node, and nobody has been told otherwise. */
  get held(): boolean {
    return this.#holds && isOurs(this.#lock);
  }

  /** Another agent has it. */
  get left(): boolean {
    return !this.#holds;
  }

  /** Another agent serves; this one lets its connections end. */
  get retiring(): boolean {
    return this.#retirement !== null;
  }

  /** Resolves when it has nothing left to do. */
  get retired(): Promise<void> {
    return this.#retired;
  }

  /** Where nobody has it. Throws ALREADY_RUNNING; an agent that its keeper starts again has it before us. */
  async claim(): Promise<void> {
    await untilStartedAgain(this.#agent.config.stateDir, this.#lock);
    this.#release = lock(this.#lock);
    this.#holds = true;
  }

  /** From the agent before. */
  inherit(): void {
    this.#release = takeLock(this.#lock);
    this.#holds = true;
  }

  /** Says to the kernel that somebody is there: from the first moment on, pods of an earlier agent depend on it. */
  beat(): void {
    const { parts, config } = this.#agent;
    parts.kubelet?.start();
    parts.redirect.heartbeat();
    this.#every(Math.floor(config.limits.heartbeatTimeoutMs / 5), () => parts.redirect.heartbeat());
  }

  /** Looks after the pods. */
  look(): void {
    this.#agent.parts.capture.start();
    this.#every(recheckMs, () => {
      void this.#agent.recheck();
      this.#agent.successors?.look();
    });
  }

  async suspend(): Promise<Estate> {
    const { pods } = this.#agent.parts;
    const estates = await pods.suspend();
    // One that drains has given up its listeners, and everything else is there to be taken.
    return { pods: estates.filter(({ sets }) => sets.length > 0), ports: this.ports?.estate() ?? [] };
  }

  pause(): void {
    this.#agent.parts.shards.broadcast({ type: 'pause' });
  }

  async retire(): Promise<void> {
    const { parts, successors, log } = this.#agent;
    log.info({}, 'another agent serves; this one lets its connections end');
    this.rest();
    successors?.stopListening();
    parts.predecessor?.release();
    // One that was told to stop drains already, and has nothing to take back.
    if (!this.#agent.draining) {
      const called = new AbortController();
      this.#retirement = called;
      this.#retired = this.#agent.ending.retire(called.signal, probationMs);
    }
    await Promise.all([parts.source.end(), this.ports?.release()]);
  }

  /** Everything is this agent's again, and what has changed meanwhile follows. */
  async resume(): Promise<void> {
    const { parts, successors, draining } = this.#agent;
    if (draining) return;
    const had = this.#holds;
    this.inherit();
    this.#retirement?.abort();
    this.#retirement = null;
    if (!had) this.beat();
    parts.redirect.takeBack();
    for (let index = 0; index < parts.shards.count; index += 1)
      parts.shards.send(index, { type: 'resume', pods: parts.pods.listenersOf(index) });
    parts.pods.resume();
    parts.keeper?.serving();
    if (!had) {
      this.look();
      await parts.source.begin();
      successors?.listen();
    }
    await this.ports?.takeBack();
    await this.#agent.recheck();
  }

  /** Nothing comes back: a socket that this process kept would hold connections that nobody accepts. */
  async forget(): Promise<void> {
    await Promise.all([this.#agent.parts.pods.stopListening(), this.ports?.stop()]);
  }

  restore(): void {
    this.#agent.parts.redirect.takeBack();
  }

  /** Leaves to others what only one may do. */
  rest(): void {
    this.#holds = false;
    void this.#agent.parts.keeper?.clear();
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#agent.parts.capture.stop();
    this.#agent.parts.kubelet?.stop();
  }

  /** Gives the lock back, where it is still ours. */
  leave(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#release();
  }

  #every(ms: number, act: () => void): void {
    this.#timers.push(setInterval(act, ms));
  }
}
