/**
 * Objects of an installation on the API server: where each is, writing it (server-side apply, so that what others set on
 * it stays), and removing it.
 */
import { type Api, hasStatus } from '../control/cluster/api.ts';
import type { Manifest } from '../daemonset/installation.ts';
import { partOf } from '../daemonset/manifests/metadata.ts';

/** Who owns the fields that we set. */
const fieldManager = 'culvert';

interface Place {
  readonly plural: string;
  readonly namespaced: boolean;
}

/** Every kind that an installation may have or make, in the order of applying. Removing goes the other way. */
const places: Readonly<Record<string, Place>> = {
  Namespace: { plural: 'namespaces', namespaced: false },
  CustomResourceDefinition: { plural: 'customresourcedefinitions', namespaced: false },
  ServiceAccount: { plural: 'serviceaccounts', namespaced: true },
  ClusterRole: { plural: 'clusterroles', namespaced: false },
  ClusterRoleBinding: { plural: 'clusterrolebindings', namespaced: false },
  Role: { plural: 'roles', namespaced: true },
  RoleBinding: { plural: 'rolebindings', namespaced: true },
  ConfigMap: { plural: 'configmaps', namespaced: true },
  Secret: { plural: 'secrets', namespaced: true },
  Service: { plural: 'services', namespaced: true },
  PodDisruptionBudget: { plural: 'poddisruptionbudgets', namespaced: true },
  NetworkPolicy: { plural: 'networkpolicies', namespaced: true },
  Deployment: { plural: 'deployments', namespaced: true },
  HorizontalPodAutoscaler: { plural: 'horizontalpodautoscalers', namespaced: true },
  DaemonSet: { plural: 'daemonsets', namespaced: true },
  MeshConfig: { plural: 'meshconfigs', namespaced: false },
  Lease: { plural: 'leases', namespaced: true },
  GatewayClass: { plural: 'gatewayclasses', namespaced: false },
  PodMonitor: { plural: 'podmonitors', namespaced: true },
  ServiceMonitor: { plural: 'servicemonitors', namespaced: true },
};

/** What is needed to find an object. */
export interface Reference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

export type Change = 'created' | 'changed' | 'unchanged';

/** Path of the collection that an object is in. Throws for kinds that no installation has. */
export function collectionOf({ apiVersion, kind, metadata: { namespace = '' } }: Reference): string {
  const place = places[kind];
  if (place === undefined) throw new Error(`no installation has a ${kind}`);
  const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return `${base}${place.namespaced ? `/namespaces/${namespace}` : ''}/${place.plural}`;
}

export function pathOf(object: Reference): string {
  return `${collectionOf(object)}/${object.metadata.name}`;
}

/** The object as it is, or null. */
export async function read(api: Api, object: Reference): Promise<Manifest | null> {
  try {
    return (await api.json({ path: pathOf(object) })) as Manifest;
  } catch (error) {
    if (hasStatus(error, 404)) return null;
    throw error;
  }
}

/**
 * Makes the object what it should be.
 * @param dryRun the server checks and says what would come of it, and keeps nothing
 */
export async function apply(api: Api, object: Manifest, dryRun: boolean): Promise<Change> {
  const before = await read(api, object);
  const query = `fieldManager=${fieldManager}&force=true${dryRun ? '&dryRun=All' : ''}`;
  const after = (await api.json({
    method: 'PATCH',
    path: `${pathOf(object)}?${query}`,
    body: object,
    contentType: 'application/apply-patch+yaml',
  })) as Manifest;
  if (before === null) return 'created';
  return versionOf(before) === versionOf(after) ? 'unchanged' : 'changed';
}

/** Generation where the kind has one: a dry run gives no new resourceVersion. */
function versionOf({ metadata }: Manifest): string {
  const { generation, resourceVersion, labels } = metadata as Manifest['metadata'] & {
    readonly generation?: number;
    readonly resourceVersion?: string;
  };
  return JSON.stringify([generation ?? resourceVersion, labels]);
}

/** Removes the object; those that it owns follow. False when there was none. */
export async function remove(api: Api, object: Reference): Promise<boolean> {
  try {
    await api.json({ method: 'DELETE', path: pathOf(object), body: { propagationPolicy: 'Background' } });
    return true;
  } catch (error) {
    if (hasStatus(error, 404)) return false;
    throw error;
  }
}

/** Whether an installation made it. */
export function isOurs({ metadata: { labels = {} } }: Manifest): boolean {
  return Object.entries(partOf).every(([label, value]) => labels[label] === value);
}

/** Sorts so that what others need comes first. */
export function inOrder<T extends Reference>(objects: readonly T[]): T[] {
  const kinds = Object.keys(places);
  return [...objects].sort((one, other) => kinds.indexOf(one.kind) - kinds.indexOf(other.kind));
}

/** Whether the server has this version of this kind's group. */
export async function isServed(api: Api, apiVersion: string): Promise<boolean> {
  try {
    await api.json({ path: apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}` });
    return true;
  } catch (error) {
    if (hasStatus(error, 404)) return false;
    throw error;
  }
}

/** All objects of a collection, page by page; none where the server does not know the kind. */
export async function listed<T>(api: Api, path: string, labelSelector = ''): Promise<T[]> {
  const items: T[] = [];
  try {
    for (let next = ''; ;) {
      const query = new URLSearchParams({ limit: '500' });
      if (labelSelector !== '') query.set('labelSelector', labelSelector);
      if (next !== '') query.set('continue', next);
      const page = (await api.json({ path: `${path}?${query.toString()}` })) as {
        items: T[];
        metadata?: { continue?: string };
      };
      items.push(...page.items);
      next = page.metadata?.continue ?? '';
      if (next === '') return items;
    }
  } catch (error) {
    if (hasStatus(error, 404)) return items;
    throw error;
  }
}
