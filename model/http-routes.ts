/**
 * All routes a waypoint knows, and for a service, port and client those that apply.
 *
 * A route of the service's own namespace (producer) is for all clients; one of another namespace (consumer) only for the
 * clients of that namespace, and where there is any, the producer's are not in force for them (Gateway API, GEP-1294).
 */
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

  /**
   * The rules for requests of a client's namespace to a service; null where no route is about them, so that they go to
   * the service itself.
   * @param service `namespace/hostname`
   */
  tableFor(service: string, port: number, clientNamespace: string): RouteTable | null {
    const bound = this.#byService.get(service);
    if (bound === undefined) return null;
    // Clients of namespaces without a route of their own share one table.
    const isNamed = bound.some(({ clients }) => clients !== undefined);
    const consumes =
      isNamed || (clientNamespace !== producerOf(service) && bound.some(isOf(clientNamespace)));
    const consumer = consumes ? clientNamespace : '';
    const key = `${service}:${port}<${consumer}`;
    let table = this.#tables.get(key);
    if (table === undefined) {
      const routes = applicable(bound, service, port, clientNamespace);
      table = routes.length === 0 ? null : new RouteTable(routes);
      this.#tables.set(key, table);
    }
    return table;
  }
}

function applicable(
  bound: readonly HttpRoute[],
  service: string,
  port: number,
  clientNamespace: string,
): readonly HttpRoute[] {
  const here = bound.filter(
    ({ parents, clients }) =>
      (clients?.includes(clientNamespace) ?? true) &&
      parents.some(parent => parent.service === service && (parent.port ?? port) === port),
  );
  const producer = producerOf(service);
  const consumers = clientNamespace === producer ? [] : here.filter(isOf(clientNamespace));
  const group = consumers.length > 0 ? consumers : here.filter(isOf(producer));
  // GRPCRoutes come before HTTPRoutes, and both before VirtualServices; one kind does not apply beside another.
  for (const first of ['GRPCRoute', 'HTTPRoute'] as const) {
    const ofKind = group.filter(({ kind }) => kind === first);
    if (ofKind.length > 0) return ofKind;
  }
  return group;
}

function producerOf(service: string): string {
  return service.slice(0, service.indexOf('/'));
}

function isOf(namespace: string): (route: HttpRoute) => boolean {
  return route => route.namespace === namespace;
}
