/**
 * All routes of connections a waypoint knows, and for a port of a service and a client what they make of it.
 */
import { isSpecial, routesInForce, type BoundRoute, type Visit } from './bound-routes.ts';
import { TcpTable } from './tcp-match.ts';
import { tcpRouteKey, type TcpRoute } from './tcp-route.ts';

/**
 * What routes make of the connections to a port. `names`: they are TLS, and go by their name (TLSRoute). `bytes`: they are
 * carried, whatever they are (TCPRoute). `detected`: what turns out to be no HTTP goes by these rules (VirtualService).
 */
export interface TcpPlan {
  readonly kind: 'names' | 'bytes' | 'detected';
  readonly table: TcpTable;
}

/** Routes of requests, which come first. */
export interface OtherRoutes {
  /** Another list after each change. */
  boundTo(service: string): readonly BoundRoute[] | undefined;
}

interface Made {
  readonly others: readonly BoundRoute[] | undefined;
  readonly plan: TcpPlan | null;
}

export class TcpRoutes {
  readonly #others: OtherRoutes;
  readonly #byService = new Map<string, TcpRoute[]>();
  readonly #routes = new Map<string, TcpRoute>();
  /** By service, port and namespace of the client. Emptied at each change. */
  readonly #plans = new Map<string, Made>();

  constructor(others: OtherRoutes) {
    this.#others = others;
  }

  /** Replaces everything. */
  replace(routes: readonly TcpRoute[]): void {
    this.#routes.clear();
    this.#byService.clear();
    this.#plans.clear();
    for (const route of routes) {
      this.#routes.set(tcpRouteKey(route), route);
      for (const key of new Set(route.parents.map(({ service }) => service))) {
        const known = this.#byService.get(key);
        if (known === undefined) this.#byService.set(key, [route]);
        else known.push(route);
      }
    }
  }

  all(): readonly TcpRoute[] {
    return [...this.#routes.values()];
  }

  /** Null where no route of connections is in force: they are what the port says, and go to the service itself. */
  planFor(visit: Visit): TcpPlan | null {
    const bound = this.#byService.get(visit.service);
    if (bound === undefined) return null;
    const others = this.#others.boundTo(visit.service);
    const all = [...bound, ...(others ?? [])];
    const client = isSpecial(all, visit) ? visit.client : '';
    const key = `${visit.service}:${visit.port} ${visit.protocol}<${client}`;
    const made = this.#plans.get(key);
    if (made !== undefined && made.others === others) return made.plan;
    const inForce = new Set<BoundRoute>(routesInForce<BoundRoute>(all, visit));
    const plan = planOf(bound.filter(route => inForce.has(route)));
    this.#plans.set(key, { others, plan });
    return plan;
  }
}

const kinds = {
  TLSRoute: 'names',
  TCPRoute: 'bytes',
  VirtualService: 'detected',
  TrafficSplit: 'detected',
} as const;

function planOf(routes: readonly TcpRoute[]): TcpPlan | null {
  const [first] = routes;
  return first === undefined ? null : { kind: kinds[first.kind], table: new TcpTable(routes) };
}
