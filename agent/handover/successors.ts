/**
 * Whoever comes to take the place of this agent: one at a time, over the socket in the state directory.
 *
 * The one that serves changes nothing until the new one is ready, takes everything back if the new one is lost before it
 * serves, and afterwards still as long as this process is there.
 */
import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { asCulvertError, CulvertError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { Channel } from './channel.ts';
import { type Estate, sendEstate } from './estate.ts';
import { handoverSocket } from './predecessor.ts';
import { agree, type FromNew, type FromOld, isGreeting, type Standing } from './protocol.ts';

/** What the agent does at each step; all of it is undone by `resume`. */
export interface Giver {
  /** Changes nothing about its pods any more; resolves with what there is to hand over. */
  suspend(): Promise<Estate>;
  /** Accepts no more. */
  pause(): void;
  /** Does nothing any more that only one agent may do, and lets connections end. */
  retire(): Promise<void>;
  /** Is again what it was. */
  resume(): Promise<void>;
  /** The new one, or whoever comes after it, is alone from now on. */
  forget(): Promise<void>;
  /** Everything as before, where the new one has gone and had changed nothing but the programs. */
  restore(): void;
}

export interface SuccessorsOptions {
  readonly directory: string;
  readonly standing: Standing;
  readonly giver: Giver;
  readonly log: Logger;
  /** Counts what came of it. */
  readonly count: (outcome: Outcome) => void;
}

export type Outcome = 'given' | 'refused' | 'failed' | 'returned';

const greetingMs = 2_000;
/** From `yours` to `serving`. */
const servingMs = 15_000;

export class Successors {
  readonly #options: SuccessorsOptions;
  readonly #path: string;
  #server: Server | null = null;
  #inode: number | null = null;
  #current: Channel<FromNew, FromOld> | null = null;
  #settled: Promise<void> = Promise.resolve();
  #ended = false;

  constructor(options: SuccessorsOptions) {
    this.#options = options;
    this.#path = join(options.directory, handoverSocket);
  }

  /** One is there: it is getting ready, or has taken over. */
  get present(): boolean {
    return this.#current !== null;
  }

  /** Resolves when the one that is there has served or failed. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Listens in the place of whoever did before. What fails is only that nobody can take over. */
  listen(): void {
    const fresh = `${this.#path}.${process.pid}`;
    const server = this.#createServer();
    this.#server = server;
    try {
      rmSync(fresh, { force: true });
      // Made within this call, with the rights that it keeps.
      const before = process.umask(0o177);
      server.listen(fresh, () => this.#publish(fresh));
      process.umask(before);
    } catch (error) {
      this.#unavailable(error);
    }
  }

  #publish(fresh: string): void {
    try {
      this.#inode = statSync(fresh).ino;
      renameSync(fresh, this.#path);
    } catch (error) {
      this.#unavailable(error);
    }
  }

  /**
   * Nobody else may come; who is there stays. The file does as well: whoever has taken over puts its own in that place, maybe at
   * this moment.
   */
  stopListening(): void {
    this.#server?.close();
    this.#server = null;
  }

  /** Somebody may have removed the file, a cleaner of old files for instance: then nobody could take over, ever. */
  look(): void {
    if (this.#server?.listening !== true || existsSync(this.#path)) return;
    this.#options.log.warn(
      { code: 'HANDOVER_SOCKET' },
      `somebody has removed ${this.#path}; it is made again`,
    );
    this.stopListening();
    this.listen();
  }

  /** Ends everything: whoever has taken over is alone from now on. */
  close(): void {
    this.#ended = true;
    if (this.#server !== null && statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode)
      rmSync(this.#path, { force: true });
    this.stopListening();
    this.#current?.close();
  }

  #createServer(): Server {
    const server = createServer(socket => {
      this.#receive(socket).catch((thrown: unknown) => {
        const { code, message } = asCulvertError(thrown, 'HANDOVER_FAILED');
        this.#options.log.error({ code, err: message }, 'handover');
      });
    });
    return server.on('error', error => this.#unavailable(error));
  }

  async #receive(socket: Socket): Promise<void> {
    const { standing, log, count } = this.#options;
    const channel = new Channel<FromNew, FromOld>(socket);
    const greeting = await channel.receive(greetingMs);
    const agreed = isGreeting(greeting)
      ? this.#current === null
        ? agree(standing, greeting)
        : new CulvertError('HANDOVER_BUSY', 'another agent is taking over already', {
            fix: 'try again later',
          })
      : new CulvertError('HANDOVER_PROTOCOL', 'that is no greeting');
    if (typeof agreed !== 'number' || !isGreeting(greeting)) {
      const { code, message, fix } = asCulvertError(agreed, 'HANDOVER_PROTOCOL');
      count('refused');
      log.warn({ code, err: message }, 'another agent was refused this one’s place');
      channel.send({ type: 'refused', code, message, fix });
      channel.end();
      return;
    }
    this.#current = channel;
    let settle = (): void => {};
    this.#settled = new Promise(resolve => (settle = resolve));
    try {
      log.info({ build: greeting.build }, 'another agent gets ready to take over');
      channel.send({ type: 'hello', protocol: agreed, build: standing.build });
      await this.#give(channel, greeting.descriptors, settle);
    } finally {
      this.#current = null;
      settle();
    }
  }

  async #give(channel: Channel<FromNew, FromOld>, descriptors: string, settle: () => void): Promise<void> {
    const { giver, log, count, directory } = this.#options;
    try {
      await channel.expect(['ready'], null);
    } catch (error) {
      count('failed');
      log.warn(
        { code: asCulvertError(error, '').code },
        'the new agent has gone before it was ready; all goes on',
      );
      giver.restore();
      return;
    }
    try {
      await sendEstate(channel, await giver.suspend(), directory, descriptors);
      giver.pause();
      channel.send({ type: 'yours' });
      await channel.expect(['serving'], servingMs);
    } catch (error) {
      const { code, message } = asCulvertError(error, 'HANDOVER_FAILED');
      count('failed');
      log.error({ code, err: message }, 'the new agent failed; this one takes everything back');
      channel.close();
      await giver.resume();
      return;
    }
    count('given');
    await giver.retire();
    settle();
    await this.#watch(channel);
  }

  /** The new one serves. If it dies or is told to stop while this one is there, this one serves again. */
  async #watch(channel: Channel<FromNew, FromOld>): Promise<void> {
    const { giver, log, count } = this.#options;
    const message = await channel.receive(null).catch(() => null);
    if (this.#ended) return;
    if (message?.type === 'release') {
      await giver.forget();
      return;
    }
    count('returned');
    log.warn(
      {},
      message === null
        ? 'the new agent has died; this one serves again'
        : 'the new agent gives everything back',
    );
    await giver.resume();
    channel.send({ type: 'resumed' });
    channel.end();
  }

  #unavailable(thrown: unknown): void {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    this.#options.log.warn(
      { code: 'HANDOVER_SOCKET', err: message },
      'no other agent can take over from this one',
    );
  }
}
