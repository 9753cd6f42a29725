/**
 * A mesh as it is built, under one MeshConfig: takes in which objects changed and follows each change to what it touches
 * (pods → services → endpoints → policies → workloads), so that a change costs what it is about, however large the mesh.
 */
import { isDeepStrictEqual } from 'node:util';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { AllocatedAddress } from '../model/kinds/service-entry.ts';
import type { L7Change } from '../model/l7.ts';
import type { Authorization } from '../model/policy.ts';
import type { Service } from '../model/service.ts';
import { type Locality, type Workload, podUid } from '../model/workload.ts';
import type { BuildMode } from './build-enrolment.ts';
import { EndpointBook } from './build-endpoint-book.ts';
import { type EntryMember, entryMember, outsideWorkload } from './build-entries.ts';
import type { FindingStore } from './build-findings.ts';
import { reportHealth } from './build-health.ts';
import { L7Books } from './build-l7.ts';
import { LabelIndex } from './build-labels.ts';
import { type PlacedPod, placedChanges, placedPod } from './build-node-pods.ts';
import type { ObjectChange, Objects } from './build-objects.ts';
import { PodBook, type PodChange, type PodEntry } from './build-pods.ts';
import { PolicyBook } from './build-policies.ts';
import { ReferenceBook } from './build-references.ts';
import { ServiceBook } from './build-service-book.ts';
import { Touch } from './build-touched.ts';
import { WaypointBook } from './build-waypoints.ts';
import { localityOf, podWorkload } from './build-workloads.ts';
import { type Located, objectName } from './located.ts';

/** The keys of what is another than before, or gone. */
export interface StateChanges {
  readonly workloads: ReadonlySet<string>;
  readonly services: ReadonlySet<string>;
  readonly policies: ReadonlySet<string>;
  readonly l7: readonly L7Change[];
  /** Of a cluster, by pod uid: what a node is to know of a pod now, null for one that is gone. */
  readonly placed: ReadonlyMap<string, PlacedPod | null>;
}

export interface StateOptions {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly mode: BuildMode;
  readonly findings: FindingStore;
}

export class BuildState {
  readonly workloads = new Map<string, Workload>();
  readonly services = new Map<string, Service>();
  readonly policies = new Map<string, Authorization>();
  readonly pods: PodBook;
  readonly l7: L7Books;
  readonly #options: StateOptions;
  readonly #podsByLabel = new LabelIndex<PodEntry>();
  readonly #entries = new Map<string, EntryMember>();
  readonly #entriesByLabel = new LabelIndex<EntryMember>();
  readonly #services: ServiceBook;
  readonly #endpoints: EndpointBook;
  readonly #policies: PolicyBook;
  readonly #references: ReferenceBook;
  readonly #waypoints: WaypointBook;
  readonly #touch: Touch;
  readonly #localities = new Map<string, Locality | null>();

