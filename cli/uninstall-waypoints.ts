/**
 * Removes what the control plane has made for waypoints, when the mesh goes: nobody would look after it any more. The
 * Gateways are their authors' and stay; a mesh that comes again makes the rest again.
 */
import type { Api } from '../control/cluster/api.ts';
import { gatewayGroup, waypointClasses } from '../model/kinds/gateway.ts';
import { managedBy } from '../control/waypoint-objects.ts';
import { type Reference, inOrder, listed, remove } from './cluster-objects.ts';

const collections: readonly (readonly [apiVersion: string, kind: string, plural: string])[] = [
  ['v1', 'ServiceAccount', 'serviceaccounts'],
  ['v1', 'Service', 'services'],
  ['v1', 'ConfigMap', 'configmaps'],
  ['policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets'],
  ['autoscaling/v2', 'HorizontalPodAutoscaler', 'horizontalpodautoscalers'],
  ['apps/v1', 'Deployment', 'deployments'],
];

/** Names of what was removed, in that order. */
export async function removeWaypoints(api: Api): Promise<string[]> {
  const labels = Object.entries(managedBy).map(pair => pair.join('='));
  const all: Reference[] = [];
  for (const [apiVersion, kind, plural] of collections) {
    const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    for (const { metadata } of await listed<Reference>(api, `${base}/${plural}`, labels.join(',')))
      all.push({ apiVersion, kind, metadata });
  }
  const [name = ''] = waypointClasses;
  all.push({ apiVersion: `${gatewayGroup}/v1`, kind: 'GatewayClass', metadata: { name } });
  const removed: string[] = [];
  for (const object of inOrder(all).toReversed()) {
    if (!(await remove(api, object))) continue;
    const { name: own, namespace } = object.metadata;
    removed.push(`${object.kind} ${namespace === undefined ? '' : `${namespace}/`}${own}`);
  }
  return removed;
}
