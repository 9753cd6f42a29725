/**
 * The agent that runs already, as the one sees it that is to take its place. Until `take` it goes on as if nothing were;
 * afterwards it lets its connections end, and takes everything back when this process dies.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { CulvertError } from '../../base/errors.ts';
import * as native from '../../native/native.ts';
import { Channel } from './channel.ts';
import { type Inheritance, receiveEstate } from './estate.ts';
import type { FromNew, FromOld, Greeting } from './protocol.ts';

/** In the state directory. */
export const handoverSocket = 'handover.sock';
/** What the socket is called, beside it, by which a new agent gets descriptors; one that was killed leaves it. */
export const takePrefix = 'take-';
/** It answers at once, unless another one is just taking over. */
const helloMs = 5_000;
/** It has to load its programs again. */
const resumeMs = 10_000;

export class Predecessor {
  readonly build: string;
  readonly #channel: Channel<FromOld, FromNew>;
  readonly #descriptors: number;
  readonly #path: string;

  private constructor(channel: Channel<FromOld, FromNew>, build: string, descriptors: number, path: string) {
    this.#channel = channel;
    this.build = build;
    this.#descriptors = descriptors;
    this.#path = path;
  }

  /**
   * Null where none runs. Throws HANDOVER_VERSION, HANDOVER_LAYOUT, HANDOVER_REFUSED or HANDOVER_BUSY when the one that
   * runs does not give its place to us.
   */
  static async find(
    directory: string,
    own: Omit<Greeting, 'type' | 'descriptors'>,
  ): Promise<Predecessor | null> {
    const socket = await dial(join(directory, handoverSocket));
    if (socket === null) return null;
    const channel = new Channel<FromOld, FromNew>(socket);
    const name = `${takePrefix}${randomBytes(6).toString('hex')}`;
    const path = join(directory, name);
    const descriptors = native.descriptorSocket(path);
    try {
      channel.send({ type: 'greeting', ...own, descriptors: name });
      const answer = await channel.expect(['hello', 'refused'], helloMs);
      if (answer.type === 'refused') throw new CulvertError(answer.code, answer.message, { fix: answer.fix });
      return new Predecessor(channel, answer.build, descriptors, path);
    } catch (error) {
      channel.close();
      native.close(descriptors);
      rmSync(path, { force: true });
      // One that ended while we asked is none.
      if (error instanceof CulvertError && error.code === 'HANDOVER_LOST') return null;
      throw error;
    }
  }

  /** It is still there, and would take everything back. */
  get present(): boolean {
    return this.#channel.open;
  }

  /** Resolves when it has gone. */
  get gone(): Promise<unknown> {
    return this.#channel.closed;
  }

  /** From here on this process accepts. Rejects with HANDOVER_LOST and others where it has gone. */
  take(): Promise<Inheritance> {
    this.#channel.send({ type: 'ready' });
    return receiveEstate(this.#channel, this.#descriptors);
  }

  /** Everything works: it may let its connections end. */
  serving(): void {
    this.#channel.send({ type: 'serving' });
  }

  /** Another one has come: nothing is given back any more. */
  release(): void {
    this.#channel.send({ type: 'release' });
  }

  /** Gives everything back; resolves with whether it has taken it. */
  async giveBack(): Promise<boolean> {
    if (!this.present) return false;
    this.#channel.send({ type: 'return' });
    try {
      await this.#channel.expect(['resumed'], resumeMs);
      return true;
    } catch {
      return false;
    }
  }

  close(): void {
    this.#channel.close();
    native.close(this.#descriptors);
    rmSync(this.#path, { force: true });
  }
}

/** Null where nobody listens. */
function dial(path: string): Promise<Socket | null> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.off('error', onError);
      resolve(socket);
    });
    const onError = (error: NodeJS.ErrnoException): void => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(null);
      else
        reject(
          new CulvertError('HANDOVER_SOCKET', `cannot ask at ${path}: ${error.message}`, { cause: error }),
        );
    };
    socket.once('error', onError);
  });
}
