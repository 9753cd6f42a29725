/**
 * Who of several replicas writes: whoever holds a Lease of coordination.k8s.io. All replicas serve; one writes status,
 * trust bundle and what else must not be written twice.
 *
 * The holder renews well before the lease runs out, counts from before its request left, and stops believing in itself
 * some seconds before anyone else may take over: the time a write may take. Others count by their own clocks from when
 * they saw the lease last renewed, so that no two clocks are ever compared.
 */
import { setTimeout } from 'node:timers/promises';
import * as z from 'zod';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { hasStatus } from './api-error.ts';
import type { Api } from './api.ts';

export interface LeaseOptions {
  readonly api: Api;
  readonly namespace: string;
  readonly name: string;
  /** Unique among the replicas: the pod's name. */
  readonly identity: string;
  readonly log: Logger;
  readonly timing?: Partial<LeaseTiming>;
  /** Milliseconds that never go back; a test brings its own. */
  readonly now?: () => number;
}

export interface LeaseTiming {
  /** After so long without a renewal others may take the lease. */
  readonly leaseMs: number;
  /** After so long without a renewal the holder does not write any more. */
  readonly believeMs: number;
  /** Between two looks or renewals. */
  readonly retryMs: number;
}

/** The difference between the first two is what a write may take: see `writeTimeoutMs`. */
const defaultTiming: LeaseTiming = { leaseMs: 15_000, believeMs: 9_000, retryMs: 2_000 };

/** Whoever writes because it leads gives up after this: by then nobody else can have begun. */
export const writeTimeoutMs = 5_000;

const leaseSchema = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  spec: z
    .object({
      holderIdentity: z.string().optional(),
      leaseDurationSeconds: z.int().optional(),
      acquireTime: z.string().nullish(),
      renewTime: z.string().nullish(),
      leaseTransitions: z.int().optional(),
    })
    .default({}),
});

type LeaseObject = z.output<typeof leaseSchema>;

