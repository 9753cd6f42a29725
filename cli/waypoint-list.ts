/** The waypoints of a cluster as they are, and who asks for them. */
import type { Api } from '../control/cluster/api.ts';
import { gatewayGroup, waypointClasses } from '../model/kinds/gateway.ts';
import { firstMark, useWaypoint, useWaypointNamespace, waypointFor } from '../model/kinds/marks.ts';
import { listed } from './cluster-objects.ts';

export interface Waypoint {
  readonly namespace: string;
  readonly name: string;
  /** `service`, `workload`, `all` or `none`. */
  readonly for: string;
  /** Of its Service; null while it has none. */
  readonly address: string | null;
  /** Whether traffic can pass it. */
  readonly programmed: boolean;
  readonly conditions: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
}

/** Something that asks for a waypoint by its labels. */
export interface WaypointUse {
  /** `Namespace shop`, `Service shop/web`. */
  readonly object: string;
  /** Of the waypoint. */
  readonly namespace: string;
  readonly name: string;
}

interface Gateway {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly gatewayClassName: string };
  readonly status?: {
    readonly conditions?: Waypoint['conditions'];
    readonly addresses?: readonly { readonly type?: string; readonly value: string }[];
  };
}

/** The waypoints of a namespace, null: of all; none where the cluster does not know Gateways. */
export async function waypointsIn(api: Api, namespace: string | null): Promise<Waypoint[]> {
  const scope = namespace === null ? '' : `/namespaces/${namespace}`;
  const gateways = await listed<Gateway>(api, `/apis/${gatewayGroup}/v1${scope}/gateways`);
  return gateways
    .filter(({ spec }) => waypointClasses.includes(spec.gatewayClassName))
    .map(({ metadata, status = {} }) => {
      // A fresh Gateway has conditions that nobody has thought about yet.
      const conditions = (status.conditions ?? []).filter(({ status: is }) => is !== 'Unknown');
      const { addresses = [] } = status;
      return {
        namespace: metadata.namespace,
        name: metadata.name,
        for: firstMark(metadata.labels ?? {}, waypointFor)?.value ?? 'service',
        address: addresses.find(({ type }) => type === 'IPAddress')?.value ?? addresses[0]?.value ?? null,
        programmed: conditions.some(({ type, status: is }) => type === 'Programmed' && is === 'True'),
        conditions,
      };
    });
}

interface Marked {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
}

/** Namespaces, Services and pods that ask for a waypoint. */
export async function usesOf(api: Api): Promise<WaypointUse[]> {
  const uses: WaypointUse[] = [];
  for (const [kind, plural] of [
    ['Namespace', 'namespaces'],
    ['Service', 'services'],
    ['Pod', 'pods'],
  ] as const) {
    for (const { metadata } of await listed<Marked>(api, `/api/v1/${plural}`)) {
      const { name, namespace, labels = {} } = metadata;
      const mark = firstMark(labels, useWaypoint);
      if (mark === null || mark.value === 'none' || mark.value === '') continue;
      const home = firstMark(labels, useWaypointNamespace)?.value ?? namespace ?? name;
      const object = namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
      uses.push({ object, namespace: home, name: mark.value });
    }
  }
  return uses;
}
