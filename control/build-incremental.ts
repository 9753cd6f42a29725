/**
 * The builder, for objects that come and go: each change of objects becomes a change of the mesh, at a cost that does not
 * depend on how large the mesh is. `build` (build.ts) is the same with everything at once.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AllocatedAddress } from '../model/kinds/service-entry.ts';
import { type MeshConfig, meshConfigName, meshSettings } from '../model/kinds/mesh-config.ts';
import { kindNames } from '../model/kinds/registry.ts';
import { type L7Change, type L7State, l7Changes } from '../model/l7.ts';
import { type MeshDelta, diff, emptyMesh } from '../model/mesh.ts';
import type { Service } from '../model/service.ts';
import type { MeshSettings } from '../model/node-pod.ts';
import type { BuildMode } from './build-enrolment.ts';
import type { NamedObject } from './build-credentials.ts';
import { FindingStore } from './build-findings.ts';
import { type PlacedPod, meshSettingsOf } from './build-node-pods.ts';
import { type ObjectChange, type ObjectChanges, ObjectStore } from './build-objects.ts';
import type { PodEntry } from './build-pods.ts';
import { BuildState, type StateChanges } from './build-state.ts';
import type { Finding } from './finding.ts';
import type { Located, LocatedObject } from './located.ts';

export type { ObjectChanges, ObjectRef } from './build-objects.ts';

export interface BuildOptions {
  /** Default `directory`. */
  readonly mode?: BuildMode;
}

/** What one change of objects changes. */
export interface BuildChange {
  readonly mesh: MeshDelta;
  /** For waypoints. */
  readonly l7: readonly L7Change[];
  /** Of a cluster. `removed` by pod uid; a pod whose node changes is set again. */
  readonly nodePods: { readonly set: readonly PlacedPod[]; readonly removed: readonly string[] };
  /** Null when they are as they were; the first change always has them. */
  readonly settings: MeshSettings | null;
  /**
   * The objects about which something else is said than before, by `Finding.object`, with all that is said now: an
   * empty list where nothing is said any more.
   */
  readonly findings: ReadonlyMap<string, readonly Finding[]>;
}

export class IncrementalBuilder {
  readonly #mode: BuildMode;
  readonly #objects = new ObjectStore();
  readonly #findings = new FindingStore();
  #config: MeshConfig;
  #settings: MeshSettings | null = null;
  #state: BuildState;

  constructor({ mode = 'directory' }: BuildOptions = {}) {
    this.#mode = mode;
    this.#config = meshSettings(null);
    this.#state = this.#newState();
  }

  get config(): MeshConfig {
    return this.#config;
  }

  /** Of the objects as they are now. */
  get settings(): MeshSettings {
    return this.#settings ?? meshSettingsOf(this.#objects, this.#config);
  }

  /** The whole mesh as it is now, sorted by key. */
  mesh(): MeshDelta {
    const { workloads, services, policies } = this.#state;
    return {
      ...emptyMesh,
      workloads: sorted(workloads),
      services: sorted(services),
      policies: sorted(policies),
    };
  }

