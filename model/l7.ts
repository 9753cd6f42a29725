/**
 * What only waypoints follow, beside the mesh: lists of plain JSON resources, each with a key within its list.
 *
 * Built by control/build-l7.ts; a waypoint gets it from a directory or over xDS and holds it in its context.
 */
import { RouteTable } from './http-match.ts';
import { type Credential, credentialKey } from './credential.ts';
import { type HttpPolicy, httpPolicyKey, HttpPolicySet, type PolicyTarget } from './http-policy.ts';
import { type HttpRoute, routeKey } from './http-route.ts';
import { same } from './mesh.ts';
import { type TokenRules, tokenRulesKey } from './token-rule.ts';
import { TcpTable } from './tcp-match.ts';
import { type TcpRoute, tcpRouteKey } from './tcp-route.ts';
import { type Telemetry, telemetryKey } from './telemetry.ts';
import { type ServiceLimits, serviceLimitsKey } from './rate-limit.ts';
import { asksForTls, type ServiceTraffic, trafficKey } from './traffic-policy.ts';

export interface L7State {
  /** Every route of requests that is bound to a Service. */
  readonly routes: readonly HttpRoute[];
  /** Every route of connections that is. */
  readonly tcpRoutes: readonly TcpRoute[];
  /** How endpoints are treated, of every service about which somebody says so. */
  readonly traffic: readonly ServiceTraffic[];
  /** How many requests there may be, of every service with a limit. */
  readonly limits: readonly ServiceLimits[];
  /** What is told about requests; of MeshConfig in any case. */
  readonly telemetry: readonly Telemetry[];
  /** Every AuthorizationPolicy with targetRefs. */
  readonly policies: readonly HttpPolicy[];
  /** Every RequestAuthentication with targetRefs. */
  readonly authentications: readonly TokenRules[];
  /** What waypoints may have of Secrets; see `confidential`. */
  readonly credentials: readonly Credential[];
}

export type L7List = keyof L7State;
export type L7Resource = L7State[L7List][number];

/** The state with nothing in it. */
export const emptyL7: L7State = {
  routes: [],
  tcpRoutes: [],
  traffic: [],
  limits: [],
  telemetry: [],
  policies: [],
  authentications: [],
  credentials: [],
};

/** One resource that is another than before; null where it is gone. */
export interface L7Change {
  readonly list: L7List;
  readonly key: string;
  readonly resource: L7Resource | null;
}

type Table<Result> = { readonly [List in L7List]: (resource: L7State[List][number]) => Result };

/** The key of each resource, list by list. */
const keysOf: Table<string> = {
  routes: routeKey,
  tcpRoutes: tcpRouteKey,
  traffic: trafficKey,
  limits: serviceLimitsKey,
  telemetry: telemetryKey,
  policies: httpPolicyKey,
  authentications: tokenRulesKey,
  credentials: credentialKey,
};

/**
 * What a waypoint must not serve while it can not read a resource, list by list: services and workloads by their keys,
 * `Gateway/namespace/name` for whatever passes that waypoint, `*` for everything; and nothing where requests may do
 * without it.
 */
const aboutOf: Table<readonly string[]> = {
  routes: ({ parents }) => [...new Set(parents.map(({ service }) => service))],
  tcpRoutes: ({ parents }) => [...new Set(parents.map(({ service }) => service))],
  traffic: ({ service }) => [service],
  limits: ({ service }) => [service],
  // What is told of requests is not what becomes of them.
  telemetry: () => [],
  policies: ({ targets }) => targets.map(aboutTarget),
  authentications: ({ targets }) => targets.map(aboutTarget),
  // What needs one that is missing is refused by itself.
  credentials: () => [],
};

/** The waypoint that a resource is for, of lists that nobody else may see: `namespace/name`. */
const holderOf: Partial<Table<string>> = { credentials: ({ waypoint }) => waypoint };

/** Lists whose resources are told to the waypoint they are for, to no other, and are never shown. */
export const confidential: ReadonlySet<L7List> = new Set(Object.keys(holderOf) as L7List[]);

/** Of a list that is confidential: who may have the resource. Throws for another one. */
export function l7Holder(list: L7List, resource: L7Resource): string {
  const holder = entry(holderOf, list)?.(resource);
  if (holder === undefined) throw new Error(`${list} are told to every waypoint`);
  return holder;
}

function aboutTarget(target: PolicyTarget): string {
  if (target.kind === 'Service') return target.key;
  return target.kind === 'Gateway' ? `Gateway/${target.namespace}/${target.name}` : '*';
}

/** Throw for a resource that could not be used, where its key and what it is about do not show that. */
const checks: Partial<Table<unknown>> = {
  routes: route => new RouteTable([route]),
  tcpRoutes: route => new TcpTable([route]),
  policies: policy => new HttpPolicySet([policy]),
};

/**
 * What a resource has that waypoints of older versions would pass over, list by list. Version upon version adds to it:
 * what is new and must not be passed over gets a name here and in `l7Features`.
 */
const needsOf: Partial<Table<readonly string[]>> = {
  // Passed over, the rule would be for clients of others.
  routes: ({ kind, rules }) => [
    ...(rules.some(({ matches }) => matches.some(isOfSome)) ? ['client-labels'] : []),
    ...(kind === 'TrafficSplit' ? ['traffic-split'] : []),
  ],
  tcpRoutes: ({ kind }) => (kind === 'TrafficSplit' ? ['traffic-split'] : []),
  // Passed over, it would be sent in the clear.
  traffic: traffic => (asksForTls(traffic) ? ['endpoint-tls'] : []),
};

function isOfSome({ workloads }: { readonly workloads?: readonly string[] }): boolean {
  return workloads !== undefined;
}

/** What this version can read beyond the first. */
export const l7Features: ReadonlySet<string> = new Set(['endpoint-tls', 'client-labels', 'traffic-split']);

export const l7Lists: readonly L7List[] = [
  'routes',
  'tcpRoutes',
  'traffic',
  'limits',
  'telemetry',
  'policies',
  'authentications',
  'credentials',
];

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

/** What a resource says of itself to those who get it from elsewhere. */
export interface L7Label {
  readonly key: string;
  /** See `aboutOf`. */
  readonly about: readonly string[];
  /** Features that its reader must know. */
  readonly needs: readonly string[];
}

/** Throws for what could not be used as a resource of the list. */
export function l7Check(list: L7List, resource: L7Resource): void {
  entry(checks, list)?.(resource);
}

/** Throws for what is no resource of the list. */
export function l7Label(list: L7List, resource: L7Resource): L7Label {
  return {
    key: entry(keysOf, list)?.(resource) ?? '',
    about: entry(aboutOf, list)?.(resource) ?? [],
    needs: entry(needsOf, list)?.(resource) ?? [],
  };
}

/** The type system can not know that list and resource belong together. */
function entry<Result>(
  table: Partial<Table<Result>>,
  list: L7List,
): ((resource: L7Resource) => Result) | undefined {
  return table[list] as ((resource: L7Resource) => Result) | undefined;
}
