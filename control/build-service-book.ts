/**
 * Which services there are: of Services and ServiceEntries, each host of a namespace once, and who has its addresses.
 */
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import { AutoAddresses } from './build-addresses.ts';
import { Claims } from './build-claims.ts';
import { entryServices } from './build-entries.ts';
import type { FindingStore } from './build-findings.ts';
import type { Objects } from './build-objects.ts';
import type { PodBook } from './build-pods.ts';
import { type MeshService, clusterIps, meshService } from './build-services.ts';
import { compare } from './finding.ts';
import { type Located, compareLocated, objectName, type Report } from './located.ts';

/** Names a Service or ServiceEntry. */
export interface ServiceRef {
  readonly kind: 'Service' | 'ServiceEntry';
  readonly namespace: string;
  readonly name: string;
}

export interface ServiceBookOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly findings: FindingStore;
  readonly pods: Pick<PodBook, 'at'>;
}

export class ServiceBook {
  readonly #options: ServiceBookOptions;
  readonly #services = new Map<string, MeshService>();
  /** By object, all that it describes, also what another one has. */
  readonly #described = new Map<string, readonly MeshService[]>();
  /** Objects by service key. */
  readonly #hosts = new Claims();
  /** Service objects by cluster IP. */
  readonly #addresses = new Claims();
  /** Of ServiceEntries that have none. */
  readonly auto: AutoAddresses;

  constructor(options: ServiceBookOptions) {
    this.#options = options;
    this.auto = new AutoAddresses(options.objects);
  }

  /** The service of a key, `namespace/hostname`. */
  get(key: string): MeshService | null {
    return this.#services.get(key) ?? null;
  }

  /** The keys of the services that an object describes and no other one has. */
  keysOf(ref: ServiceRef): string[] {
    const id = idOf(ref);
    const described = this.#described.get(id) ?? [];
    return described.map(({ key }) => key).filter(key => this.#owner(key) === id);
  }

  /** Takes in that these objects are others than before, or gone; returns the keys whose service is another now. */
  apply(changed: Iterable<ServiceRef>): Set<string> {
    const refs = this.#withAddresses(changed);
    const keys = new Set<string>();
    const addresses = new Set<string>();
    const contenders = new Set<string>();
    for (const ref of refs) {
      const id = idOf(ref);
      contenders.add(id);
      this.#options.findings.put('addresses', objectName(ref), []);
      const before = this.#described.get(id) ?? [];
      for (const { key } of before) {
        keys.add(key);
        this.#hosts.remove(key, id);
      }
      for (const address of addressesOf(before)) {
        addresses.add(address);
        this.#addresses.remove(address, id);
      }
      const after = this.#look(ref);
      if (after.length === 0) this.#described.delete(id);
      else this.#described.set(id, after);
      for (const { key } of after) {
        keys.add(key);
        this.#hosts.add(key, id);
      }
      for (const address of addressesOf(after)) {
        addresses.add(address);
        this.#addresses.add(address, id);
      }
    }
    for (const key of keys) {
      const described = this.#described.get(this.#owner(key) ?? '');
      const service = described?.find(candidate => candidate.key === key);
      if (service === undefined) this.#services.delete(key);
      else this.#services.set(key, service);
      for (const id of this.#hosts.of(key)) contenders.add(id);
    }
    for (const ref of refs) if (this.keysOf(ref).length === 0) this.#forget(ref);
    for (const id of contenders) this.#reportHosts(id);
    this.addressesChanged(addresses);
    return keys;
  }

  /** Looks again at who has these addresses: a cluster IP that two Services have, or a pod. No cluster gives it to both. */
  addressesChanged(addresses: Iterable<string>): void {
    const ids = new Set<string>();
    for (const address of addresses) for (const id of this.#addresses.of(address)) ids.add(id);
    for (const id of ids) {
      const [described] = this.#described.get(id) ?? [];
      if (described?.object.kind !== 'Service') continue;
      const { object } = described;
      this.#options.findings.about('addresses', object, report => this.#reportAddresses(id, object, report));
    }
  }

  /** These and the ServiceEntries whose addresses are others for it. */
  #withAddresses(changed: Iterable<ServiceRef>): readonly ServiceRef[] {
    const refs = new Map(Array.from(changed, ref => [idOf(ref), ref]));
    const entries = [...refs.values()].filter(({ kind }) => kind === 'ServiceEntry');
    if (entries.length > 0) for (const entry of this.auto.apply(entries)) refs.set(idOf(entry), entry);
    return [...refs.values()];
  }

  #look({ kind, namespace, name }: ServiceRef): MeshService[] {
    const { objects, config, findings } = this.#options;
    if (kind === 'Service') {
      const object = objects.get('Service', namespace, name);
      if (object === null) return this.#gone({ kind, namespace, name });
      const described = findings.about('service', object, report =>
        meshService(object, objects.get('Namespace', '', namespace), config, report),
      );
      return described === null ? [] : [described];
    }
    const object = objects.get('ServiceEntry', namespace, name);
    if (object === null) return this.#gone({ kind, namespace, name });
    return findings.about('service', object, report =>
      entryServices(object, config, this.auto.of(namespace, name), report),
    );
  }

  #gone(ref: ServiceRef): MeshService[] {
    for (const aspect of ['service', 'hosts'] as const)
      this.#options.findings.put(aspect, objectName(ref), []);
    return [];
  }

