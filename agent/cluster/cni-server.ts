/**
 * The Unix socket where the CNI plugin asks whether a pod may start. For root alone, by the rights on it.
 *
 * The socket is put in place by a rename, so that a new agent takes over from one that still drains without a moment in
 * which nobody answers; the old one leaves it alone when it ends.
 */
import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { asCulvertError, CulvertError, describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import {
  type CniAnswer,
  type CniQuestion,
  cniCodes,
  decodeQuestion,
  encodeAnswer,
  maxQuestionBytes,
} from './cni-protocol.ts';
import { type CniOutcome, CniTimes } from './cni-times.ts';

export interface CniServerOptions {
  readonly socket: string;
  /** Answers a question; the signal says that nobody waits for the answer any more. Must not reject. */
  readonly answer: (question: CniQuestion, signal: AbortSignal) => Promise<CniAnswer>;
  readonly log: Logger;
}

/** Who waits for an answer, and since when. */
interface Asked {
  readonly signal: AbortSignal;
  readonly from: number;
}

/** A plugin sends its question in one go. */
const questionTimeoutMs = 5_000;
/** A node starts a few pods at a time. */
const maxConnections = 512;

export class CniServer {
  /** Of questions whether a pod may start. */
  readonly times = new CniTimes();
  readonly #options: CniServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #inode: number | null = null;
  #asked = 0;

  constructor(options: CniServerOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true }, socket => this.#serve(socket));
    this.#server.maxConnections = maxConnections;
  }

  /** Questions under way. */
  get waiting(): number {
    return this.#sockets.size;
  }

  /** Questions since the start. */
  get asked(): number {
    return this.#asked;
  }

  /** Throws CNI_SOCKET. */
  async start(): Promise<void> {
    const { socket } = this.#options;
    const fresh = `${socket}.${process.pid}`;
    try {
      mkdirSync(dirname(socket), { recursive: true, mode: 0o755 });
      rmSync(fresh, { force: true });
      await this.#listen(fresh);
      this.#inode = statSync(fresh).ino;
      renameSync(fresh, socket);
    } catch (cause) {
      throw new CulvertError(
        'CNI_SOCKET',
        `cannot listen at ${socket}: ${asCulvertError(cause, '').message}`,
        {
          fix: 'give the agent a directory that it may write, shared with the node, with --cni-socket',
          cause,
        },
      );
    }
  }

  /** Whoever waits gets no answer, and so falls under the rule for an agent that is away. */
  async close(): Promise<void> {
    const { socket } = this.#options;
    if (this.#inode !== null && inodeOf(socket) === this.#inode) rmSync(socket, { force: true });
    for (const open of this.#sockets) open.destroy();
    await new Promise<void>(resolve => this.#server.close(() => resolve()));
  }

  async #listen(path: string): Promise<void> {
    const listening = new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.once('listening', resolve);
    });
    // The file is made within this call, with the rights that it keeps: nobody else can connect, from the beginning.
    const before = process.umask(0o177);
    this.#server.listen(path);
    process.umask(before);
    await listening;
    this.#server.on('error', error => {
      this.#options.log.error({ code: 'CNI_SOCKET', err: error.message }, 'socket of the CNI plugin');
    });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    const gone = new AbortController();
    const from = performance.now();
    socket.on('error', () => {});
    socket.once('close', () => {
      this.#sockets.delete(socket);
      gone.abort();
    });
    const slow = setTimeout(() => socket.destroy(), questionTimeoutMs);
    let bytes = Buffer.alloc(0);
    const read = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 4) return;
      const end = 4 + bytes.readUInt32BE(0);
      if (end > maxQuestionBytes) socket.destroy();
      if (bytes.length < end || socket.destroyed) return;
      clearTimeout(slow);
      socket.off('data', read);
      socket.resume();
      void this.#answer(socket, bytes.subarray(4, end), { signal: gone.signal, from });
    };
    socket.on('data', read);
    socket.once('close', () => clearTimeout(slow));
    // A plugin that has closed its end was killed: nobody reads an answer.
    socket.once('end', () => gone.abort());
  }

  async #answer(socket: Socket, bytes: Buffer, { signal, from }: Asked): Promise<void> {
    this.#asked += 1;
    const answer = await this.#decide(bytes, { signal, from });
    if (!socket.destroyed) socket.end(encodeAnswer(answer));
  }

  async #decide(bytes: Buffer, { signal, from }: Asked): Promise<CniAnswer> {
    try {
      const question = decodeQuestion(bytes);
      const answer = await this.#options.answer(question, signal);
      if (question.command === 'ADD')
        this.times.observe(outcomeOf(answer, signal), (performance.now() - from) / 1_000);
      return answer;
    } catch (thrown) {
      const error = asCulvertError(thrown, 'CNI_FAILED');
      this.#options.log.error({ code: error.code, err: error.message, fix: error.fix }, 'CNI question');
      return { code: cniCodes.badInput, message: describeError(error), details: error.code };
    }
  }
}

function outcomeOf({ code, enrolled }: CniAnswer, { aborted }: AbortSignal): CniOutcome {
  if (aborted) return 'abandoned';
  if (code !== 0) return 'refused';
  return enrolled === true ? 'enrolled' : 'passed';
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
