/**
 * Whom each policy is about: nobody, or pods at which nobody enforces it, are findings. Counted as pods come and go, so
 * that a policy of thousands of pods costs nothing when one of them changes.
 */
import { isDeepStrictEqual } from 'node:util';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { FindingStore } from './build-findings.ts';
import type { LabelIndex, SelectorIndex } from './build-labels.ts';
import type { PodChange, PodEntry } from './build-pods.ts';
import { type Located, objectName, type Report } from './located.ts';

type Labels = Readonly<Record<string, string>>;
type Policy = Located<'AuthorizationPolicy' | 'PeerAuthentication'>;

/** Whom one policy with a selector chooses. */
interface Reach {
  readonly object: Policy;
  readonly selector: Labels | null;
  chosen: number;
  /** Uids of those at which nobody enforces it. */
  readonly open: Set<string>;
}

interface Count {
  pods: number;
  tunnelled: number;
}

export interface PolicyReachOptions {
  readonly config: MeshConfig;
  readonly findings: FindingStore;
  readonly podsByLabel: LabelIndex<PodEntry>;
  readonly selectors: Pick<SelectorIndex, 'choosing'>;
}

export class PolicyReach {
  readonly #options: PolicyReachOptions;
  readonly #policies = new Map<string, Reach>();
  /** Policies without a selector, by namespace. */
  readonly #wide = new Map<string, Set<string>>();
  readonly #counts = new Map<string, Count>();
  readonly #all: Count = { pods: 0, tunnelled: 0 };
  readonly #dirty = new Set<string>();

  constructor(options: PolicyReachOptions) {
    this.#options = options;
  }

  podsChanged(changes: readonly PodChange[]): void {
    for (const { before, after } of changes) {
      if (before !== null && after !== null && isAlike(before, after)) continue;
      if (before !== null && isCounted(before)) this.#count(before, -1);
      if (after !== null && isCounted(after)) this.#count(after, 1);
    }
  }

  /** A policy, and the selector by which it chooses pods: in every namespace if it is of the root namespace. */
  set(id: string, object: Policy, selector: Labels | null): void {
    const { config, podsByLabel } = this.#options;
    const reach: Reach = { object, selector, chosen: 0, open: new Set() };
    this.#policies.set(id, reach);
    this.#dirty.add(id);
    if (selector === null) {
      const ids = this.#wide.get(object.namespace);
      if (ids === undefined) this.#wide.set(object.namespace, new Set([id]));
      else ids.add(id);
      return;
    }
    const everywhere = object.namespace === config.rootNamespace;
    for (const namespace of everywhere ? podsByLabel.namespaces() : [object.namespace]) {
      for (const pod of podsByLabel.select(namespace, selector).filter(isCounted)) {
        reach.chosen += 1;
        if (!pod.tunnelled) reach.open.add(pod.uid);
      }
    }
  }

  delete(id: string): void {
    const reach = this.#policies.get(id);
    if (reach === undefined) return;
    this.#policies.delete(id);
    this.#dirty.delete(id);
    this.#options.findings.put('reach', objectName(reach.object), []);
    const ids = this.#wide.get(reach.object.namespace);
    if (ids?.delete(id) === true && ids.size === 0) this.#wide.delete(reach.object.namespace);
  }

  /** Says what is to be said of policies whose reach is another now. */
  report(): void {
    for (const id of this.#dirty) {
      const reach = this.#policies.get(id);
      if (reach === undefined) continue;
      this.#options.findings.about('reach', reach.object, report => {
        if (reach.selector === null) this.#reportWide(reach.object, report);
        else this.#reportSelecting(reach, report);
      });
    }
    this.#dirty.clear();
  }

  #reportSelecting({ object, chosen, open }: Reach, report: Report): void {
    if (chosen === 0) {
      const message = 'is in force nowhere: its selector chooses no pod';
      report(object, 'warning', 'policy-without-workloads', 'spec.selector', message);
    } else if (open.size > 0) {
      let first: string | null = null;
      for (const uid of open) if (first === null || uid < first) first = uid;
      const name = (first ?? '').replace(/^.*\/\/Pod\//, '');
      // Without their number, which changes with every pod: conditions of a status are written from this.
      const who = open.size === 1 ? `pod ${name} is` : `pods such as ${name} are`;
      const message = `is not enforced everywhere: ${who} not in the mesh`;
      report(object, 'warning', 'policy-not-enforced', 'spec.selector', message);
    }
  }

  /** Some pods of a namespace may well be out of the mesh; it is worth a word when all of them are. */
  #reportWide(object: Policy, report: Report): void {
    const isRoot = object.namespace === this.#options.config.rootNamespace;
    const { pods, tunnelled } = (isRoot ? this.#all : this.#counts.get(object.namespace)) ?? nobody;
    if (pods === 0) {
      if (isRoot) return;
      const message = `is in force nowhere: there is no pod in namespace ${object.namespace}`;
      report(object, 'warning', 'policy-without-workloads', '', message);
    } else if (tunnelled === 0) {
      const message = 'is enforced nowhere: none of the pods it is about is in the mesh';
      report(object, 'warning', 'policy-not-enforced', '', message);
    }
  }

  #count(pod: PodEntry, by: 1 | -1): void {
    const { namespace, uid, tunnelled } = pod;
    let count = this.#counts.get(namespace);
    if (count === undefined) this.#counts.set(namespace, (count = { pods: 0, tunnelled: 0 }));
    for (const each of [count, this.#all]) {
      each.pods += by;
      if (tunnelled) each.tunnelled += by;
    }
    if (count.pods === 0) this.#counts.delete(namespace);
    for (const space of [namespace, this.#options.config.rootNamespace])
      for (const id of this.#wide.get(space) ?? []) this.#dirty.add(id);
    for (const id of this.#options.selectors.choosing(pod)) {
      const reach = this.#policies.get(id);
      if (reach === undefined) continue;
      reach.chosen += by;
      if (by < 0) reach.open.delete(uid);
      else if (!tunnelled) reach.open.add(uid);
      this.#dirty.add(id);
    }
  }
}

const nobody: Count = { pods: 0, tunnelled: 0 };

/** Whether policies are about a pod: it has addresses of its own. */
function isCounted({ addresses, hostNetwork }: PodEntry): boolean {
  return !hostNetwork && addresses.length > 0;
}

function isAlike(a: PodEntry, b: PodEntry): boolean {
  return (
    a.tunnelled === b.tunnelled && isCounted(a) === isCounted(b) && isDeepStrictEqual(a.labels, b.labels)
  );
}
