/**
 * Everything of a cluster that the mesh reads, followed: which kinds there are is asked again and again, each has its
 * reflector, and all of them fill one store.
 *
 * Nothing is handed on before every kind was read once: half of a configuration is a wrong one. A kind that may not be
 * read holds the start up and says so; one that is installed later comes in while the rest goes on.
 */
import { setTimeout } from 'node:timers/promises';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { KindName } from '../../model/kinds/registry.ts';
import type { Finding } from '../finding.ts';
import type { Api } from './api.ts';
import { Backoff } from './backoff.ts';
import { type ServedKind, collectionPath, discover, isMetadataOnly, servedKey } from './discovery.ts';
import type { ClusterObjects } from './objects.ts';
import { Reflector, type ReflectorState, type ReflectorTiming } from './reflector.ts';

export interface ClusterWatchOptions {
  readonly api: Api;
  readonly store: ClusterObjects;
  readonly kinds: readonly KindName[];
  readonly log: Logger;
  /** How often to look for new kinds, milliseconds. Default 15 000. */
  readonly discoveryMs?: number;
  readonly timing?: Partial<ReflectorTiming>;
}

export interface FollowedKind extends ReflectorState {
  readonly key: string;
  readonly kind: KindName;
  readonly apiVersion: string;
}

const discoveryMs = 15_000;
/** A server that starts may not know of all its kinds yet: one that is missing must be missing so often in a row. */
const maxMissing = 3;

interface Followed {
  readonly served: ServedKind;
  readonly reflector: Reflector;
  missing: number;
}

export class ClusterWatch {
  readonly #options: ClusterWatchOptions;
  readonly #stop = new AbortController();
  readonly #followed = new Map<string, Followed>();
  readonly #backoff = new Backoff({ minMs: 500, maxMs: 15_000 });
  #running: Promise<void> | null = null;
  #problem: string | null = null;

  constructor(options: ClusterWatchOptions) {
    this.#options = options;
  }

  /** Resolves when every kind of the server was read once and the store is open; rejects when stopped before. */
  async start(): Promise<void> {
    const { signal } = this.#stop;
    while (!(await this.#discover())) {
      await this.#wait(this.#backoff.next());
      signal.throwIfAborted();
    }
    this.#running = this.#goOnDiscovering();
    const stopped = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('stopped')), { once: true });
    });
    const synced = Promise.all(Array.from(this.#followed.values(), ({ reflector }) => reflector.synced));
    await Promise.race([synced, stopped]);
    this.#options.store.open();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Promise.all(Array.from(this.#followed.values(), ({ reflector }) => reflector.stop()));
  }

  state(): FollowedKind[] {
    return Array.from(this.#followed, ([key, { served, reflector }]) => ({
      key,
      kind: served.kind,
      apiVersion: served.apiVersion,
      ...reflector.state,
    }));
  }

  /** What keeps us from knowing the cluster as it is now. */
  problems(): string[] {
    const problems = this.state().flatMap(({ key, problem }) =>
      problem === null ? [] : [`${key}: ${problem}`],
    );
    return this.#problem === null ? problems : [`kinds: ${this.#problem}`, ...problems];
  }

  /** Kinds that can not be followed just now, as findings. */
  findings(): Finding[] {
    return this.state().flatMap(({ key, synced, problem }) => {
      if (problem === null) return [];
      const rest = synced ? 'what was known of it last stays in force' : 'nothing of it is in force';
      const message = `${key} can not be followed, ${rest}: ${problem}`;
      return [{ ...noPlace, severity: 'error', code: 'kind-unreadable', message }];
    });
  }

  async #goOnDiscovering(): Promise<void> {
    const every = this.#options.discoveryMs ?? discoveryMs;
    while (!this.#stop.signal.aborted) {
      await this.#wait(every);
      if (!this.#stop.signal.aborted) await this.#discover();
    }
  }

  /** Follows what is new. False when the server did not say what it has. */
  async #discover(): Promise<boolean> {
    const { api, kinds, log } = this.#options;
    let found: ServedKind[];
    try {
      found = await discover(api, kinds, this.#stop.signal);
      // A server without pods is none that has started.
      if (!found.some(({ kind }) => kind === 'Pod') && kinds.includes('Pod'))
        throw new Error('no pods are served');
    } catch (error) {
      if (this.#stop.signal.aborted) return false;
      const problem = describeError(error);
      if (problem !== this.#problem) log.warn({ err: problem }, 'the API server does not say what it has');
      this.#problem = problem;
      return false;
    }
    this.#problem = null;
    this.#backoff.reset();
    const served = new Map(found.map(kind => [servedKey(kind), kind]));
    for (const [key, kind] of served) await this.#follow(key, kind);
    for (const [key, followed] of this.#followed) {
      followed.missing = served.has(key) ? 0 : followed.missing + 1;
      if (followed.missing >= maxMissing) await this.#forget(key, followed);
    }
    return true;
  }

  async #follow(key: string, served: ServedKind): Promise<void> {
    const { api, store, log, timing = {} } = this.#options;
    const known = this.#followed.get(key);
    if (known?.served.apiVersion === served.apiVersion) return;
    await known?.reflector.stop();
    if (this.#stop.signal.aborted) return;
    const reflector = new Reflector({
      api,
      path: collectionPath(served),
      metadataOnly: isMetadataOnly(served.kind),
      sink: store.sink(served),
      log,
      timing,
    });
    this.#followed.set(key, { served, reflector, missing: 0 });
    log.info({ kind: served.kind, apiVersion: served.apiVersion }, 'following a kind');
    reflector.start();
  }

  async #forget(key: string, { served, reflector }: Followed): Promise<void> {
    this.#followed.delete(key);
    await reflector.stop();
    this.#options.store.drop(served);
    this.#options.log.info(
      { kind: served.kind, apiVersion: served.apiVersion },
      'the server has a kind no more',
    );
  }

  async #wait(ms: number): Promise<void> {
    await setTimeout(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => {});
  }
}

const noPlace = { file: null, line: null, field: null, object: null };
