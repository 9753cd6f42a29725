/**
 * The main thread's side of the shards: starts them, tells them everything, asks them questions, and replaces the ones
 * that die or hang. Only the connections of a dead shard are lost; its listeners wait in the main thread.
 */
import { Worker } from 'node:worker_threads';
import type { Logger } from '../base/log.ts';
import * as native from '../native/native.ts';
import type { FromShard, Question, ShardAnswer, ShardStart, ToShard } from './messages.ts';

interface Shard {
  readonly index: number;
  readonly worker: Worker;
  ready: boolean;
  lastAnswerAt: number;
}

export interface ShardsOptions {
  readonly count: number;
  readonly start: Omit<ShardStart, 'index' | 'queues'>;
  readonly hangMs: number;
  readonly log: Logger;
  /** Everything that a new shard must be told, in order; descriptors in it are made for this shard. */
  readonly introduce: (index: number) => readonly ToShard[];
  readonly onMessage: (index: number, message: FromShard) => void;
  /** A shard is gone; called before its replacement is introduced. */
  readonly onLost: (index: number, why: string) => void;
}

const askTimeoutMs = 5_000;
const restartDelayMs = 100;

export class Shards {
  readonly #options: ShardsOptions;
  readonly #shards: (Shard | null)[] = [];
  readonly #asked = new Map<number, (answer: ShardAnswer | null) => void>();
  readonly #queues: native.SocketQueueEnds[] = [];
  #nextQuestion = 1;
  #watch: NodeJS.Timeout | null = null;
  #stopping = false;
  restarts = 0;

  constructor(options: ShardsOptions) {
    this.#options = options;
  }

  /** Starts all shards; resolves when each runs. */
  async start(): Promise<void> {
    const started: Promise<void>[] = [];
    for (let index = 0; index < this.#options.count; index += 1) this.#queues.push(native.socketQueue());
    for (let index = 0; index < this.#options.count; index += 1) started.push(this.#spawn(index));
    await Promise.all(started);
    const every = Math.max(250, Math.floor(this.#options.hangMs / 4));
    this.#watch = setInterval(() => this.#checkHangs(), every).unref();
  }

  get count(): number {
    return this.#options.count;
  }

  /** Shards that run now. */
  get running(): number {
    return this.#shards.filter(shard => shard?.ready === true).length;
  }

  /** @param except a shard that knows already */
  broadcast(message: ToShard, except: number | null = null): void {
    for (const shard of this.#shards) if (shard?.index !== except) shard?.worker.postMessage(message);
  }

  send(index: number, message: ToShard): boolean {
    const shard = this.#shards[index];
    if (shard === null || shard === undefined) return false;
    shard.worker.postMessage(message);
    return true;
  }

  /** Asks every shard; a shard that doesn't answer in time is left out. */
  async ask<K extends Question>(
    question: K,
  ): Promise<{ shard: number; answer: Extract<ShardAnswer, { kind: K }> }[]> {
    const asked = this.#shards.map(async shard =>
      shard?.ready === true ? { shard: shard.index, answer: await this.#askOne(shard, question) } : null,
    );
    const settled = await Promise.all(asked);
    return settled.filter(
      (it): it is { shard: number; answer: Extract<ShardAnswer, { kind: K }> } =>
        it?.answer?.kind === question,
    );
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#watch !== null) clearInterval(this.#watch);
    await Promise.all(this.#shards.map(async shard => shard?.worker.terminate()));
    for (const queue of this.#queues.splice(0)) for (const end of [queue.in, queue.out]) native.close(end);
  }

  #askOne(shard: Shard, question: Question): Promise<ShardAnswer | null> {
    const id = this.#nextQuestion++;
    return new Promise(resolve => {
      const timer = setTimeout(() => {
        this.#asked.delete(id);
        resolve(null);
      }, askTimeoutMs);
      this.#asked.set(id, answer => {
        clearTimeout(timer);
        this.#asked.delete(id);
        resolve(answer);
      });
      shard.worker.postMessage({ type: 'ask', id, question } satisfies ToShard);
    });
  }

  #spawn(index: number): Promise<void> {
    return new Promise(resolve => {
      const worker = new Worker(new URL('./shard-main.ts', import.meta.url), {
        name: `shard-${index}`,
        workerData: { ...this.#options.start, index, queues: this.#queues } satisfies ShardStart,
      });
      const shard: Shard = { index, worker, ready: false, lastAnswerAt: Date.now() };
      this.#shards[index] = shard;
      let reason = 'it exited';
      worker.on('message', (message: FromShard) => {
        shard.lastAnswerAt = Date.now();
        if (message.type === 'started') {
          shard.ready = true;
          for (const introduction of this.#options.introduce(index)) worker.postMessage(introduction);
          worker.postMessage({ type: 'introduced' } satisfies ToShard);
          resolve();
        } else if (message.type === 'answer') {
          this.#asked.get(message.id)?.(message.answer);
        } else {
          this.#options.onMessage(index, message);
        }
      });
      worker.on('error', error => {
        reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      });
      worker.once('exit', code => {
        this.#shards[index] = null;
        if (this.#stopping) return;
        this.restarts += 1;
        this.#options.log.error(
          { shard: index, exitCode: code, err: reason },
          'a shard died; its connections are lost and it is being replaced',
        );
        this.#options.onLost(index, reason);
        setTimeout(() => void this.#spawn(index).then(resolve), restartDelayMs);
      });
    });
  }

  #checkHangs(): void {
    const now = Date.now();
    for (const shard of this.#shards) {
      if (shard === null || !shard.ready) continue;
      if (now - shard.lastAnswerAt > this.#options.hangMs) {
        this.#options.log.error(
          { shard: shard.index, silentMs: now - shard.lastAnswerAt },
          'a shard hangs; terminating it',
        );
        void shard.worker.terminate();
        continue;
      }
      void this.#askOne(shard, 'ping');
    }
  }
}
