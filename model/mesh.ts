/**
 * The store every process reads: workloads, services and policies, indexed for the questions the data path asks.
 *
 * Each shard has its own, fed by deltas from the main thread, which gets its state from the control plane or a
 * directory. Objects are kept as they came and never copied; the parts of a delta may come in any order (an endpoint
 * before its service, a workload before its policy).
 */
import { AddressIndex } from './address-index.ts';
import { policyKey } from './policy.ts';
import type { Authorization } from './policy.ts';
import { PolicyLists } from './policy-lists.ts';
import { serviceKey } from './service.ts';
import type { Service } from './service.ts';
import { workloadKey } from './workload.ts';
import type { Workload } from './workload.ts';

/** A change, or with nothing removed a full state. Within one delta a name is either set or removed. */
export interface MeshDelta {
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  readonly policies: readonly Authorization[];
  /** By uid. */
  readonly removedWorkloads: readonly string[];
  /** By service key, `namespace/hostname`. */
  readonly removedServices: readonly string[];
  /** By policy key, `namespace/name`. */
  readonly removedPolicies: readonly string[];
}

/** The state with nothing in it. */
export const emptyMesh: MeshDelta = {
  workloads: [],
  services: [],
  policies: [],
  removedWorkloads: [],
  removedServices: [],
  removedPolicies: [],
};

export class Mesh {
  readonly #workloads = new Map<string, Workload>();
  readonly #services = new Map<string, Service>();
  readonly #policies = new PolicyLists();
  /** Who answers at an address comes first; there is more than one only while an address changes hands. */
  readonly #byAddress = new AddressIndex<Workload>(compareClaims);
  readonly #byVip = new AddressIndex<Service>(compareServices);
  /** Only of services that no Kubernetes Service stands for: those are found by their key. */
  readonly #byHost = new Map<string, readonly Service[]>();
  readonly #endpoints = new Map<string, Endpoints>();
  #version = 0;

  /** Grows with every delta that has anything in it. */
  get version(): number {
    return this.#version;
  }

  apply(delta: MeshDelta): void {
    if (isEmpty(delta)) return;
    for (const uid of delta.removedWorkloads) this.#removeWorkload(uid);
    for (const key of delta.removedServices) this.#removeService(key);
    for (const key of delta.removedPolicies) this.#policies.remove(key);
    for (const workload of delta.workloads) {
      this.#removeWorkload(workload.uid);
      this.#addWorkload(workload);
    }
    for (const service of delta.services) {
      this.#removeService(serviceKey(service));
      this.#addService(service);
    }
    for (const policy of delta.policies) this.#policies.set(policy);
    this.#version++;
  }

  workload(uid: string): Workload | null {
    return this.#workloads.get(uid) ?? null;
  }

  /** The workload that answers at a canonical address; never one that shares its node's address. */
  workloadByAddress(network: string, ip: string): Workload | null {
    return this.#byAddress.get(network, ip)[0] ?? null;
  }

  service(key: string): Service | null {
    return this.#services.get(key) ?? null;
  }

  /** All services with this VIP, canonical ones first. */
  servicesByAddress(network: string, ip: string): readonly Service[] {
    return this.#byVip.get(network, ip);
  }

  /** The service a client of `namespace` means by a VIP: its own namespace's, else a canonical one, else any. */
  serviceFor(network: string, ip: string, namespace: string): Service | null {
    const visible = this.#byVip
      .get(network, ip)
      .filter(service => service.visibility === 'PUBLIC' || service.namespace === namespace);
    return visible.find(service => service.namespace === namespace) ?? visible[0] ?? null;
  }

  /**
   * The service a client of `namespace` means by a host name that is not one of a Kubernetes Service: its own
   * namespace's, else any it may see.
   */
  serviceByHost(hostname: string, namespace: string): Service | null {
    const all = this.#byHost.get(hostname) ?? [];
    const visible = all.filter(service => service.visibility === 'PUBLIC' || service.namespace === namespace);
    return visible.find(service => service.namespace === namespace) ?? visible[0] ?? null;
  }

  /** The workloads behind a service, healthy or not; the array is a snapshot. */
  endpoints(key: string): readonly Workload[] {
    const endpoints = this.#endpoints.get(key);
    if (endpoints === undefined) return [];
    endpoints.list ??= [...endpoints.members.values()];
    return endpoints.list;
  }

  /**
   * Every policy that selects the workload: of the mesh, of its namespace, and those it names. The same array comes
   * back until one of them changes, so that what `decide` compiled from it is found again.
   */
  policiesFor(workload: Workload): readonly Authorization[] {
    return this.#policies.for(workload);
  }

