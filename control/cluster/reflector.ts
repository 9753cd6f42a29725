/**
 * One collection of the API server, followed for as long as the process lives: a list, then a watch from where the list
 * ended, and again from the list only when the server has forgotten that place (410).
 *
 * First step of the way from a cluster to the mesh: reflect → objects → build. A list comes in pages and none of it is
 * kept here; a watch that ends, breaks, falls silent or brings garbage is opened again from the last object it brought.
 * While the server is away nothing is taken back: what was seen last stays with whoever was told.
 * The protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
import { setImmediate, setTimeout } from 'node:timers/promises';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { ApiError, hasStatus, isExpired } from './api-error.ts';
import { type ApiObject, Garbage, eventOf, listOf } from './api-events.ts';
import type { Api } from './api.ts';
import { Backoff } from './backoff.ts';

/** Who is told. Must not throw. Between `begin` and `end` comes every object that there is; the others are gone. */
export interface ReflectorSink {
  begin(): void;
  set(object: ApiObject): void;
  delete(object: ApiObject): void;
  end(): void;
}

export interface ReflectorOptions {
  readonly api: Api;
  /** Of the collection over all namespaces: `/api/v1/pods`. */
  readonly path: string;
  /** Only objects like this: `metadata.name=culvert-ca`. */
  readonly fieldSelector?: string;
  readonly sink: ReflectorSink;
  readonly log: Logger;
  /** Only metadata is asked for (PartialObjectMetadata): the rest of these objects is large, changes often and is not read. */
  readonly metadataOnly?: boolean;
  readonly timing?: Partial<ReflectorTiming>;
}

export interface ReflectorTiming {
  /** Objects in one page of a list. */
  readonly pageSize: number;
  /** The server ends a watch after between this and twice this, seconds: so that load spreads over its replicas. */
  readonly watchSeconds: number;
  /** A connection on which nothing comes for this long is dead; servers send a bookmark every minute. */
  readonly silentMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** A watch that has held this long counts as a success even when it brought nothing. */
  readonly steadyMs: number;
}

export interface ReflectorState {
  /** Whether the first list has come to its end. */
  readonly synced: boolean;
  /** Of the last attempt; null while all is well. */
  readonly problem: string | null;
  readonly lists: number;
  readonly watches: number;
  readonly failures: number;
  /** Milliseconds since the epoch of the last thing the server said about this collection; null before the first. */
  readonly heardAt: number | null;
}

const defaultTiming: ReflectorTiming = {
  pageSize: 500,
  watchSeconds: 300,
  silentMs: 150_000,
  backoffMinMs: 200,
  backoffMaxMs: 10_000,
  steadyMs: 5_000,
};

/** Objects of a page that are handed over in one turn of the event loop. */
const breath = 100;
/** After so many watches in a row that were refused or made no sense, the place they start from is not trusted any more. */
const maxRefusals = 3;
/** Pages come from one moment that the server remembers for some minutes; where that is too short, all comes at once. */
const maxExpiredLists = 2;

