/**
 * All routes that TrafficSplits come to, as they, their HTTPRouteGroups and the Services they name come and go. Which of them
 * routes of other kinds displace is build-route-conflicts.ts.
 */
import { isDeepStrictEqual } from 'node:util';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { type HttpRoute, routeKey } from '../model/http-route.ts';
import type { L7Change, L7State } from '../model/l7.ts';
import type { Service } from '../model/service.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { splitRoutesOf, type SplitRoutes } from './build-split.ts';
import { type Located, objectName } from './located.ts';

export interface SplitBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
  /** By key, `namespace/hostname`. */
  readonly services: ReadonlyMap<string, Service>;
}

const nothing: SplitRoutes = { routes: null, tcpRoutes: null };

export class SplitBook {
  readonly #options: SplitBookOptions;
  /** By `namespace/name`; those that are bound to nothing as well. */
  readonly #splits = new Map<string, { readonly object: Located<'TrafficSplit'>; routes: SplitRoutes }>();

  constructor(options: SplitBookOptions) {
    this.#options = options;
  }

  all<List extends keyof SplitRoutes>(list: List): L7State[List][number][] {
    return [...this.#splits.values()].flatMap(({ routes }) => routes[list] ?? []);
  }

  /**
   * The routes that are others than before.
   * @param services keys of those that are others than before
   */
  apply(changes: readonly ObjectChange[], services: Iterable<string>): L7Change[] {
    const changed: L7Change[] = [];
    const namespaces = new Set<string>();
    const tell = (
      name: { namespace: string; name: string },
      before: SplitRoutes,
      after: SplitRoutes,
    ): void => {
      const key = routeKey({ kind: 'TrafficSplit', ...name });
      for (const list of ['routes', 'tcpRoutes'] as const)
        if (!isDeepStrictEqual(before[list], after[list])) changed.push({ list, key, resource: after[list] });
    };
    for (const { kind, namespace, name, after } of changes) {
      if (kind === 'HTTPRouteGroup') namespaces.add(namespace);
      if (kind !== 'TrafficSplit') continue;
      namespaces.add(namespace);
      const key = `${namespace}/${name}`;
      const { routes = nothing } = this.#splits.get(key) ?? {};
      if (after?.kind === kind) this.#splits.set(key, { object: after, routes });
      else {
        this.#splits.delete(key);
        this.#options.findings.put('route', objectName({ kind, namespace, name }), []);
        this.#options.findings.put('split', objectName({ kind, namespace, name }), []);
        tell({ namespace, name }, routes, nothing);
      }
    }
    if (this.#splits.size === 0) return changed;
    for (const key of services) namespaces.add(key.slice(0, key.indexOf('/')));
    for (const split of this.#splits.values()) {
      const { object, routes } = split;
      if (!namespaces.has(object.namespace)) continue;
      split.routes = this.#make(object);
      tell(object, routes, split.routes);
    }
    if (changed.length > 0) this.#reportShadowed();
    return changed;
  }

  /** Of several for one service the first is in force, since it takes every call. */
  #reportShadowed(): void {
    const holders = new Map<string, HttpRoute>();
    for (const { object, routes } of [...this.#splits.values()].sort(byAge)) {
      const route = routes.routes;
      const holder = holders.get(route?.parents[0]?.service ?? '');
      this.#options.findings.about('split', object, report => {
        if (holder === undefined) return;
        const message = `not in force: ${objectName(holder)} is older and splits the same service`;
        report(object, 'error', 'shadowed-split', 'spec.service', message);
      });
      for (const { service } of route?.parents ?? [])
        if (route !== null && holder === undefined) holders.set(service, route);
    }
  }

  #make(object: Located<'TrafficSplit'>): SplitRoutes {
    const { objects, config, findings, services } = this.#options;
    const context = {
      service: (name: string, namespace: string) => {
        const [first = ''] = name.split('.');
        const whole = `${first}.${namespace}.svc.${config.clusterDomain}`;
        // Of its own namespace only: `web`, `web.shop`, `web.shop.svc`, or the whole name.
        const isOwn = whole === name || whole.startsWith(`${name}.`);
        const key = isOwn ? `${namespace}/${whole}` : name;
        const ports = services.get(key)?.ports.map(({ servicePort }) => servicePort) ?? null;
        return { key, ports };
      },
      group: (namespace: string, name: string) => objects.get('HTTPRouteGroup', namespace, name),
    };
    return findings.about('route', object, report => splitRoutesOf(object, context, report) ?? nothing);
  }
}

function byAge(a: { readonly routes: SplitRoutes }, b: { readonly routes: SplitRoutes }): number {
  const [first, second] = [a.routes.routes, b.routes.routes];
  const age = (first?.createdAt ?? 0) - (second?.createdAt ?? 0);
  return age || ((first?.name ?? '') < (second?.name ?? '') ? -1 : 1);
}
