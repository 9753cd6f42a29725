/**
 * The process that has started this agent and outlives it (native/keeper): it keeps copies of all listening sockets, so
 * that after a crash connections wait in them for the next agent, which takes them as it would take a predecessor's.
 *
 * What is kept follows what is enrolled, in order and in the background: nothing here waits for the keeper but its own
 * queue. Without one, or when it cannot keep something, a crash refuses what comes until the next agent serves.
 */
import net from 'node:net';
import { asCulvertError, CulvertError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { versionString } from '../../base/version.ts';
import * as native from '../../native/native.ts';
import { closeSet, setsOfShard } from '../pod-listeners.ts';
import { Channel } from './channel.ts';
import {
  answerMs,
  type Inheritance,
  type PodEstate,
  type PortEstate,
  receiveEstate,
  type Say,
  sayPod,
  sayPort,
} from './estate.ts';
import { announceKeeper, withdrawKeeper } from './restart.ts';
import { type FromKeeper, spoken, type ToKeeper } from './protocol.ts';

/** How the keeper tells where it is, and what has happened so far. */
const variables = {
  sockets: 'CULVERT_KEEPER',
  crashes: 'CULVERT_KEEPER_CRASHES',
  last: 'CULVERT_KEEPER_LAST',
} as const;

export interface KeeperOptions {
  /** How long connections wait for the agent that follows this one, ms; 0: nothing is kept. */
  readonly waitMs: number;
  /** Where other agents find out about the keeper. */
  readonly stateDir: string;
  readonly log: Logger;
}

export class Keeper {
  readonly #channel: Channel<FromKeeper, ToKeeper>;
  readonly #descriptors: number;
  readonly #options: KeeperOptions;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(channel: Channel<FromKeeper, ToKeeper>, descriptors: number, options: KeeperOptions) {
    this.#channel = channel;
    this.#descriptors = descriptors;
    this.#options = options;
    void this.#watch();
  }

  /** Null where this process was started by nobody who keeps anything, or is to have nothing kept. */
  static open(options: KeeperOptions): Keeper | null {
    const { log, waitMs } = options;
    const [, lines, descriptors] = /^(\d+) (\d+)$/.exec(process.env[variables.sockets] ?? '') ?? [];
    const last = process.env[variables.last];
    if (last !== undefined)
      log.error({ code: 'AGENT_CRASHED', ended: last, crashes: crashes() }, 'the agent before has crashed');
    delete process.env[variables.sockets];
    if (lines === undefined || descriptors === undefined || waitMs === 0) {
      log.info({}, 'no keeper: after a crash connections are refused until the next agent serves');
      return null;
    }
    try {
      const socket = new net.Socket({ fd: Number(lines), readable: true, writable: true });
      socket.unref();
      return new Keeper(new Channel<FromKeeper, ToKeeper>(socket), Number(descriptors), options);
    } catch (thrown) {
      const { code, message } = asCulvertError(thrown, 'KEEPER_FAILED');
      log.warn({ code, err: message }, 'the keeper of this agent cannot be used');
      return null;
    }
  }

  /** What was kept of an agent that has crashed; null where nothing was. Rejects where it does not come whole. */
  async take(): Promise<Inheritance | null> {
    this.#channel.send({ type: 'ready' });
    const hello = await this.#channel.expect(['hello', 'yours'], answerMs);
    if (hello.type === 'yours') return null;
    const inheritance = await receiveEstate(this.#channel, this.#descriptors, cookie => this.dropPod(cookie));
    if (spoken.includes(hello.protocol)) return inheritance;
    inheritance.close();
    return null;
  }

  /** Resolves when the keeper has heard everything that was said to it so far. */
  get settled(): Promise<void> {
    return this.#work;
  }

  /** From here on a crash is followed by another start. */
  serving(): void {
    const { waitMs, stateDir } = this.#options;
    const [protocol = 0] = spoken.slice(-1);
    this.#then(async () => {
      await this.#say({ type: 'hello', protocol, build: versionString(), waitMs }, []);
      announceKeeper(stateDir);
    });
  }

  /** In the place of what was kept of this pod before. */
  keepPod(pod: PodEstate): void {
    const copy = { ...pod, sets: setsOfShard(pod.sets, 0, 1) };
    this.#then(async () => {
      try {
        await sayPod(this.#say, copy);
        await this.#say({ type: 'keep' }, []);
      } finally {
        copy.sets.forEach(closeSet);
      }
    });
  }

  dropPod(cookie: bigint): void {
    this.#then(() => this.#say({ type: 'drop', cookie: cookie.toString() }, []));
  }

  keepPort({ address, port, fd }: PortEstate): void {
    const copy = native.duplicate(fd);
    this.#then(async () => {
      try {
        await sayPort(this.#say, { address, port, fd: copy });
      } finally {
        native.close(copy);
      }
    });
  }

  /** Nothing is kept any more, and nothing follows a crash: the listeners are closed, or another agent's. */
  clear(): Promise<void> {
    withdrawKeeper(this.#options.stateDir);
    this.#then(() => this.#say({ type: 'clear' }, []));
    return this.#work;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#channel.close();
    native.close(this.#descriptors);
  }

  readonly #say: Say<ToKeeper> = async (message, fds) => {
    if (!this.#channel.open) return;
    if (fds.length > 0) native.sendDescriptors(this.#descriptors, fds);
    this.#channel.send(message);
    const answer = await this.#channel.expect(['got', 'refused'], answerMs);
    if (answer.type === 'refused') throw new CulvertError(answer.code, answer.message, { fix: answer.fix });
  };

  async #watch(): Promise<void> {
    const error = await this.#channel.closed;
    if (!this.#closed) this.#failed(error);
  }

  #then(act: () => Promise<void>): void {
    this.#work = this.#work.then(act).catch((thrown: unknown) => {
      if (this.#channel.open) this.#failed(asCulvertError(thrown, 'KEEPER_FAILED'));
    });
  }

  #failed({ code, message }: CulvertError): void {
    this.#options.log.warn({ code, err: message }, 'what listens is not kept for a crash of this agent');
  }
}

/** Times that the keeper of this process had to start an agent again. */
export function crashes(): number {
  return Number(process.env[variables.crashes] ?? 0);
}
