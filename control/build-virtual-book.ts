/** All routes that VirtualServices come to, as they, the services they name and those they delegate to come and go. */
import { isDeepStrictEqual } from 'node:util';
import { routeKey } from '../model/http-route.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { L7Change, L7State } from '../model/l7.ts';
import type { Service } from '../model/service.ts';
import { ClientLabels, type ClientLabelsOptions } from './build-client-labels.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { type VirtualRoutes, virtualRoutesOf } from './build-virtual-service.ts';
import { objectName } from './located.ts';

export interface VirtualBookOptions extends ClientLabelsOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
  /** By key, `namespace/hostname`. */
  readonly services: ReadonlyMap<string, Service>;
}

interface Name {
  readonly namespace: string;
  readonly name: string;
}

const nothing: VirtualRoutes = { routes: null, tcpRoutes: null };

export class VirtualBook {
  readonly #options: VirtualBookOptions;
  readonly #routes = new Map<string, VirtualRoutes>();
  readonly #labels: ClientLabels;
  /** By host names, and by `namespace/name` of others that are delegated to: those that name them. */
  readonly #naming = new Map<string, Map<string, Name>>();

  constructor(options: VirtualBookOptions) {
    this.#options = options;
    this.#labels = new ClientLabels(options);
  }

  all<List extends keyof VirtualRoutes>(list: List): L7State[List][number][] {
    return [...this.#routes.values()].flatMap(routes => routes[list] ?? []);
  }

  /**
   * The routes that are others than before.
   * @param services keys of those that are others than before
   * @param workloads uids of those whose labels may be others
   */
  apply(
    changes: readonly ObjectChange[],
    services: Iterable<string>,
    workloads: Iterable<string>,
  ): L7Change[] {
    const dirty = new Map<string, Name>();
    const touch = (named: string): void => {
      for (const [key, name] of this.#naming.get(named) ?? []) dirty.set(key, name);
    };
    for (const key of services) touch(key.slice(key.indexOf('/') + 1));
    for (const key of this.#labels.stale(workloads)) {
      const [namespace = '', name = ''] = key.split('/');
      dirty.set(key, { namespace, name });
    }
    for (const { kind, namespace, name } of changes) {
      if (kind !== 'VirtualService') continue;
      const key = `${namespace}/${name}`;
      dirty.set(key, { namespace, name });
      touch(key);
    }
    const changed: L7Change[] = [];
    for (const [key, name] of dirty) {
      const before = this.#routes.get(key) ?? nothing;
      const made = this.#make(key, name);
      if (made === nothing) this.#routes.delete(key);
      else this.#routes.set(key, made);
      const listKey = routeKey({ kind: 'VirtualService', ...name });
      for (const list of ['routes', 'tcpRoutes'] as const)
        if (!isDeepStrictEqual(before[list], made[list]))
          changed.push({ list, key: listKey, resource: made[list] });
    }
    return changed;
  }

  #make(key: string, { namespace, name }: Name): VirtualRoutes {
    const { objects, findings } = this.#options;
    for (const named of this.#naming.values()) named.delete(key);
    this.#labels.forget(key);
    const object = objects.get('VirtualService', namespace, name);
    if (object === null) {
      findings.put('route', objectName({ kind: 'VirtualService', namespace, name }), []);
      return nothing;
    }
    const remember = (named: string): void => {
      const known = this.#naming.get(named) ?? new Map<string, Name>();
      this.#naming.set(named, known.set(key, { namespace, name }));
    };
    const context = {
      host: (host: string, from: string) => {
        const full = this.#fullName(host, from);
        remember(full);
        const service = this.#serviceOf(full, from);
        if (service === null) return null;
        const ports = service.ports.map(({ servicePort }) => servicePort);
        return { key: `${service.namespace}/${service.hostname}`, ports };
      },
      clients: (labels: Readonly<Record<string, string>>) => this.#labels.choose(key, labels),
      virtualService: (otherNamespace: string, other: string) => {
        remember(`${otherNamespace}/${other}`);
        return objects.get('VirtualService', otherNamespace, other);
      },
    };
    return findings.about('route', object, report => virtualRoutesOf(object, context, report) ?? nothing);
  }

  /** `name` and `name.namespace`, `name.namespace.svc` are Services; what has other dots is a whole name. */
  #fullName(host: string, namespace: string): string {
    const suffix = `.svc.${this.#options.config.clusterDomain}`;
    if (host.endsWith(suffix)) return host;
    const [name = '', second, third, ...more] = host.split('.');
    if (second === undefined) return `${name}.${namespace}${suffix}`;
    const isService = this.#options.services.has(`${second}/${name}.${second}${suffix}`);
    const isShort = (third === undefined && isService) || (third === 'svc' && more.length === 0);
    return isShort ? `${name}.${second}${suffix}` : host;
  }

  /** That of its own namespace, else any that everybody may see. */
  #serviceOf(hostname: string, namespace: string): Service | null {
    const { services, config } = this.#options;
    const [, second = ''] = hostname.split('.');
    const isOfCluster = hostname.endsWith(`.svc.${config.clusterDomain}`);
    const own = services.get(`${isOfCluster ? second : namespace}/${hostname}`);
    if (own !== undefined) return own;
    for (const service of services.values())
      if (service.hostname === hostname && service.visibility === 'PUBLIC') return service;
    return null;
  }
}