  /** Every pod of a cluster that is on a node, sorted by pod uid. */
  nodePods(): PlacedPod[] {
    return sorted(this.#state.placed());
  }

  /** A Service of Kubernetes as it is in the mesh; null when there is none. */
  service(namespace: string, name: string): Service | null {
    const key = `${namespace}/${name}.${namespace}.svc.${this.#config.clusterDomain}`;
    return this.#state.services.get(key) ?? null;
  }

  /** The Gateway whose waypoint a pod is, null for any other pod. */
  gatewayOf(pod: Located<'Pod'>): Located<'Gateway'> | null {
    return this.#state.gatewayOf(pod);
  }

  /** Addresses of the hosts of a ServiceEntry that has none of its own, as its status is to have them. */
  allocated(namespace: string, name: string): readonly AllocatedAddress[] {
    return this.#state.allocated(namespace, name);
  }

  /** Secrets and ConfigMaps that somebody names, which are read by their names. */
  wanted(): NamedObject[] {
    return this.#state.l7.wanted();
  }

  /** What waypoints follow. */
  l7(): L7State {
    return this.#state.l7.state();
  }

  /** Every pod that has not ended, in no order. */
  pods(): Iterable<PodEntry> {
    return this.#state.pods.all();
  }

  /** Everything that is said now, sorted by place. */
  findings(): Finding[] {
    return this.#findings.all();
  }

  /** Takes changes in. Never throws for what objects say. */
  apply(objects: ObjectChanges): BuildChange {
    const changes = this.#objects.apply(objects, this.#findings);
    const config = meshSettings(this.#objects.get('MeshConfig', '', meshConfigName)?.value ?? null);
    const isNewConfig = !isDeepStrictEqual(config, this.#config);
    const change = isNewConfig ? this.#startAnew(config) : this.#changeOf(this.#state.apply(changes));
    const settings = this.#renewSettings(isNewConfig || changes.some(({ kind }) => kind === 'Namespace'));
    return { ...change, settings, findings: this.#findings.changes() };
  }

  /** The settings where they are others than before; only looked for where they may be. */
  #renewSettings(isLikely: boolean): MeshSettings | null {
    if (this.#settings !== null && !isLikely) return null;
    const settings = meshSettingsOf(this.#objects, this.#config);
    if (isDeepStrictEqual(settings, this.#settings)) return null;
    this.#settings = settings;
    return settings;
  }

  #newState(): BuildState {
    return new BuildState({
      objects: this.#objects,
      config: this.#config,
      mode: this.#mode,
      findings: this.#findings,
    });
  }

  /** Other settings may change anything, so everything is built again and compared. */
  #startAnew(config: MeshConfig): Pick<BuildChange, 'mesh' | 'l7' | 'nodePods'> {
    const before = { mesh: this.mesh(), l7: this.l7(), placed: this.#state.placed() };
    this.#config = config;
    this.#findings.restart();
    this.#state = this.#newState();
    this.#state.apply(allOf(this.#objects));
    const placed = this.#state.placed();
    return {
      mesh: diff(before.mesh, this.mesh()),
      l7: l7Changes(before.l7, this.l7()),
      nodePods: {
        set: sorted(placed).filter(({ pod, node }) => {
          const old = before.placed.get(pod.podUid);
          return !isDeepStrictEqual(old, { node, pod });
        }),
        removed: [...before.placed.keys()].filter(uid => !placed.has(uid)).sort(),
      },
    };
  }

  #changeOf(changes: StateChanges): Pick<BuildChange, 'mesh' | 'l7' | 'nodePods'> {
    const state = this.#state;
    const workloads = split(changes.workloads, key => state.workloads.get(key) ?? null);
    const services = split(changes.services, key => state.services.get(key) ?? null);
    const policies = split(changes.policies, key => state.policies.get(key) ?? null);
    return {
      mesh: {
        workloads: workloads.set,
        services: services.set,
        policies: policies.set,
        removedWorkloads: workloads.removed,
        removedServices: services.removed,
        removedPolicies: policies.removed,
      },
      l7: changes.l7,
      nodePods: split(changes.placed.keys(), key => changes.placed.get(key) ?? null),
    };
  }
}

/** What there is of these keys, and which of them are gone. */
function split<T>(keys: Iterable<string>, get: (key: string) => T | null): { set: T[]; removed: string[] } {
  const set: T[] = [];
  const removed: string[] = [];
  for (const key of [...keys].sort()) {
    const value = get(key);
    if (value === null) removed.push(key);
    else set.push(value);
  }
  return { set, removed };
}

function sorted<T>(values: ReadonlyMap<string, T>): T[] {
  return [...values].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

/** Every object there is, as if it had just come. */
function allOf(objects: ObjectStore): ObjectChange[] {
  const changes: ObjectChange[] = [];
  for (const kind of kindNames) {
    for (const object of objects.all(kind) as Iterable<LocatedObject>) {
      const { namespace, name } = object;
      changes.push({ kind, namespace, name, before: null, after: object });
    }
  }
  return changes;
}