  /** The policies a workload names that are not known here: they do not protect it. */
  missingPolicies(workload: Workload): readonly string[] {
    return workload.authorizationPolicies.filter(key => this.#policies.get(key) === null);
  }

  /** Everything, sorted by name: a full state to start another store from, or to print. */
  snapshot(): MeshDelta {
    return {
      ...emptyMesh,
      workloads: sorted(this.#workloads.values(), workloadKey),
      services: sorted(this.#services.values(), serviceKey),
      policies: sorted(this.#policies.all(), policyKey),
    };
  }

  /** How much there is of each. */
  counts(): { readonly workloads: number; readonly services: number; readonly policies: number } {
    return {
      workloads: this.#workloads.size,
      services: this.#services.size,
      policies: this.#policies.size,
    };
  }

  #addWorkload(workload: Workload): void {
    this.#workloads.set(workload.uid, workload);
    if (workload.networkMode === 'STANDARD') {
      for (const ip of workload.addresses) this.#byAddress.add(workload.network, ip, workload);
    }
    for (const key of Object.keys(workload.services)) {
      let endpoints = this.#endpoints.get(key);
      if (endpoints === undefined) this.#endpoints.set(key, (endpoints = { members: new Map(), list: null }));
      endpoints.members.set(workload.uid, workload);
      endpoints.list = null;
    }
  }

  #removeWorkload(uid: string): void {
    const workload = this.#workloads.get(uid);
    if (workload === undefined) return;
    this.#workloads.delete(uid);
    for (const ip of workload.addresses) this.#byAddress.remove(workload.network, ip, workload);
    for (const key of Object.keys(workload.services)) {
      const endpoints = this.#endpoints.get(key);
      if (endpoints === undefined) continue;
      endpoints.members.delete(uid);
      endpoints.list = null;
      if (endpoints.members.size === 0) this.#endpoints.delete(key);
    }
  }

  #addService(service: Service): void {
    this.#services.set(serviceKey(service), service);
    for (const { network, address } of service.addresses) this.#byVip.add(network, address, service);
    if (service.canonical) return;
    const { hostname } = service;
    this.#byHost.set(hostname, [...(this.#byHost.get(hostname) ?? []), service].sort(compareServices));
  }

  #removeService(key: string): void {
    const service = this.#services.get(key);
    if (service === undefined) return;
    this.#services.delete(key);
    for (const { network, address } of service.addresses) this.#byVip.remove(network, address, service);
    const others = (this.#byHost.get(service.hostname) ?? []).filter(other => other !== service);
    if (others.length > 0) this.#byHost.set(service.hostname, others);
    else this.#byHost.delete(service.hostname);
  }
}

interface Endpoints {
  readonly members: Map<string, Workload>;
  /** Made when asked for. */
  list: readonly Workload[] | null;
}

/** The same order in every shard: a pod before other kinds, then enrolled, then healthy, then by uid. */
function compareClaims(a: Workload, b: Workload): number {
  return (
    Number(b.uid.includes('//Pod/')) - Number(a.uid.includes('//Pod/')) ||
    Number(b.tunnelProtocol === 'HBONE') - Number(a.tunnelProtocol === 'HBONE') ||
    Number(b.status === 'HEALTHY') - Number(a.status === 'HEALTHY') ||
    compareText(a.uid, b.uid)
  );
}

function compareServices(a: Service, b: Service): number {
  return Number(b.canonical) - Number(a.canonical) || compareText(serviceKey(a), serviceKey(b));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sorted<T>(items: Iterable<T>, key: (item: T) => string): readonly T[] {
  return [...items].sort((a, b) => compareText(key(a), key(b)));
}

function isEmpty(delta: MeshDelta): boolean {
  return Object.values(delta).every(list => list.length === 0);
}

/**
 * The delta that makes `before` into `after`; both are full states. Objects that are equal in depth are not in it: what
 * did not change must not reach the shards, or every edit would drop their compiled policies.
 */
export function diff(before: MeshDelta, after: MeshDelta): MeshDelta {
  const workloads = changes(before.workloads, after.workloads, workloadKey);
  const services = changes(before.services, after.services, serviceKey);
  const policies = changes(before.policies, after.policies, policyKey);
  return {
    workloads: workloads.set,
    services: services.set,
    policies: policies.set,
    removedWorkloads: workloads.removed,
    removedServices: services.removed,
    removedPolicies: policies.removed,
  };
}

interface Changes<T> {
  readonly set: readonly T[];
  readonly removed: readonly string[];
}

function changes<T>(before: readonly T[], after: readonly T[], key: (item: T) => string): Changes<T> {
  const old = new Map(before.map(item => [key(item), item]));
  const now = new Map(after.map(item => [key(item), item]));
  return {
    set: [...now].flatMap(([name, item]) => (same(old.get(name), item) ? [] : [item])),
    removed: [...old.keys()].filter(name => !now.has(name)),
  };
}

/** Equality in depth of plain JSON values; the order of fields does not count, that of list entries does. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Readonly<Record<string, unknown>>;
  const right = b as Readonly<Record<string, unknown>>;
  const fields = Object.keys(left);
  return (
    fields.length === Object.keys(right).length &&
    fields.every(field => Object.hasOwn(right, field) && same(left[field], right[field]))
  );
}
