/**
 * The builder of a cluster: objects come and go, and each change becomes a change of the mesh.
 */
import { type MeshDelta, diff } from '../model/mesh.ts';
import { type BuildOptions, type BuildResult, build } from './build.ts';
import type { MeshSettings, PlacedPod } from './build-node-pods.ts';
import type { Finding } from './finding.ts';
import type { LocatedObject, Origin } from './located.ts';

/** Names an object; `origin` only where several objects of one kind and name can be there (files, two API groups). */
export type ObjectRef = Pick<LocatedObject, 'kind' | 'namespace' | 'name'> & {
  readonly origin?: Pick<Origin, 'file' | 'index'>;
};

export interface ObjectChanges {
  /** New objects, and those that replace one of the same kind, name and origin. */
  readonly set: readonly LocatedObject[];
  readonly removed: readonly ObjectRef[];
}

export interface BuildChange {
  readonly mesh: MeshDelta;
  /** `removed` by pod uid. A pod whose node changes comes again. */
  readonly nodePods: { readonly set: readonly PlacedPod[]; readonly removed: readonly string[] };
  /** Null when they are as they were. The first change always has them. */
  readonly settings: MeshSettings | null;
  /** All findings there are now about each object whose findings are others than before, by `Finding.object`. */
  readonly findings: ReadonlyMap<string, readonly Finding[]>;
}

export class IncrementalBuilder {
  readonly #options: BuildOptions;
  readonly #objects = new Map<string, LocatedObject>();
  #current: BuildResult;
  #isFirst = true;

  constructor(options: BuildOptions = {}) {
    this.#options = options;
    this.#current = build([], options);
  }

  /** Everything as it is now: what `build` would make of all objects. */
  get current(): BuildResult {
    return this.#current;
  }

  apply({ set, removed }: ObjectChanges): BuildChange {
    for (const ref of removed) this.#objects.delete(keyOf(ref));
    for (const object of set) this.#objects.set(keyOf(object), object);
    const before = this.#current;
    const after = build([...this.#objects.values()], this.#options);
    this.#current = after;
    const settings =
      this.#isFirst || JSON.stringify(before.settings) !== JSON.stringify(after.settings)
        ? after.settings
        : null;
    this.#isFirst = false;
    return {
      mesh: diff(before.mesh, after.mesh),
      nodePods: podChanges(before.nodePods, after.nodePods),
      settings,
      findings: findingChanges(before.findings, after.findings),
    };
  }
}

function keyOf({ kind, namespace, name, origin }: ObjectRef): string {
  return `${kind}/${namespace}/${name}\0${origin?.file ?? ''}\0${origin?.index ?? 0}`;
}

function podChanges(before: readonly PlacedPod[], after: readonly PlacedPod[]): BuildChange['nodePods'] {
  const old = new Map(before.map(placed => [placed.pod.podUid, JSON.stringify(placed)]));
  const now = new Set(after.map(({ pod }) => pod.podUid));
  return {
    set: after.filter(placed => old.get(placed.pod.podUid) !== JSON.stringify(placed)),
    removed: [...old.keys()].filter(uid => !now.has(uid)),
  };
}

function findingChanges(
  before: readonly Finding[],
  after: readonly Finding[],
): Map<string, readonly Finding[]> {
  const old = Map.groupBy(before, ({ object }) => object ?? '');
  const now = Map.groupBy(after, ({ object }) => object ?? '');
  const changed = new Map<string, readonly Finding[]>();
  for (const name of new Set([...old.keys(), ...now.keys()])) {
    const list = now.get(name) ?? [];
    if (JSON.stringify(list) !== JSON.stringify(old.get(name) ?? [])) changed.set(name, list);
  }
  return changed;
}
