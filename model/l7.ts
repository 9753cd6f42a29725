/**
 * What only waypoints follow, beside the mesh: lists of plain JSON resources, each with a key within its list.
 *
 * Built by control/build-l7.ts; a waypoint gets it from a directory or over xDS and holds it in its context.
 */
import { type HttpPolicy, httpPolicyKey } from './http-policy.ts';
import { type HttpRoute, routeKey } from './http-route.ts';
import { same } from './mesh.ts';
import { type Telemetry, telemetryKey } from './telemetry.ts';
import { type ServiceTraffic, trafficKey } from './traffic-policy.ts';

export interface L7State {
  /** Every route that is bound to a Service. */
  readonly routes: readonly HttpRoute[];
  /** How endpoints are treated, of every service about which somebody says so. */
  readonly traffic: readonly ServiceTraffic[];
  /** What is told about requests; of MeshConfig in any case. */
  readonly telemetry: readonly Telemetry[];
  /** Every AuthorizationPolicy with targetRefs. */
  readonly policies: readonly HttpPolicy[];
}

export type L7List = keyof L7State;
export type L7Resource = L7State[L7List][number];

/** The state with nothing in it. */
export const emptyL7: L7State = { routes: [], traffic: [], telemetry: [], policies: [] };

/** One resource that is another than before; null where it is gone. */
export interface L7Change {
  readonly list: L7List;
  readonly key: string;
  readonly resource: L7Resource | null;
}

/** The key of each resource, list by list. */
const keysOf: { readonly [List in L7List]: (resource: L7State[List][number]) => string } = {
  routes: routeKey,
  traffic: trafficKey,
  telemetry: telemetryKey,
  policies: httpPolicyKey,
};

export const l7Lists: readonly L7List[] = ['routes', 'traffic', 'telemetry', 'policies'];

/** What turns one state into another; both are full. */
export function l7Changes(before: L7State, after: L7State): L7Change[] {
  return l7Lists.flatMap(list => {
    const old = keyed(list, before);
    const now = keyed(list, after);
    const gone = [...old.keys()].filter(key => !now.has(key));
    return [
      ...[...now].flatMap(([key, resource]) =>
        same(old.get(key), resource) ? [] : [{ list, key, resource }],
      ),
      ...gone.map(key => ({ list, key, resource: null })),
    ];
  });
}

function keyed<List extends L7List>(list: List, state: L7State): Map<string, L7State[List][number]> {
  const key = keysOf[list];
  return new Map(state[list].map(resource => [key(resource), resource]));
}
