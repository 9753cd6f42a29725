/** All routes that are bound to Services, as their objects and the Services they name come and go. */
import { isDeepStrictEqual } from 'node:util';
import { type HttpRoute, routeKey } from '../model/http-route.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { L7Change } from '../model/l7.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { routeOf } from './build-routes.ts';
import type { ExtensionKind, RouteContext } from './build-route-scope.ts';
import { objectName } from './located.ts';

export interface RouteBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
}

interface RouteRef {
  readonly kind: 'HTTPRoute' | 'GRPCRoute';
  readonly namespace: string;
  readonly name: string;
}

export class RouteBook {
  readonly #options: RouteBookOptions;
  readonly #routes = new Map<string, HttpRoute>();
  /** By name of what they name, the routes that do, by their key. */
  readonly #naming = new Map<string, Map<string, RouteRef>>();

  constructor(options: RouteBookOptions) {
    this.#options = options;
  }

  /** Sorted by key. */
  all(): HttpRoute[] {
    return [...this.#routes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, route]) => route);
  }

  /** The routes that are others than before. */
  apply(changes: readonly ObjectChange[]): L7Change[] {
    const dirty = new Map<string, RouteRef>();
    for (const { kind, namespace, name } of changes) {
      if (kind === 'HTTPRoute' || kind === 'GRPCRoute') {
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
      if (!isDeepStrictEqual(before, resource))
        changed.push({ list: 'routes', key: routeKey(ref), resource });
    }
    return changed;
  }

  #renew(key: string, ref: RouteRef): HttpRoute | null {
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
    return findings.about('route', object, report => routeOf(object, context, report));
  }
}
