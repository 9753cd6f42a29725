/**
 * Secrets and ConfigMaps that somebody names, read one by one by their names, so that the control plane needs the right to
 * read these and no others: it can not list them, and what nobody names it never asks for.
 *
 * Read when they are named first, and again now and then, as nothing tells of their changes. What was known of one stays
 * in force while the API server can not be asked; one that may not be read is a finding.
 */
import { setTimeout } from 'node:timers/promises';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { NamedObject } from '../build-credentials.ts';
import type { ObjectChanges } from '../build-incremental.ts';
import type { Finding } from '../finding.ts';
import { type LocatedObject, objectName } from '../located.ts';
import { hasStatus } from './api-error.ts';
import type { ApiObject } from './api-events.ts';
import type { Api } from './api.ts';
import { checkObject } from './objects.ts';

export interface NamedObjectsOptions {
  readonly api: Api;
  /** Those that are named now. */
  readonly wanted: () => readonly NamedObject[];
  /** Told of what is another than before. */
  readonly onChange: (changes: ObjectChanges) => void;
  readonly log: Logger;
  /** How often each is read again, milliseconds. Default 30 000. */
  readonly lookMs?: number;
}

const defaultLookMs = 30_000;
const soonMs = 20;
const atOnce = 4;
/** At the start, of those that can not be read for no reason of their own. */
const firstTries = 5;
const plurals = { Secret: 'secrets', ConfigMap: 'configmaps' } as const;

interface Held {
  readonly ref: NamedObject;
  /** Null: there is none, or it may not be read. */
  object: LocatedObject | null;
  version: string;
  /** Why it may not be read. */
  problem: string | null;
  /** Whether it was read once, with whatever result. */
  settled: boolean;
}

export class NamedObjects {
  readonly #options: NamedObjectsOptions;
  readonly #held = new Map<string, Held>();
  readonly #stop = new AbortController();
  #wake = new AbortController();
  #running: Promise<void> | null = null;

  constructor(options: NamedObjectsOptions) {
    this.#options = options;
  }

  /** Resolves when those that are named now were read once; who serves before that would take away what waypoints have. */
  async start(): Promise<void> {
    for (let turn = 0; turn < firstTries && !this.#stop.signal.aborted; turn += 1) {
      await this.#look();
      if ([...this.#held.values()].every(({ settled }) => settled)) break;
      await this.#pause(soonMs * 2 ** turn);
    }
    this.#running = this.#run();
  }

  /** Others may be named now. */
  touch(): void {
    const wanted = this.#options.wanted();
    const isNews = wanted.length !== this.#held.size || wanted.some(ref => !this.#held.has(keyOf(ref)));
    if (isNews) this.#wake.abort();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    await this.#running;
  }

  /** What may not be read. */
  findings(): Finding[] {
    return [...this.#held.values()].flatMap(({ ref, problem }) => {
      if (problem === null) return [];
      const message = `${objectName(ref)} is named by a rule and can not be read: ${problem}`;
      const place = { file: null, line: null, field: null, object: objectName(ref) };
      return [{ severity: 'error' as const, code: 'object-unreadable', ...place, message }];
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const wake = this.#wake.signal;
      this.touch();
      const { lookMs = defaultLookMs } = this.#options;
      await setTimeout(lookMs, undefined, { signal: wake, ref: false }).catch(() => {});
      // Names come in groups.
      if (wake.aborted) await this.#pause(soonMs);
      if (!signal.aborted) await this.#look();
    }
  }

  /** Reads all; hands on what is another. */
  async #look(): Promise<void> {
    const wanted = new Map(this.#options.wanted().map(ref => [keyOf(ref), ref]));
    const set: LocatedObject[] = [];
    const removed: LocatedObject[] = [];
    for (const [key, { object }] of this.#held) {
      if (wanted.has(key)) continue;
      this.#held.delete(key);
      if (object !== null) removed.push(object);
    }
    for (const [key, ref] of wanted) {
      if (!this.#held.has(key))
        this.#held.set(key, { ref, object: null, version: '', problem: null, settled: false });
    }
    const queue = [...this.#held.values()];
    const workers = Array.from({ length: atOnce }, async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        if (this.#stop.signal.aborted) return;
        const { object: before } = next;
        await this.#read(next);
        if (next.object === before) continue;
        if (next.object !== null) set.push(next.object);
        else if (before !== null) removed.push(before);
      }
    });
    await Promise.all(workers);
    if (this.#stop.signal.aborted || set.length + removed.length === 0) return;
    this.#options.onChange({ set, removed });
  }

  async #read(held: Held): Promise<void> {
    const { api, log } = this.#options;
    const { kind, namespace, name } = held.ref;
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/${plurals[kind]}/${encodeURIComponent(name)}`;
    try {
      const raw = (await api.json({ path, signal: this.#stop.signal })) as ApiObject;
      const { resourceVersion } = raw.metadata;
      Object.assign(held, { settled: true, problem: null });
      if (held.object !== null && held.version === resourceVersion) return;
      held.version = resourceVersion;
      held.object = checkObject({ kind, apiVersion: 'v1' }, raw).object;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const isGone = hasStatus(error, 404);
      const isForbidden = hasStatus(error, 401, 403);
      // The API server is away: what was known of it holds.
      if (!isGone && !isForbidden) {
        log.debug({ object: objectName(held.ref), err: describeError(error) }, 'could not be read');
        return;
      }
      const isNews = isForbidden && held.problem === null && held.ref.isOptional !== true;
      Object.assign(held, { object: null, version: '', settled: true, problem: null });
      if (!isForbidden || held.ref.isOptional === true) return;
      held.problem = 'the control plane may not; docs/permissions.md says how it is permitted';
      if (isNews) log.warn({ object: objectName(held.ref) }, `may not be read: ${held.problem}`);
    }
  }

  async #pause(ms: number): Promise<void> {
    await setTimeout(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => {});
  }
}

function keyOf({ kind, namespace, name }: NamedObject): string {
  return `${kind}/${namespace}/${name}`;
}
