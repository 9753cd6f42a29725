/**
 * The roots that everybody trusts, in the ConfigMap `culvert-root`: agents are started with it, before they can ask anyone.
 * Written by the replica that leads, and put right when somebody else has changed or removed it.
 */
import { setTimeout } from 'node:timers/promises';
import * as z from 'zod';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { hasStatus } from './api-error.ts';
import type { Api } from './api.ts';
import { Backoff } from './backoff.ts';
import { writeTimeoutMs } from './lease.ts';

export const rootConfigMap = 'culvert-root';
export const rootKey = 'root.pem';

export interface RootConfigMapOptions {
  readonly api: Api;
  readonly namespace: string;
  /** What should be in it, PEM. */
  readonly roots: () => string;
  /** Asked before each write. */
  readonly mayWrite: () => boolean;
  readonly log: Logger;
  /** How often to look whether it is as it should be. Default 30 000. */
  readonly lookMs?: number;
}

const defaultLookMs = 30_000;
const configMapSchema = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  data: z.record(z.string(), z.string()).nullish(),
});

interface Present {
  readonly roots: string | null;
  readonly resourceVersion: string;
}

/** What is distributed now, PEM; empty when nothing is. */
export async function distributedRoots(api: Api, namespace: string): Promise<string> {
  return (await read(api, namespace))?.roots ?? '';
}

export class RootConfigMap {
  readonly #options: RootConfigMapOptions;
  readonly #stop = new AbortController();
  readonly #backoff = new Backoff({ minMs: 500, maxMs: 15_000 });
  #wake = new AbortController();
  #running: Promise<void> | null = null;
  #problem: string | null = null;

  constructor(options: RootConfigMapOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** The roots have changed, or this replica may write now. */
  touch(): void {
    this.#wake.abort();
  }

  /** Why it is not as it should be; null when it is, or when another replica sees to it. */
  get problem(): string | null {
    return this.#problem;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      let wait = this.#options.lookMs ?? defaultLookMs;
      try {
        if (this.#options.mayWrite()) await this.#settle();
        this.#problem = null;
        this.#backoff.reset();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        const problem = describeError(error);
        if (problem !== this.#problem)
          this.#options.log.warn({ err: problem }, 'the roots could not be distributed: trying again');
        this.#problem = problem;
        wait = this.#backoff.next();
      }
      if (this.#stop.signal.aborted) return;
      await setTimeout(wait, undefined, { signal: this.#wake.signal, ref: false }).catch(() => {});
    }
  }

  /** Makes it what it should be. */
  async #settle(): Promise<void> {
    const { api, namespace, roots, mayWrite, log } = this.#options;
    const wanted = roots();
    const present = await read(api, namespace);
    if (present?.roots === wanted || !mayWrite()) return;
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const signal = this.#stop.signal;
    if (present === null) {
      const metadata = { name: rootConfigMap, namespace, labels: { 'app.kubernetes.io/part-of': 'culvert' } };
      const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { [rootKey]: wanted } };
      await api.json({ method: 'POST', path, body, signal, timeoutMs: writeTimeoutMs });
    } else {
      await api.json({
        method: 'PATCH',
        path: `${path}/${rootConfigMap}`,
        contentType: 'application/merge-patch+json',
        body: { metadata: { resourceVersion: present.resourceVersion }, data: { [rootKey]: wanted } },
        signal,
        timeoutMs: writeTimeoutMs,
      });
    }
    log.info({ configMap: rootConfigMap }, 'roots distributed');
  }
}

async function read(api: Api, namespace: string): Promise<Present | null> {
  try {
    const answer = await api.json({ path: `/api/v1/namespaces/${namespace}/configmaps/${rootConfigMap}` });
    const { metadata, data } = configMapSchema.parse(answer);
    return { roots: data?.[rootKey] ?? null, resourceVersion: metadata.resourceVersion };
  } catch (error) {
    if (hasStatus(error, 404)) return null;
    throw error;
  }
}
