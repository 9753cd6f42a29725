/**
 * All routes of Gateway API that are bound to Services, those of requests and those of connections, as their objects and the
 * Services they name come and go.
 */
import { isDeepStrictEqual } from 'node:util';
import type { HttpRoute } from '../model/http-route.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { L7Change } from '../model/l7.ts';
import type { TcpRoute } from '../model/tcp-route.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { routeOf } from './build-routes.ts';
import type { ExtensionKind, RouteContext, RouteKind } from './build-route-scope.ts';
import { tcpRouteOf } from './build-tcp-routes.ts';
import { type Located, objectName, type Report } from './located.ts';

export interface RouteBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
}

interface RouteRef {
  readonly kind: RouteKind;
  readonly namespace: string;
  readonly name: string;
}

/** Whether a route is about requests or about connections. */
const listOf = {
  HTTPRoute: 'routes',
  GRPCRoute: 'routes',
  TLSRoute: 'tcpRoutes',
  TCPRoute: 'tcpRoutes',
} as const satisfies Record<RouteKind, string>;

function isRoute(kind: string): kind is RouteKind {
  return Object.hasOwn(listOf, kind);
}

export class RouteBook {
  readonly #options: RouteBookOptions;
  readonly #routes = new Map<string, HttpRoute | TcpRoute>();
  /** By name of what they name, the routes that do, by their key. */
  readonly #naming = new Map<string, Map<string, RouteRef>>();

  constructor(options: RouteBookOptions) {
    this.#options = options;
  }

  /** Those of requests. */
  requests(): HttpRoute[] {
    return [...this.#routes.values()].filter(isOfRequests);
  }

  connections(): TcpRoute[] {
    return [...this.#routes.values()].filter(isOfConnections);
  }

  /** The routes that are others than before. */
  apply(changes: readonly ObjectChange[]): L7Change[] {
    const dirty = new Map<string, RouteRef>();
    for (const { kind, namespace, name } of changes) {
      if (isRoute(kind)) {
        const ref = { kind, namespace, name };
        dirty.set(objectName(ref), ref);
      } else
        for (const [key, ref] of this.#naming.get(objectName({ kind, namespace, name })) ?? [])
          dirty.set(key, ref);
    }
    const changed: L7Change[] = [];
    for (const [key, ref] of dirty) {
      const before = this.#routes.get(key) ?? null;
      const resource = this.#renew(key, ref);
      if (resource === null) this.#routes.delete(key);
      else this.#routes.set(key, resource);
      const name = `${ref.kind}/${ref.namespace}/${ref.name}`;
      if (!isDeepStrictEqual(before, resource)) changed.push({ list: listOf[ref.kind], key: name, resource });
    }
    return changed;
  }

  #renew(key: string, ref: RouteRef): HttpRoute | TcpRoute | null {
    const { objects, config, findings } = this.#options;
    for (const named of this.#naming.values()) named.delete(key);
    const object = objects.get(ref.kind, ref.namespace, ref.name);
    if (object === null) {
      findings.put('route', key, []);
      return null;
    }
    const look = <Kind extends 'Service' | ExtensionKind>(kind: Kind, namespace: string, name: string) => {
      const named = objectName({ kind, namespace, name });
      let routes = this.#naming.get(named);
      if (routes === undefined) this.#naming.set(named, (routes = new Map()));
      routes.set(key, ref);
      return objects.get(kind, namespace, name);
    };
    const context: RouteContext = {
      clusterDomain: config.clusterDomain,
      service: (namespace, name) => look('Service', namespace, name),
      extension: (kind, name) => look(kind, ref.namespace, name),
    };
    return findings.about('route', object, report => translated(object, context, report));
  }
}

function translated(
  object: Located<RouteKind>,
  context: RouteContext,
  report: Report,
): HttpRoute | TcpRoute | null {
  return object.kind === 'TLSRoute' || object.kind === 'TCPRoute'
    ? tcpRouteOf(object, context, report)
    : routeOf(object, context, report);
}

function isOfConnections(route: HttpRoute | TcpRoute): route is TcpRoute {
  return route.kind === 'TLSRoute' || route.kind === 'TCPRoute';
}

function isOfRequests(route: HttpRoute | TcpRoute): route is HttpRoute {
  return !isOfConnections(route);
}