  constructor(options: StateOptions) {
    this.#options = options;
    this.pods = new PodBook(options);
    this.#services = new ServiceBook({ ...options, pods: this.pods });
    const byLabel = { podsByLabel: this.#podsByLabel, entriesByLabel: this.#entriesByLabel };
    this.#endpoints = new EndpointBook({
      ...options,
      ...byLabel,
      pods: this.pods,
      services: this.#services,
    });
    this.#policies = new PolicyBook({ ...options, podsByLabel: this.#podsByLabel });
    this.#references = new ReferenceBook(options);
    this.#waypoints = new WaypointBook(options);
    this.#touch = new Touch({ ...options, waypoints: this.#waypoints });
    this.l7 = new L7Books({
      ...options,
      waypoints: this.#waypoints,
      services: this.services,
      workloads: this.workloads,
      membersOf: key => this.#endpoints.membersOf(key),
      keysOf: uid => this.#endpoints.keysOf(uid),
      labelsOf: uid =>
        this.pods.get(uid)?.labels ??
        this.#entries.get(uid)?.labels ??
        this.#endpoints.outside(uid)?.spec.labels ??
        null,
    });
  }

  /** The Gateway whose waypoint a pod is. */
  gatewayOf(pod: Located<'Pod'>): Located<'Gateway'> | null {
    return this.#waypoints.gatewayOf(pod);
  }

  /** Takes changes of objects in; the objects are what they are now already. */
  apply(changes: readonly ObjectChange[]): StateChanges {
    const touched = this.#touch.of(changes);
    const dirty = new Set<string>();
    // Also those whose own words are the same: a waypoint of theirs may have come or gone.
    for (const { namespace, name } of touched.pods.values())
      dirty.add(podUid(this.#options.config.clusterId, namespace, name));
    const podChanges = this.pods.apply(touched.pods.values());
    for (const change of podChanges) this.#followPod(change, dirty);
    for (const change of changes) if (change.kind === 'WorkloadEntry') this.#followEntry(change, dirty);

    const serviceKeys = this.#services.apply([...touched.services.values()]);
    for (const key of serviceKeys) this.#endpoints.serviceChanged(key);
    for (const { kind, namespace, name } of touched.services.values())
      if (kind === 'Service') this.#endpoints.serviceNamed(namespace, name);
    for (const { kind, before, after } of changes)
      if (kind === 'EndpointSlice') this.#endpoints.sliceChanged(before, after);
    this.#followAddresses(podChanges);
    const memberships = this.#endpoints.apply();
    for (const uid of memberships) dirty.add(uid);

    const policies = this.#policies.apply(touched.policies, podChanges);
    for (const uid of policies.pods) dirty.add(uid);
    this.#references.apply(changes);
    if (touched.nodes.size > 0) this.#followNodes(touched.nodes, dirty);

    const workloads = this.#renewWorkloads(dirty);
    const { findings } = this.#options;
    const books = {
      findings,
      services: this.#services,
      endpoints: this.#endpoints,
      workloads: this.workloads,
    };
    reportHealth(books, serviceKeys, [memberships, workloads]);
    const services = this.#renew(this.services, serviceKeys, key => this.#serviceOf(key));
    return {
      workloads,
      services,
      policies: this.#renew(this.policies, policies.policies, key => this.#policies.get(key)),
      l7: this.l7.apply(changes, { services, workloads: dirty }),
      placed:
        this.#options.mode === 'directory' ? new Map() : placedChanges(podChanges, this.#options.config),
    };
  }

  /** Addresses of the hosts of a ServiceEntry that has none of its own. */
  allocated(namespace: string, name: string): readonly AllocatedAddress[] {
    return this.#services.auto.of(namespace, name);
  }

  #serviceOf(key: string): Service | null {
    const found = this.#services.get(key);
    if (found === null) return null;
    return { ...found.service, waypoint: this.#waypoints.waypointOf(found.object) };
  }

  #followPod({ before, after }: PodChange, dirty: Set<string>): void {
    const uid = (before ?? after)?.uid ?? '';
    dirty.add(uid);
    const old = before !== null && isInMesh(before) ? before : null;
    const now = after !== null && isInMesh(after) ? after : null;
    if (old !== null) this.#podsByLabel.remove(old);
    if (now !== null) this.#podsByLabel.add(now);
    if (old !== null && now !== null && isAlikeToServices(old, now)) return;
    if (old !== null) this.#endpoints.memberChanged(old);
    if (now !== null) this.#endpoints.memberChanged(now);
  }

  #followAddresses(changes: readonly PodChange[]): void {
    const names = new Set<string>();
    for (const { before, after } of changes) {
      const old = before?.addresses ?? [];
      const now = after?.addresses ?? [];
      const isSame =
        isDeepStrictEqual(old, now) &&
        before?.hostNetwork === after?.hostNetwork &&
        isDeepStrictEqual(before?.reachableAt, after?.reachableAt);
      if (isSame) continue;
      names.add((before ?? after)?.uid ?? '');
      for (const address of [...old, ...now]) names.add(address);
    }
    if (names.size === 0) return;
    this.#services.addressesChanged(names);
    this.#endpoints.whereaboutsChanged(names);
  }

  #followEntry({ before, after }: ObjectChange, dirty: Set<string>): void {
    const { config, findings } = this.#options;
    if (before?.kind === 'WorkloadEntry') {
      const old = entryMember(before, config);
      dirty.add(old.uid);
      this.#entries.delete(old.uid);
      this.#entriesByLabel.remove(old);
      this.#endpoints.memberChanged(old);
      findings.put('entry', objectName(before), []);
    }
    if (after?.kind !== 'WorkloadEntry') return;
    const now = entryMember(after, config);
    dirty.add(now.uid);
    findings.about('entry', after, report => {
      if (after.value.spec.address !== undefined) return;
      const message = 'has no address: what only has a network needs a gateway, and none is known';
      report(after, 'warning', 'endpoint-without-address', 'spec.address', message);
    });
    if (after.value.spec.address === undefined) return;
    this.#entries.set(now.uid, now);
    this.#entriesByLabel.add(now);
    this.#endpoints.memberChanged(now);
  }

  /** Another place of a node is another place of all that runs on it. */
  #followNodes(nodes: ReadonlySet<string>, dirty: Set<string>): void {
    for (const node of nodes) this.#localities.delete(node);
    for (const { uid, node } of this.workloads.values()) if (nodes.has(node)) dirty.add(uid);
  }

  #renewWorkloads(dirty: ReadonlySet<string>): Set<string> {
    return this.#renew(this.workloads, dirty, uid => this.#workloadOf(uid));
  }

  #workloadOf(uid: string): Workload | null {
    const { config, mode } = this.#options;
    const services = this.#endpoints.servicesOf(uid);
    const pod = this.pods.get(uid);
    if (pod !== null) {
      if (!isInMesh(pod)) return null;
      const authorizationPolicies = this.#policies.namesOf(pod);
      const locality = this.#localityOf(pod.pod.value.spec.nodeName ?? '');
      const waypoint = this.#waypoints.waypointOf(pod.pod);
      return podWorkload(pod, { services, authorizationPolicies, locality, waypoint }, config, mode);
    }
    const entry = this.#entries.get(uid)?.entry;
    if (entry !== undefined) {
      const { name, namespace, value } = entry;
      return outsideWorkload({ uid, name, namespace, spec: value.spec, services }, config);
    }
    const outside = this.#endpoints.outside(uid);
    if (outside === null) return null;
    const workload = outsideWorkload({ ...outside, services }, config);
    const { node } = outside;
    return node === '' ? workload : { ...workload, node, locality: this.#localityOf(node) };
  }

  /** One object for all workloads of a node. */
  #localityOf(node: string): Locality | null {
    let locality = this.#localities.get(node);
    if (locality === undefined)
      this.#localities.set(node, (locality = localityOf(this.#options.objects, node)));
    return locality;
  }

  /** What nodes are told of pods is worked out anew where it is asked for: it would be one more object for each pod. */
  placed(): Map<string, PlacedPod> {
    const placed = new Map<string, PlacedPod>();
    for (const entry of this.#options.mode === 'directory' ? [] : this.pods.all()) {
      const pod = placedPod(entry, this.#options.config);
      if (pod !== null) placed.set(entry.podUid, pod);
    }
    return placed;
  }

  /** Puts what `make` gives for each key in its place; returns the keys whose value is another in depth. */
  #renew<T>(place: Map<string, T>, keys: Iterable<string>, make: (key: string) => T | null): Set<string> {
    const changed = new Set<string>();
    for (const key of keys) {
      const before = place.get(key);
      const after = make(key);
      if (after === null ? before === undefined : isDeepStrictEqual(before, after)) continue;
      if (after === null) place.delete(key);
      else place.set(key, after);
      changed.add(key);
    }
    return changed;
  }
}

/** A pod of a cluster that has no address yet is known to its node only. */
function isInMesh({ addresses }: PodEntry): boolean {
  return addresses.length > 0;
}

function isAlikeToServices(a: PodEntry, b: PodEntry): boolean {
  return (
    isDeepStrictEqual(a.labels, b.labels) &&
    isDeepStrictEqual(a.pod.value.spec.containers, b.pod.value.spec.containers) &&
    isDeepStrictEqual(a.pod.value.spec.initContainers, b.pod.value.spec.initContainers)
  );
}
