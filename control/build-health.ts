/** Says which services have endpoints of which none is ready: whoever calls one gets no connection. */
import type { Workload } from '../model/workload.ts';
import type { EndpointBook } from './build-endpoint-book.ts';
import type { FindingStore } from './build-findings.ts';
import type { ServiceBook } from './build-service-book.ts';
import { objectName } from './located.ts';

export interface HealthOptions {
  readonly findings: FindingStore;
  readonly services: Pick<ServiceBook, 'get'>;
  readonly endpoints: Pick<EndpointBook, 'keysOf' | 'membersOf' | 'takeLooked'>;
  readonly workloads: ReadonlyMap<string, Workload>;
}

/**
 * @param changed keys of services that are others than before
 * @param touched uids of workloads of which the same holds, or whose services are others
 */
export function reportHealth(
  { findings, services, endpoints, workloads }: HealthOptions,
  changed: Iterable<string>,
  touched: readonly Iterable<string>[],
): void {
  const keys = new Set(changed);
  for (const uids of touched) for (const uid of uids) for (const key of endpoints.keysOf(uid)) keys.add(key);
  for (const key of endpoints.takeLooked()) keys.add(key);
  const seen = new Set<string>();
  for (const key of keys) {
    const service = services.get(key);
    if (service === null || seen.has(objectName(service.object))) continue;
    const { object } = service;
    seen.add(objectName(object));
    findings.about('health', object, report => {
      if (service.service.loadBalancing?.healthPolicy === 'ALLOW_ALL') return;
      let has = false;
      for (const uid of endpoints.membersOf(key)) {
        if (workloads.get(uid)?.status === 'HEALTHY') return;
        has = true;
      }
      if (!has) return;
      const message = 'none of its endpoints is ready: nobody gets a connection';
      report(object, 'warning', 'service-without-ready-endpoints', '', message);
    });
  }
}
