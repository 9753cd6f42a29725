/**
 * Writes the status of the mesh's own objects and of routes and waypoints, as status-decision.ts says it should be: by the replica that leads, only what
 * has changed, and never faster than an API server likes.
 */
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { objectName } from '../located.ts';
import { Rate } from '../rate.ts';
import { hasStatus } from './api-error.ts';
import type { Api } from './api.ts';
import { objectPath } from './discovery.ts';
import { writeTimeoutMs } from './lease.ts';
import type { OwnObject } from './own-object.ts';
import { type StatusChange, type StatusKnowledge, statusChange } from './status-decision.ts';

export interface StatusWriterOptions {
  readonly api: Api;
  readonly knowledge: StatusKnowledge;
  /** Asked before each write. */
  readonly mayWrite: () => boolean;
  readonly log: Logger;
  readonly timing?: Partial<StatusTiming>;
}

export interface StatusTiming {
  /** Between two looks at all objects. */
  readonly lookMs: number;
  /** What is written of one object stays so long at least: a message that names numbers changes all the time. */
  readonly settledMs: number;
}

const defaultTiming: StatusTiming = { lookMs: 1_000, settledMs: 10_000 };
const limit = { perSecond: 20, burst: 40 };
const concurrency = 4;

/** The last attempt at an object. */
interface Written {
  readonly at: number;
  readonly generation: number;
  readonly failed: boolean;
}

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #timing: StatusTiming;
  readonly #rate = new Rate(limit, performance.now());
  readonly #stop = new AbortController();
  /** By uid. */
  readonly #written = new Map<string, Written>();
  #objects: readonly OwnObject[] = [];
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | null = null;
  #problem: string | null = null;
  #writes = 0;
  #failures = 0;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
  }

  get counts(): { readonly written: number; readonly failed: number } {
    return { written: this.#writes, failed: this.#failures };
  }

  /** These are the objects now; `findingsOf` speaks of these versions. */
  update(objects: readonly OwnObject[]): void {
    this.#objects = objects;
    this.lead();
  }

  /** This replica may write now, or has something new to write. */
  lead(): void {
    if (this.#options.mayWrite()) this.#lookSoon(this.#timing.lookMs);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  #lookSoon(ms: number): void {
    if (this.#stop.signal.aborted || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#look().finally(() => {
        this.#timer = undefined;
        // One that has just been written, or that failed. Who does not lead waits for `update`.
        if (this.#options.mayWrite() && this.#pending().length > 0)
          this.#lookSoon(Math.max(this.#timing.lookMs, ms));
      });
    }, ms);
    this.#timer.unref();
  }

  /** Objects whose status is not as it should be. */
  #pending(): { object: OwnObject; change: StatusChange }[] {
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    return this.#objects.flatMap(object => {
      const change = statusChange(object, this.#options.knowledge, now);
      return change === null ? [] : [{ object, change }];
    });
  }

  async #look(): Promise<void> {
    const pending = this.#pending();
    this.#forget();
    const workers = Array.from({ length: concurrency }, async () => {
      for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
        if (this.#stop.signal.aborted || !this.#options.mayWrite()) return;
        if (this.#isSettling(next.object, next.change)) continue;
        const early = this.#rate.take(performance.now());
        if (early > 0) await this.#wait(early);
        // Waiting may have taken the lease from us.
        if (this.#stop.signal.aborted || !this.#options.mayWrite()) return;
        await this.#write(next.object, next.change);
      }
    });
    await Promise.all(workers);
  }

  #isSettling({ uid, generation }: OwnObject, { isStep }: StatusChange): boolean {
    const written = this.#written.get(uid);
    if (written === undefined || written.generation !== generation) return false;
    if (isStep && !written.failed) return false;
    return performance.now() - written.at < this.#timing.settledMs;
  }

  async #write(object: OwnObject, { status }: StatusChange): Promise<void> {
    const { api, log } = this.#options;
    const { served, namespace, name, uid, resourceVersion, generation } = object;
    try {
      await api.json({
        method: 'PATCH',
        path: `${objectPath(served, namespace, name)}/status`,
        contentType: 'application/merge-patch+json',
        // A list is replaced as a whole: what another has written meanwhile must not be lost.
        body: { metadata: { uid, resourceVersion }, status },
        signal: this.#stop.signal,
        timeoutMs: writeTimeoutMs,
      });
      this.#writes += 1;
      this.#problem = null;
      this.#written.set(uid, { at: performance.now(), generation, failed: false });
      log.debug({ object: nameOf(object) }, 'status written');
    } catch (error) {
      // Changed or gone meanwhile: the watch says how.
      if (this.#stop.signal.aborted || hasStatus(error, 404, 409)) return;
      this.#failures += 1;
      this.#written.set(uid, { at: performance.now(), generation, failed: true });
      const problem = describeError(error);
      if (problem !== this.#problem)
        log.warn({ object: nameOf(object), err: problem }, 'status could not be written');
      this.#problem = problem;
    }
  }

  /** Forgets objects that are gone. */
  #forget(): void {
    if (this.#written.size <= 2 * this.#objects.length) return;
    const uids = new Set(this.#objects.map(({ uid }) => uid));
    for (const uid of this.#written.keys()) if (!uids.has(uid)) this.#written.delete(uid);
  }

  async #wait(ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      setTimeout(resolve, ms).unref();
    });
  }
}

function nameOf({ served, namespace, name }: OwnObject): string {
  return objectName({ kind: served.kind, namespace, name });
}
