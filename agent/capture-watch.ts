/**
 * Proves again and again that enrolled pods are captured: each one when it is enrolled, then one after the other for
 * as long as the agent runs. "Attached" is not believed; a pod that escapes is named in status, readiness and log.
 */
import type { Logger } from '../base/log.ts';
import type { ReadyTask } from '../base/ready.ts';
import type { Pods } from './pods.ts';
import type { Redirect } from './redirect.ts';
import type { SelfTestResult } from './redirect-selftest.ts';

/** Between two pods of the endless round. */
const everyMs = 15_000;

export interface CaptureWatchOptions {
  readonly pods: Pods;
  readonly redirect: Redirect;
  readonly log: Logger;
  /** Undone while any pod is not captured as it should be. */
  readonly task: ReadyTask;
}

export class CaptureWatch {
  readonly #options: CaptureWatchOptions;
  /** Pods by cookie whose last test failed, with what failed. */
  readonly #failing = new Map<bigint, readonly SelfTestResult[]>();
  readonly #tested = new Set<bigint>();
  #round: bigint[] = [];
  #timer: NodeJS.Timeout | null = null;
  #work: Promise<void> = Promise.resolve();

  constructor(options: CaptureWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#next(), everyMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Why a pod is not captured as it should be; null when it is. */
  problem(cookie: bigint): string | null {
    const failing = this.#failing.get(cookie);
    return failing === undefined ? null : failing.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
  }

  /** Tests what was enrolled since the last call and what failed then, and forgets what has gone. */
  async follow(): Promise<void> {
    const present = new Map(this.#options.pods.list().map(pod => [pod.cookie, pod]));
    for (const known of [this.#tested, this.#failing]) {
      for (const cookie of known.keys()) if (!present.has(cookie)) known.delete(cookie);
    }
    for (const cookie of present.keys())
      if (!this.#tested.has(cookie) || this.#failing.has(cookie)) await this.#test(cookie);
    this.#settle();
  }

  #next(): Promise<void> {
    if (this.#round.length === 0) this.#round = this.#options.pods.list().map(pod => pod.cookie);
    const cookie = this.#round.pop();
    return cookie === undefined ? Promise.resolve() : this.#test(cookie).then(() => this.#settle());
  }

  /** One at a time: each test opens sockets inside a pod. */
  #test(cookie: bigint): Promise<void> {
    this.#work = this.#work.then(() => this.#testNow(cookie));
    return this.#work;
  }

  async #testNow(cookie: bigint): Promise<void> {
    const { pods, redirect, log } = this.#options;
    const pod = pods.byCookie(cookie);
    if (pod === null) return;
    const failed = (await redirect.selfTest(pod)).filter(result => !result.ok);
    // It may have been retired meanwhile, and then nothing about it counts.
    if (pods.byCookie(cookie) === null) return;
    this.#tested.add(cookie);
    const before = this.problem(cookie);
    if (failed.length === 0) this.#failing.delete(cookie);
    else this.#failing.set(cookie, failed);
    const now = this.problem(cookie);
    if (now === before) return;
    if (now === null) log.info({ pod: pod.name }, 'pod is captured again');
    else
      log.error(
        { code: 'NOT_CAPTURED', pod: pod.name, err: now, fix: failed[0]?.fix ?? null },
        'pod is not captured as it should be',
      );
  }

  #settle(): void {
    const { task } = this.#options;
    if (this.#failing.size === 0) task.done();
    else task.undo(`${this.#failing.size} pods are not captured`);
  }
}
