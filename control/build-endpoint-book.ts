/**
 * The endpoints of all services, and the other way round the services of every workload, as objects come and go.
 *
 * Only services that something may have changed for are looked at again: a pod leads to the services that select it and
 * to those whose slices name it or its addresses.
 */
import { isDeepStrictEqual } from 'node:util';
import { sliceService } from '../model/kinds/marks.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { PortMapping, Workload } from '../model/workload.ts';
import { Claims } from './build-claims.ts';
import type { BuildMode } from './build-enrolment.ts';
import type { EntryMember } from './build-entries.ts';
import { type Endpoints, type Outside, endpointsOf, refUid, selectorOf } from './build-endpoints.ts';
import type { FindingStore } from './build-findings.ts';
import { type LabelIndex, type Labelled, SelectorIndex } from './build-labels.ts';
import type { Objects } from './build-objects.ts';
import type { PodBook, PodEntry } from './build-pods.ts';
import type { ServiceBook } from './build-service-book.ts';
import type { MeshService } from './build-services.ts';
import { type Located, type LocatedObject, compareLocated, objectName, type Report } from './located.ts';

export interface EndpointBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly mode: BuildMode;
  readonly findings: FindingStore;
  readonly pods: PodBook;
  readonly services: ServiceBook;
  readonly podsByLabel: LabelIndex<PodEntry>;
  readonly entriesByLabel: LabelIndex<EntryMember>;
}

const none: Endpoints = { ports: new Map(), outside: new Map() };

export class EndpointBook {
  readonly #options: EndpointBookOptions;
  readonly #endpoints = new Map<string, Endpoints>();
  /** Service keys by workload uid. */
  readonly #servicesOf = new Claims();
  /** Service keys by uid of a workload that only endpoints name. */
  readonly #outside = new Claims();
  readonly #selectors = new SelectorIndex();
  /** Slices by `namespace/service`. */
  readonly #slices = new Map<string, Map<string, Located<'EndpointSlice'>>>();
  /** `namespace/service` by what its slices name: uids of pods, and addresses of nobody in particular. */
  readonly #named = new Claims();
  /** Service keys by the addresses that ServiceEntries name in place, and back. */
  readonly #inline = new Claims();
  readonly #inlineOf = new Map<string, readonly string[]>();
  readonly #services = new WeakMap<readonly PortMapping[], Workload['services']>();
  /** Services to look at again. */
  readonly #dirty = new Set<string>();
  /** Services that were looked at since somebody asked. */
  readonly #looked = new Set<string>();

  constructor(options: EndpointBookOptions) {
    this.#options = options;
  }

  /** The services a workload is an endpoint of, and its ports, by service key. */
  servicesOf(uid: string): Workload['services'] {
    const keys = this.#servicesOf.of(uid);
    const [only] = keys;
    if (only === undefined) return noServices;
    if (keys.length === 1) return this.#alone(only, this.#endpoints.get(only)?.ports.get(uid) ?? []);
    const services: Record<string, readonly PortMapping[]> = {};
    for (const key of [...keys].sort()) services[key] = this.#endpoints.get(key)?.ports.get(uid) ?? [];
    return services;
  }

