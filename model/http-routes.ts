/**
 * All routes of requests a waypoint knows, and for a service, port and client those that apply (bound-routes.ts).
 */
import { isSpecial, routesInForce } from './bound-routes.ts';
import { RouteTable } from './http-match.ts';
import { routeKey, type HttpRoute } from './http-route.ts';

export class HttpRoutes {
  readonly #byService = new Map<string, HttpRoute[]>();
  readonly #routes = new Map<string, HttpRoute>();
  /** By service, port and namespace of the client; null: no route is about it. Emptied at each change. */
  readonly #tables = new Map<string, RouteTable | null>();

  /** Replaces everything. */
  replace(routes: readonly HttpRoute[]): void {
    this.#routes.clear();
    this.#byService.clear();
    this.#tables.clear();
    for (const route of routes) {
      this.#routes.set(routeKey(route), route);
      for (const key of new Set(route.parents.map(({ service }) => service))) {
        const known = this.#byService.get(key);
        if (known === undefined) this.#byService.set(key, [route]);
        else known.push(route);
      }
    }
  }

  all(): readonly HttpRoute[] {
    return [...this.#routes.values()];
  }

  /** Whatever is bound to a service, in force or not; another list after each change. */
  boundTo(service: string): readonly HttpRoute[] | undefined {
    return this.#byService.get(service);
  }

  /**
   * The rules for requests of a client's namespace to a service; null where no route is about them, so that they go to
   * the service itself.
   * @param service `namespace/hostname`
   */
  tableFor(service: string, port: number, clientNamespace: string): RouteTable | null {
    const bound = this.#byService.get(service);
    if (bound === undefined) return null;
    // Clients of namespaces without a route of their own share one table.
    const client = isSpecial(bound, { service, client: clientNamespace }) ? clientNamespace : '';
    const key = `${service}:${port}<${client}`;
    let table = this.#tables.get(key);
    if (table === undefined) {
      // Whoever asks has found requests, whatever the port is said to speak.
      const visit = { service, port, protocol: 'UNKNOWN', client: clientNamespace } as const;
      const routes = routesInForce(bound, visit);
      table = routes.length === 0 ? null : new RouteTable(routes);
      this.#tables.set(key, table);
    }
    return table;
  }
}
