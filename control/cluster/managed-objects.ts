/**
 * Objects that the control plane makes in namespaces of others: written by server-side apply under a name of its own, so
 * that what others set on them stays; and never over something that it has not made.
 */
import * as z from 'zod';
import type { Located } from '../located.ts';
import { type ManagedObject, managedBy } from '../waypoint-objects.ts';
import { hasStatus } from './api-error.ts';
import type { Api } from './api.ts';
import { writeTimeoutMs } from './lease.ts';

export interface ManagedObjectsOptions {
  readonly api: Api;
  /** Asked before each write. */
  readonly mayWrite: () => boolean;
  readonly signal: AbortSignal;
  /** How long what was written is believed to be so. Default 120 000. */
  readonly believeMs?: number;
}

/** Who owns the fields that we set. */
const fieldManager = 'culvert-control';
const defaultBelieveMs = 120_000;

const plurals: Readonly<Record<string, string>> = {
  ServiceAccount: 'serviceaccounts',
  Service: 'services',
  ConfigMap: 'configmaps',
  PodDisruptionBudget: 'poddisruptionbudgets',
  Deployment: 'deployments',
  HorizontalPodAutoscaler: 'horizontalpodautoscalers',
};
/** What a Gateway may have had and want no more, with the version of its group. */
const optional = [{ apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler' }] as const;

const presentSchema = z.object({
  metadata: z.object({
    uid: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
    ownerReferences: z.array(z.object({ uid: z.string() })).default([]),
  }),
});

type Reference = Pick<ManagedObject, 'apiVersion' | 'kind'> & {
  readonly metadata: Pick<ManagedObject['metadata'], 'namespace' | 'name'>;
};

interface Written {
  readonly text: string;
  readonly at: number;
}

export class ManagedObjects {
  readonly #options: ManagedObjectsOptions;
  /** By path, what was written last. */
  readonly #written = new Map<string, Written>();
  /** By `namespace/name` of Gateways, the paths written for them. */
  readonly #paths = new Map<string, Set<string>>();

  constructor(options: ManagedObjectsOptions) {
    this.#options = options;
  }

  /** These Gateways are there and no others: of those that are gone nothing is remembered. */
  keep(gateways: ReadonlySet<string>): void {
    for (const [gateway, paths] of this.#paths) {
      if (gateways.has(gateway)) continue;
      for (const path of paths) this.#written.delete(path);
      this.#paths.delete(gateway);
    }
  }

  /** Makes the objects of a Gateway what they should be; returns what is in the way of it, or null. */
  async settle(gateway: Located<'Gateway'>, wanted: readonly ManagedObject[]): Promise<string | null> {
    const key = `${gateway.namespace}/${gateway.name}`;
    this.#paths.set(key, new Set(wanted.map(pathOf)));
    for (const object of wanted) {
      const problem = await this.write(object);
      if (problem !== null) return problem;
    }
    for (const { apiVersion, kind } of optional) {
      if (wanted.some(object => object.kind === kind)) continue;
      await this.#remove({ apiVersion, kind, metadata: gateway }, gateway.value.metadata.uid);
    }
    return null;
  }

  /** Makes one object what it should be; returns what is in the way of it, or null. */
  async write(object: ManagedObject): Promise<string | null> {
    const { api, signal, mayWrite, believeMs = defaultBelieveMs } = this.#options;
    const path = pathOf(object);
    const text = JSON.stringify(object);
    const known = this.#written.get(path);
    const present = await this.#read(path);
    if (present !== null && !isOurs(object, present)) {
      const { namespace, name } = object.metadata;
      return `there is a ${object.kind} ${namespace}/${name} already that is not of this Gateway`;
    }
    const isBelieved = present !== null && known?.text === text && performance.now() - known.at < believeMs;
    if (isBelieved || !mayWrite()) return null;
    await api.json({
      method: 'PATCH',
      path: `${path}?fieldManager=${fieldManager}&force=true`,
      body: object,
      contentType: 'application/apply-patch+yaml',
      signal,
      timeoutMs: writeTimeoutMs,
    });
    this.#written.set(path, { text, at: performance.now() });
    return null;
  }

  async #remove(reference: Reference, owner: string | undefined): Promise<void> {
    const { api, signal, mayWrite } = this.#options;
    const path = pathOf(reference);
    const present = await this.#read(path);
    const isOwned = present?.metadata.ownerReferences.some(({ uid }) => uid === owner) === true;
    if (!isOwned || !mayWrite()) return;
    await api.json({ method: 'DELETE', path, signal, timeoutMs: writeTimeoutMs });
    this.#written.delete(path);
  }

  async #read(path: string): Promise<z.output<typeof presentSchema> | null> {
    const { api, signal } = this.#options;
    try {
      return presentSchema.parse(await api.json({ path, signal }));
    } catch (error) {
      if (hasStatus(error, 404)) return null;
      throw error;
    }
  }
}

/** Whether we made what is there, and for the same Gateway where it is of one alone. */
function isOurs({ kind, metadata }: ManagedObject, present: z.output<typeof presentSchema>): boolean {
  const { labels, ownerReferences } = present.metadata;
  if (!Object.entries(managedBy).every(([label, value]) => labels[label] === value)) return false;
  // The Gateways of a namespace share it, and they come and go.
  if (kind === 'ConfigMap') return true;
  return ownerReferences.some(({ uid }) => metadata.ownerReferences.some(owner => owner.uid === uid));
}

function pathOf({ apiVersion, kind, metadata: { namespace, name } }: Reference): string {
  const plural = plurals[kind];
  if (plural === undefined) throw new Error(`a waypoint has no ${kind}`);
  const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return `${base}/namespaces/${namespace}/${plural}/${name}`;
}