  /** One object for all endpoints that are no other service's and have the same ports. */
  #alone(key: string, ports: readonly PortMapping[]): Workload['services'] {
    const known = this.#services.get(ports);
    if (known !== undefined && Object.hasOwn(known, key)) return known;
    const services = { [key]: ports };
    this.#services.set(ports, services);
    return services;
  }

  keysOf(uid: string): readonly string[] {
    return this.#servicesOf.of(uid);
  }

  membersOf(key: string): Iterable<string> {
    return this.#endpoints.get(key)?.ports.keys() ?? [];
  }

  /** What is known of a workload that only endpoints name: from the first of the services that do. */
  outside(uid: string): Outside | null {
    const [key] = [...this.#outside.of(uid)].sort();
    return key === undefined ? null : (this.#endpoints.get(key)?.outside.get(uid) ?? null);
  }

  serviceChanged(key: string): void {
    this.#dirty.add(key);
    const service = this.#options.services.get(key);
    const selector = service === null ? null : selectorOf(service);
    if (service === null || selector === null) this.#selectors.delete(key);
    else this.#selectors.set(key, service.object.namespace, selector);
    for (const address of this.#inlineOf.get(key) ?? []) this.#inline.remove(address, key);
    this.#inlineOf.delete(key);
    if (service?.object.kind !== 'ServiceEntry') return;
    const addresses = (service.object.value.spec.endpoints ?? []).flatMap(({ address }) => address ?? []);
    if (addresses.length > 0) this.#inlineOf.set(key, addresses);
    for (const address of addresses) this.#inline.add(address, key);
  }

  /** A Service is another one or gone, so its slices are looked at again. */
  serviceNamed(namespace: string, name: string): void {
    for (const slice of this.#slices.get(`${namespace}/${name}`)?.values() ?? []) this.#reportSlice(slice);
  }

  sliceChanged(before: LocatedObject | null, after: LocatedObject | null): void {
    if (before?.kind === 'EndpointSlice') {
      const key = serviceName(before);
      const slices = this.#slices.get(key);
      if (slices?.delete(before.name) === true && slices.size === 0) this.#slices.delete(key);
      this.#renamed(key);
      // Others of the same service may name the same; they are few.
      for (const name of this.#namesIn(before)) this.#named.remove(name, key);
      for (const slice of this.#slices.get(key)?.values() ?? []) this.#name(slice, key);
      if (after === null) {
        for (const aspect of ['slice', 'members'] as const)
          this.#options.findings.put(aspect, objectName(before), []);
      }
    }
    if (after?.kind === 'EndpointSlice') {
      const key = serviceName(after);
      const slices = this.#slices.get(key);
      if (slices === undefined) this.#slices.set(key, new Map([[after.name, after]]));
      else slices.set(after.name, after);
      this.#name(after, key);
      this.#renamed(key);
      this.#reportSlice(after);
    }
  }

  /** A pod or WorkloadEntry has other labels or ports, came or went. */
  memberChanged(member: Labelled): void {
    for (const key of this.#selectors.choosing(member)) this.#dirty.add(key);
  }

  /** Who is found under these uids and addresses is somebody else now. */
  whereaboutsChanged(names: Iterable<string>): void {
    for (const name of names) {
      for (const key of this.#named.of(name)) this.#renamed(key);
      for (const key of this.#inline.of(name)) this.#dirty.add(key);
    }
  }

  /** Looks again at what changed; returns the uids of workloads whose services are others now. */
  apply(): Set<string> {
    const changed = new Set<string>();
    for (const key of this.#dirty) {
      this.#looked.add(key);
      const before = this.#endpoints.get(key) ?? none;
      const after = this.#look(key);
      if (after === null) this.#endpoints.delete(key);
      else this.#endpoints.set(key, after);
      const now = after ?? none;
      for (const uid of before.ports.keys()) {
        if (now.ports.has(uid)) continue;
        this.#servicesOf.remove(uid, key);
        changed.add(uid);
      }
      for (const [uid, ports] of now.ports) {
        if (isDeepStrictEqual(before.ports.get(uid), ports)) continue;
        this.#servicesOf.add(uid, key);
        changed.add(uid);
      }
      for (const uid of before.outside.keys()) if (!now.outside.has(uid)) this.#outside.remove(uid, key);
      for (const [uid, outside] of now.outside) {
        this.#outside.add(uid, key);
        if (!isDeepStrictEqual(before.outside.get(uid), outside)) changed.add(uid);
      }
    }
    this.#dirty.clear();
    return changed;
  }

  /** The services whose endpoints were looked at since this was asked last. */
  takeLooked(): string[] {
    const looked = [...this.#looked];
    this.#looked.clear();
    return looked;
  }

  #look(key: string): Endpoints | null {
    const { services, findings, config, mode, pods, podsByLabel, entriesByLabel } = this.#options;
    const service = services.get(key);
    if (service === null) return null;
    const slices = this.#usableSlices(service);
    const said = new Map<LocatedObject, Parameters<Report>[]>();
    const endpoints = endpointsOf(
      { service, slices, config, mode, pods, podsByLabel, entriesByLabel },
      (...words) => said.set(words[0], [...(said.get(words[0]) ?? []), words]),
    );
    for (const slice of slices) repeat('members', slice, findings, said);
    // Of several hosts of one ServiceEntry the first speaks for all.
    const [first] = services.keysOf(service.object);
    if (first === key) repeat('endpoints', service.object, findings, said);
    return endpoints;
  }

  #usableSlices({ object }: MeshService): Located<'EndpointSlice'>[] {
    if (object.kind !== 'Service') return [];
    const slices = [...(this.#slices.get(`${object.namespace}/${object.name}`)?.values() ?? [])];
    return slices.filter(({ value }) => value.addressType !== 'FQDN').sort(compareLocated);
  }

  #renamed(name: string): void {
    const slash = name.indexOf('/');
    const ref = { kind: 'Service', namespace: name.slice(0, slash), name: name.slice(slash + 1) } as const;
    for (const key of this.#options.services.keysOf(ref)) this.#dirty.add(key);
  }

  #namesIn(slice: Located<'EndpointSlice'>): string[] {
    return slice.value.endpoints.flatMap(({ targetRef, addresses }) =>
      targetRef?.kind === 'Pod' ? [refUid(targetRef, slice, this.#options.config)] : addresses,
    );
  }

  #name(slice: Located<'EndpointSlice'>, key: string): void {
    for (const name of this.#namesIn(slice)) this.#named.add(name, key);
  }

  #reportSlice(slice: Located<'EndpointSlice'>): void {
    const { objects, findings } = this.#options;
    // What its service has to say of it comes when that is looked at, if it is at all.
    findings.put('members', objectName(slice), []);
    findings.about('slice', slice, report => {
      const name = slice.value.metadata.labels[sliceService];
      if (name === undefined || objects.get('Service', slice.namespace, name) === null) {
        const what =
          name === undefined
            ? `has no label ${sliceService}`
            : `there is no Service ${slice.namespace}/${name}`;
        report(slice, 'warning', 'slice-without-service', 'metadata.labels', `ignored: ${what}`);
      } else if (slice.value.addressType === 'FQDN') {
        const message = 'ignored: endpoints that are names are not supported';
        report(slice, 'warning', 'fqdn-slice', 'addressType', message);
      }
    });
  }
}

const noServices: Workload['services'] = {};

function repeat(
  aspect: 'members' | 'endpoints',
  object: LocatedObject,
  findings: FindingStore,
  said: ReadonlyMap<LocatedObject, readonly Parameters<Report>[]>,
): void {
  findings.about(aspect, object, report => {
    for (const words of said.get(object) ?? []) report(...words);
  });
}

/** `namespace/service` of a slice; one without the label belongs to nobody. */
function serviceName({ namespace, value }: Located<'EndpointSlice'>): string {
  return `${namespace}/${value.metadata.labels[sliceService] ?? ''}`;
}
