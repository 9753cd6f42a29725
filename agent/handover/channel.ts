/**
 * One conversation between two agents on a Unix socket: lines of JSON, read one by one by whoever waits for the next.
 *
 * Only root, or the user that the agent itself runs as, is talked to.
 */
import type { Socket } from 'node:net';
import { asCulvertError, CulvertError } from '../../base/errors.ts';
import * as native from '../../native/native.ts';
import { fdOf } from '../socket-handle.ts';

interface Message {
  readonly type: string;
}

interface Waiting<In> {
  readonly resolve: (message: In) => void;
  readonly reject: (error: CulvertError) => void;
}

/** No message is longer. */
const maxLineBytes = 1024 * 1024;

export class Channel<In extends Message, Out extends Message> {
  readonly #socket: Socket;
  readonly #messages: In[] = [];
  readonly #closed: Promise<CulvertError>;
  #waiting: Waiting<In> | null = null;
  #error: CulvertError | null = null;
  #rest = '';
  #end: (error: CulvertError) => void = () => {};

  /** Throws HANDOVER_PEER for a process of somebody else. */
  constructor(socket: Socket) {
    const user = native.peerUser(fdOf(socket));
    if (user !== 0 && user !== process.getuid?.()) {
      socket.destroy();
      throw new CulvertError('HANDOVER_PEER', `a process of user ${user} is at the other end`);
    }
    this.#socket = socket;
    this.#closed = new Promise(resolve => (this.#end = resolve));
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#read(text));
    socket.on('error', () => {});
    socket.once('close', () => this.#fail(new CulvertError('HANDOVER_LOST', 'the other agent has gone')));
  }

  /** Resolves with the reason once nothing comes any more. */
  get closed(): Promise<CulvertError> {
    return this.#closed;
  }

  get open(): boolean {
    return this.#error === null;
  }

  send(message: Out): void {
    if (!this.#socket.destroyed) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** The next message. Rejects with HANDOVER_LOST, or HANDOVER_TIMEOUT where a time is given. One caller at a time. */
  receive(timeoutMs: number | null): Promise<In> {
    const message = this.#messages.shift();
    if (message !== undefined) return Promise.resolve(message);
    if (this.#error !== null) return Promise.reject(this.#error);
    return new Promise<In>((resolve, reject) => {
      const timer =
        timeoutMs === null
          ? null
          : setTimeout(() => {
              this.#fail(
                new CulvertError('HANDOVER_TIMEOUT', `the other agent said nothing for ${timeoutMs} ms`),
              );
            }, timeoutMs);
      const settled = (): void => {
        if (timer !== null) clearTimeout(timer);
        this.#waiting = null;
      };
      this.#waiting = {
        resolve: next => {
          settled();
          resolve(next);
        },
        reject: error => {
          settled();
          reject(error);
        },
      };
    });
  }

  /** The next message, which must be one of these. Rejects with HANDOVER_PROTOCOL for another. */
  async expect<T extends In['type']>(
    types: readonly T[],
    timeoutMs: number | null,
  ): Promise<Extract<In, { type: T }>> {
    const message = await this.receive(timeoutMs);
    if ((types as readonly string[]).includes(message.type)) return message as Extract<In, { type: T }>;
    const error = new CulvertError(
      'HANDOVER_PROTOCOL',
      `the other agent said ${JSON.stringify(message.type)} instead of ${types.join(' or ')}`,
    );
    this.#fail(error);
    throw error;
  }

  close(): void {
    this.#fail(new CulvertError('HANDOVER_LOST', 'this agent has ended the conversation'));
  }

  /** Sends what is written, then closes. */
  end(): void {
    this.#socket.end();
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > maxLineBytes)
      this.#fail(new CulvertError('HANDOVER_PROTOCOL', 'the other agent said a line without an end'));
    for (const line of lines) {
      try {
        this.#take(JSON.parse(line) as In);
      } catch (thrown) {
        this.#fail(asCulvertError(thrown, 'HANDOVER_PROTOCOL'));
      }
    }
  }

  #take(message: In): void {
    if (this.#waiting === null) this.#messages.push(message);
    else this.#waiting.resolve(message);
  }

  #fail(error: CulvertError): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#socket.destroy();
    this.#waiting?.reject(error);
    this.#end(error);
  }
}