  /** Nothing more is said of the endpoints of an object that describes no service. */
  #forget(ref: ServiceRef): void {
    for (const aspect of ['endpoints', 'health'] as const)
      this.#options.findings.put(aspect, objectName(ref), []);
  }

  /** The object that has a host: a Service before any ServiceEntry, otherwise the first in file order. */
  #owner(key: string): string | null {
    const ids = this.#hosts.of(key);
    if (ids.length <= 1) return ids[0] ?? null;
    const contenders = ids.flatMap(id => {
      const object = this.#described.get(id)?.[0]?.object;
      return object === undefined ? [] : [{ id, object }];
    });
    contenders.sort((a, b) => compare(a.object.kind, b.object.kind) || compareLocated(a.object, b.object));
    return contenders[0]?.id ?? null;
  }

  #reportHosts(id: string): void {
    const described = this.#described.get(id) ?? [];
    const object = described[0]?.object;
    if (object === undefined) return;
    if (this.keysOf(object).length === 0) this.#forget(object);
    this.#options.findings.about('hosts', object, report => {
      for (const { key, service } of described) {
        const owner = this.#owner(key);
        if (owner === null || owner === id) continue;
        const other = this.#described.get(owner)?.[0]?.object;
        const message = `${service.hostname} is described by ${other === undefined ? 'another object' : objectName(other)} already`;
        report(object, 'warning', 'duplicate-host', 'spec.hosts', message);
      }
    });
  }

  #reportAddresses(id: string, object: Located<'Service'>, report: Report): void {
    for (const address of clusterIps(object)) {
      const pod = this.#options.pods.at(address);
      if (pod !== null) {
        const message = `${address} is the address of ${objectName(pod.pod)} too: connections to it go to the pod`;
        report(object, 'warning', 'address-conflict', 'spec.clusterIP', message);
      }
      const [first] = [...this.#addresses.of(address)].sort(compare);
      if (first === undefined || first === id) continue;
      const holder = this.#described.get(first)?.[0]?.object;
      const message = `${address} is the cluster IP of ${holder === undefined ? first : objectName(holder)} too: clients prefer the one of their own namespace`;
      report(object, 'warning', 'address-conflict', 'spec.clusterIP', message);
    }
  }
}

function idOf({ kind, namespace, name }: ServiceRef): string {
  return `${kind} ${namespace}/${name}`;
}

function addressesOf(described: readonly MeshService[]): string[] {
  const object = described[0]?.object;
  return object?.kind === 'Service' ? clusterIps(object) : [];
}