export class Lease {
  readonly #options: LeaseOptions;
  readonly #timing: LeaseTiming;
  readonly #now: () => number;
  readonly #stop = new AbortController();
  /** The lease as it was seen last, and when it was first seen like this. */
  #seen: { readonly version: string; readonly since: number } | null = null;
  #holder: string | null = null;
  /** When the renewal that succeeded last left; null while we don't hold it. */
  #renewedAt: number | null = null;
  #leading = false;
  #problem: string | null = null;
  #expiry: NodeJS.Timeout | undefined;
  #running: Promise<void> | null = null;
  /** Told when this replica begins to write and when it ends. */
  onChange: (leading: boolean) => void = () => {};

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#now = options.now ?? (() => performance.now());
  }

  /** Whether this replica may write at this moment; to be asked before each write. */
  get isLeader(): boolean {
    return this.#renewedAt !== null && this.#now() - this.#renewedAt < this.#timing.believeMs;
  }

  /** Who holds it, as far as we know. */
  get holder(): string | null {
    return this.#holder;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Stops writing and hands the lease over, so that another replica need not wait for it to run out. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const held = this.#renewedAt !== null;
    this.#lose();
    if (held) await this.#release();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#tryToHold();
        this.#problem = null;
      } catch (error) {
        if (signal.aborted) break;
        const problem = describeError(error);
        if (problem !== this.#problem)
          this.#options.log.warn({ err: problem }, 'the lease can not be renewed');
        this.#problem = problem;
      }
      this.#update();
      const { retryMs } = this.#timing;
      // Replicas that look at the same moment would fight for it.
      await setTimeout(retryMs * (0.8 + Math.random() * 0.4), undefined, { signal, ref: false }).catch(
        () => {},
      );
    }
  }

  async #tryToHold(): Promise<void> {
    const lease = await this.#read();
    const now = this.#now();
    if (lease === null) return this.#write(null);
    const { holderIdentity = '', leaseDurationSeconds } = lease.spec;
    this.#holder = holderIdentity === '' ? null : holderIdentity;
    if (this.#seen?.version !== lease.metadata.resourceVersion)
      this.#seen = { version: lease.metadata.resourceVersion, since: now };
    const isOurs = holderIdentity === this.#options.identity;
    if (!isOurs) this.#renewedAt = null;
    // What its holder promised counts, not what we would have.
    const leaseMs = (leaseDurationSeconds ?? this.#timing.leaseMs / 1_000) * 1_000;
    if (isOurs || holderIdentity === '' || now - this.#seen.since > leaseMs) await this.#write(lease);
  }

  async #read(): Promise<LeaseObject | null> {
    try {
      return leaseSchema.parse(await this.#request('GET', ''));
    } catch (error) {
      if (hasStatus(error, 404)) return null;
      throw error;
    }
  }

  /** Takes or renews the lease that was read. A conflict means that another was first: no error. */
  async #write(before: LeaseObject | null): Promise<void> {
    const { identity, name, namespace } = this.#options;
    const leftAt = this.#now();
    const time = microTime();
    const isOurs = before?.spec.holderIdentity === identity;
    const body = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name,
        namespace,
        ...(before === null ? {} : { resourceVersion: before.metadata.resourceVersion }),
      },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(this.#timing.leaseMs / 1_000),
        acquireTime: isOurs ? (before.spec.acquireTime ?? time) : time,
        renewTime: time,
        leaseTransitions: (before?.spec.leaseTransitions ?? 0) + (before === null || isOurs ? 0 : 1),
      },
    };
    try {
      const answer = await this.#request(before === null ? 'POST' : 'PUT', body);
      const { metadata } = leaseSchema.parse(answer);
      this.#seen = { version: metadata.resourceVersion, since: leftAt };
      this.#holder = identity;
      this.#renewedAt = leftAt;
    } catch (error) {
      if (!hasStatus(error, 409)) throw error;
      // Somebody else has written it. Whether it is still ours, the next look says.
      if (!isOurs) this.#renewedAt = null;
    }
  }

  async #release(): Promise<void> {
    try {
      const lease = await this.#read();
      if (lease?.spec.holderIdentity !== this.#options.identity) return;
      await this.#request('PUT', {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: {
          name: this.#options.name,
          namespace: this.#options.namespace,
          resourceVersion: lease.metadata.resourceVersion,
        },
        spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime() },
      });
      this.#holder = null;
    } catch (error) {
      this.#options.log.info(
        { err: describeError(error) },
        'the lease was not handed over: it runs out by itself',
      );
    }
  }

  #request(method: 'GET' | 'POST' | 'PUT', body: unknown): Promise<unknown> {
    const { api, namespace, name } = this.#options;
    const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
    return api.json({
      method,
      path: method === 'POST' ? collection : `${collection}/${name}`,
      ...(method === 'GET' ? {} : { body }),
      // A renewal that takes longer than we may believe in ourselves is of no use.
      timeoutMs: Math.min(5_000, this.#timing.believeMs),
    });
  }

  /** Tells of a change, and sees to it that the end of our belief is noticed when it comes. */
  #update(): void {
    clearTimeout(this.#expiry);
    const leading = this.isLeader;
    if (leading && this.#renewedAt !== null) {
      const left = this.#renewedAt + this.#timing.believeMs - this.#now();
      this.#expiry = globalThis.setTimeout(() => this.#update(), Math.max(1, left + 1));
      this.#expiry.unref();
    }
    this.#tell(leading);
  }

  #lose(): void {
    clearTimeout(this.#expiry);
    this.#renewedAt = null;
    this.#tell(false);
  }

  #tell(leading: boolean): void {
    if (leading === this.#leading) return;
    this.#leading = leading;
    this.#options.log.info(
      { identity: this.#options.identity },
      leading ? 'writes from now on' : 'writes no more',
    );
    this.onChange(leading);
  }
}

/** MicroTime as Kubernetes writes it. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