export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #timing: ReflectorTiming;
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  /** Resolves when the first list is complete; never while the collection can't be read. */
  readonly synced: Promise<void>;
  #onSynced: () => void = () => {};
  #running: Promise<void> | null = null;
  #version: string | null = null;
  #refusals = 0;
  #expiredLists = 0;
  #state = { synced: false, lists: 0, watches: 0, failures: 0 };
  #problem: string | null = null;
  #heardAt: number | null = null;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#backoff = new Backoff({ minMs: this.#timing.backoffMinMs, maxMs: this.#timing.backoffMaxMs });
    this.synced = new Promise(resolve => (this.#onSynced = resolve));
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** No call of the sink comes after this has resolved. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  get state(): ReflectorState {
    return { ...this.#state, problem: this.#problem, heardAt: this.#heardAt };
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        this.#version ??= await this.#list();
        await this.#watch(this.#version);
        continue;
      } catch (error) {
        if (signal.aborted) return;
        await this.#failed(error);
      }
    }
  }

  /** Notes what went wrong, decides where to go on from, and waits. */
  async #failed(error: unknown): Promise<void> {
    const { log, path } = this.#options;
    this.#state.failures += 1;
    const isRefusal = error instanceof ApiError && error.status !== 0 && !hasStatus(error, 429, 401, 403);
    this.#refusals = isRefusal || error instanceof Garbage ? this.#refusals + 1 : this.#refusals;
    if (isExpired(error) && this.#version === null) this.#expiredLists += 1;
    if (isExpired(error) || this.#refusals >= maxRefusals) {
      this.#version = null;
      this.#refusals = 0;
    }
    const problem = describeError(error);
    // An expired place is part of the protocol; the same failure over and over is said once.
    const level = isExpired(error) || problem === this.#problem ? 'debug' : 'warn';
    log[level]({ path, err: problem }, 'the API server can not be followed: trying again');
    if (!isExpired(error)) this.#problem = problem;
    const asked = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
    await this.#wait(Math.max(this.#backoff.next(), asked));
  }

  async #wait(ms: number): Promise<void> {
    await setTimeout(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => {});
  }

  #works(): void {
    this.#backoff.reset();
    this.#refusals = 0;
    this.#recovered();
  }

  #recovered(): void {
    if (this.#problem === null) return;
    this.#problem = null;
    this.#options.log.info({ path: this.#options.path }, 'the API server is followed again');
  }

  /** Hands over the whole collection. Returns the version to watch from. */
  async #list(): Promise<string> {
    const { api, path, sink, metadataOnly = false } = this.#options;
    const { signal } = this.#stop;
    this.#state.lists += 1;
    sink.begin();
    let page: string | null = '';
    let version = '';
    while (page !== null) {
      const query = this.#selection();
      if (this.#expiredLists < maxExpiredLists) query.set('limit', String(this.#timing.pageSize));
      if (page !== '') query.set('continue', page);
      const answer = await api.json({
        path: `${path}?${query.toString()}`,
        accept: metadataOnly ? acceptMetadata('PartialObjectMetadataList') : 'application/json',
        signal,
      });
      const { items, metadata } = listOf(answer, path);
      this.#heardAt = Date.now();
      for (const [index, item] of items.entries()) {
        if (index % breath === breath - 1) await setImmediate();
        signal.throwIfAborted();
        sink.set(item);
      }
      version = metadata.resourceVersion;
      page = metadata.continue;
    }
    sink.end();
    this.#expiredLists = 0;
    this.#works();
    if (!this.#state.synced) {
      this.#state.synced = true;
      this.#onSynced();
    }
    return version;
  }

  #selection(): URLSearchParams {
    const { fieldSelector } = this.#options;
    return new URLSearchParams(fieldSelector === undefined ? {} : { fieldSelector });
  }

  /** Follows changes until the server ends the watch. */
  async #watch(version: string): Promise<void> {
    const { api, path, metadataOnly = false } = this.#options;
    const { watchSeconds, silentMs, steadyMs, backoffMinMs } = this.#timing;
    const seconds = Math.floor(watchSeconds * (1 + Math.random()));
    const query = new URLSearchParams({
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: version,
      timeoutSeconds: String(seconds),
      ...Object.fromEntries(this.#selection()),
    });
    this.#state.watches += 1;
    const startedAt = performance.now();
    let events = 0;
    await api.lines(
      {
        path: `${path}?${query.toString()}`,
        accept: metadataOnly ? acceptMetadata('PartialObjectMetadata') : 'application/json',
        signal: this.#stop.signal,
      },
      {
        silentMs,
        onOpen: () => this.#recovered(),
        onLine: line => {
          this.#take(line);
          events += 1;
          if (events === 1) this.#works();
        },
      },
    );
    const held = performance.now() - startedAt;
    if (events > 0 || held >= steadyMs) this.#works();
    // A server that hangs up at once without a word is not asked again at once.
    else throw new ApiError(0, '', `GET ${path}: the watch ended at once`);
    // Nor one that does after each word.
    if (held < backoffMinMs) await this.#wait(backoffMinMs);
  }

  #take(line: string): void {
    const { sink, path } = this.#options;
    this.#stop.signal.throwIfAborted();
    const event = eventOf(line, path);
    this.#heardAt = Date.now();
    switch (event.type) {
      case 'ADDED':
      case 'MODIFIED':
        sink.set(event.object);
        break;
      case 'DELETED':
        sink.delete(event.object);
        break;
      default:
        // A bookmark says only how far we are.
        break;
    }
    this.#version = event.object.metadata.resourceVersion;
  }
}

function acceptMetadata(kind: string): string {
  return `application/json;as=${kind};g=meta.k8s.io;v=v1,application/json`;
}
