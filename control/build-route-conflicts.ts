/**
 * Routes that are not in force since routes of another kind are bound to the same port of the same Service: Gateway API
 * wants one kind to be in force and the others to be told (GEP-1294). Routes of one kind add up and never conflict.
 */
import { isAbout, routesInForce, type BoundRoute } from '../model/bound-routes.ts';
import type { HttpRoute } from '../model/http-route.ts';
import type { L7Change } from '../model/l7.ts';
import type { Service } from '../model/service.ts';
import type { TcpRoute } from '../model/tcp-route.ts';
import type { FindingStore } from './build-findings.ts';
import type { Objects } from './build-objects.ts';
import { type Located, objectName, type Report } from './located.ts';

export interface RouteConflictOptions {
  readonly objects: Objects;
  readonly findings: FindingStore;
  /** By key, `namespace/hostname`. */
  readonly services: ReadonlyMap<string, Service>;
}

type Route = HttpRoute | TcpRoute;

export class RouteConflicts {
  readonly #options: RouteConflictOptions;
  /** By list and key: what a VirtualService says of requests and of connections are two. */
  readonly #routes = new Map<string, Route>();
  /** By the service they are bound to, the names of routes in `#routes`. */
  readonly #byService = new Map<string, Set<string>>();

  constructor(options: RouteConflictOptions) {
    this.#options = options;
  }

  /**
   * Takes in which routes are others than before, and says about all that are bound to the same services what holds now.
   * @param services keys of those that are others than before
   */
  apply(changes: readonly L7Change[], services: Iterable<string>): void {
    const dirty = new Set<string>();
    const gone = new Set<string>();
    for (const { list, key, resource } of changes) {
      if (list !== 'routes' && list !== 'tcpRoutes') continue;
      const name = `${list} ${key}`;
      const before = this.#routes.get(name);
      for (const { service } of before?.parents ?? []) {
        this.#byService.get(service)?.delete(name);
        dirty.add(service);
      }
      if (before !== undefined) gone.add(objectName(before));
      if (resource === null) {
        this.#routes.delete(name);
        continue;
      }
      const route = resource as Route;
      this.#routes.set(name, route);
      for (const { service } of route.parents) {
        const bound = this.#byService.get(service);
        if (bound === undefined) this.#byService.set(service, new Set([name]));
        else bound.add(name);
        dirty.add(service);
      }
    }
    for (const service of services) if (this.#byService.has(service)) dirty.add(service);
    for (const name of gone) this.#options.findings.put('route-conflict', name, []);
    const looked = new Map<string, Route[]>();
    for (const service of dirty) {
      for (const route of this.#boundTo(service)) looked.set(objectName(route), this.#sameObject(route));
    }
    for (const routes of looked.values()) this.#review(routes);
  }

  #boundTo(service: string): Route[] {
    return [...(this.#byService.get(service) ?? [])].flatMap(name => this.#routes.get(name) ?? []);
  }

  /** All that one object says. */
  #sameObject(route: Route): Route[] {
    const key = `${route.kind}/${route.namespace}/${route.name}`;
    return ['routes', 'tcpRoutes'].flatMap(list => this.#routes.get(`${list} ${key}`) ?? []);
  }

  #review(routes: readonly Route[]): void {
    const [first] = routes;
    if (first === undefined) return;
    const object = this.#options.objects.get(first.kind, first.namespace, first.name);
    if (object === null) return;
    this.#options.findings.about('route-conflict', object, report => {
      const said = new Set<string>();
      // Requests and connections of one object may lose the same ports.
      const once: Report = (about, ...what) => {
        if (!said.has(what.join())) report(about, ...what);
        said.add(what.join());
      };
      for (const route of routes)
        for (const parent of route.parents) this.#judge(route, parent, object, once);
    });
  }

  #judge(
    route: Route,
    { service: key, port }: Route['parents'][number],
    object: Located<Route['kind']>,
    report: Report,
  ): void {
    const service = this.#options.services.get(key);
    if (service === undefined) return;
    const bound = this.#boundTo(key);
    const asked: number[] = [];
    const lost: number[] = [];
    let winner: BoundRoute | undefined;
    for (const { servicePort, appProtocol: protocol } of service.ports) {
      const visit = { service: key, port: servicePort, protocol, client: route.namespace };
      if (!isAbout(route.kind, { port }, visit)) continue;
      asked.push(servicePort);
      const inForce = routesInForce<Route>(bound, visit);
      if (inForce.some(({ kind }) => kind === route.kind)) continue;
      lost.push(servicePort);
      winner ??= inForce[0];
    }
    if (winner === undefined) return;
    const isWhole = asked.length === lost.length;
    const where = isWhole ? '' : ` at port ${lost.join(', ')}`;
    const other = objectName(winner as Route);
    report(
      object,
      // A VirtualService is one thing for all its hosts, where the status of others is about each parent.
      isWhole && (route.kind !== 'VirtualService' || route.parents.length === 1) ? 'error' : 'warning',
      'route-conflict',
      fieldOf(object, key, port),
      `not in force for ${key}${where}: ${other} is bound to it too, and its kind comes first`,
    );
  }
}

/** Where an object names the service. */
function fieldOf({ value, namespace }: Located<Route['kind']>, key: string, port: number | null): string {
  const { spec } = value;
  if ('service' in spec) return 'spec.service';
  if (!('parentRefs' in spec)) return 'spec.hosts';
  const at = spec.parentRefs.findIndex(
    ref => key.startsWith(`${ref.namespace ?? namespace}/${ref.name}.`) && (ref.port ?? port) === port,
  );
  return `spec.parentRefs[${at}]`;
}
