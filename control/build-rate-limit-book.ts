/** The limits for whole Services, as RateLimits come and go. Those of rules of routes are in the routes (build-route-book.ts). */
import { isDeepStrictEqual } from 'node:util';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { L7Change } from '../model/l7.ts';
import type { ServiceLimits } from '../model/rate-limit.ts';
import type { FindingStore } from './build-findings.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { rateLimitOf } from './build-rate-limits.ts';
import { type Located, compareLocated, objectName } from './located.ts';

export interface RateLimitBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
}

export class RateLimitBook {
  readonly #options: RateLimitBookOptions;
  readonly #limits = new Map<string, ServiceLimits>();

  constructor(options: RateLimitBookOptions) {
    this.#options = options;
  }

  /** Sorted by key. */
  all(): ServiceLimits[] {
    return [...this.#limits].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, limits]) => limits);
  }

  apply(changes: readonly ObjectChange[]): L7Change[] {
    const services = new Map<string, { namespace: string; name: string }>();
    for (const { kind, namespace, before, after } of changes) {
      if (kind === 'Service') {
        // Only what is said about limits depends on it.
        for (const limit of this.#options.objects.in('RateLimit', namespace)) this.#report(limit);
        continue;
      }
      if (kind !== 'RateLimit') continue;
      for (const object of [before, after]) {
        if (object?.kind !== 'RateLimit') continue;
        for (const { name } of object.value.spec.targetRefs ?? [])
          services.set(`${namespace}/${name}`, { namespace, name });
      }
      if (after?.kind === 'RateLimit') this.#report(after);
      else if (before !== null) this.#options.findings.put('rate-limit', objectName(before), []);
    }
    const changed: L7Change[] = [];
    for (const { namespace, name } of services.values()) {
      const key = `${namespace}/${name}.${namespace}.svc.${this.#options.config.clusterDomain}`;
      const before = this.#limits.get(key) ?? null;
      const resource = this.#limitsOf(key, namespace, name);
      if (resource === null) this.#limits.delete(key);
      else this.#limits.set(key, resource);
      if (!isDeepStrictEqual(before, resource)) changed.push({ list: 'limits', key, resource });
    }
    return changed;
  }

  #limitsOf(service: string, namespace: string, name: string): ServiceLimits | null {
    const { objects, config } = this.#options;
    const limits = [...objects.in('RateLimit', namespace)]
      .filter(({ value }) => value.spec.targetRefs?.some(ref => ref.name === name) === true)
      .sort(compareLocated)
      .map(limit => rateLimitOf(limit, config));
    return limits.length === 0 ? null : { service, limits };
  }

  #report(limit: Located<'RateLimit'>): void {
    const { objects, findings } = this.#options;
    findings.about('rate-limit', limit, report => {
      const { targetRefs = [], global } = limit.value.spec;
      for (const [index, { name }] of targetRefs.entries()) {
        if (objects.get('Service', limit.namespace, name) !== null) continue;
        const message = `not in force: there is no Service ${limit.namespace}/${name}`;
        report(limit, 'warning', 'unknown-host', `spec.targetRefs[${index}].name`, message);
      }
      if (global === undefined) return;
      const { name, namespace = limit.namespace, port } = global.service;
      const service = objects.get('Service', namespace, name);
      if (service?.value.spec.ports.some(each => each.port === port) === true) return;
      const what = global.failureMode === 'Deny' ? 'refused' : 'not limited by it';
      const message = `there is no port ${port} of a Service ${namespace}/${name}: requests are ${what}`;
      report(limit, 'error', 'unknown-backend', 'spec.global.service', message);
    });
  }
}
