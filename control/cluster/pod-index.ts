/**
 * The pods of a cluster by uid and by node: who a certificate may be for, and whose annotation may be written. Knows of a
 * change the moment it is seen, not when it has been built.
 */
import { serviceAccountOf } from '../build-workloads.ts';
import type { Located, LocatedObject } from '../located.ts';

export type PodObject = Located<'Pod'>;

export class PodIndex {
  readonly #byUid = new Map<string, PodObject>();
  readonly #byNode = new Map<string, Map<string, PodObject>>();

  get size(): number {
    return this.#byUid.size;
  }

  /** Takes a change of any object; those that are no pods are passed over. */
  apply(before: LocatedObject | null, after: LocatedObject | null): void {
    if (before?.kind === 'Pod') this.#remove(before);
    if (after?.kind === 'Pod') this.#add(after);
  }

  /** The pod of a uid, null when there is none (any more). */
  pod(uid: string): PodObject | null {
    return this.#byUid.get(uid) ?? null;
  }

  /** Pods that are bound to a node, ended ones too. */
  on(node: string): Iterable<PodObject> {
    return this.#byNode.get(node)?.values() ?? [];
  }

  /** Whether a pod that has not ended runs as this service account on this node, with a network of its own. */
  runs(node: string, namespace: string, serviceAccount: string): boolean {
    for (const pod of this.on(node)) {
      if (pod.namespace !== namespace || serviceAccountOf(pod.value) !== serviceAccount) continue;
      if (!hasEnded(pod) && !pod.value.spec.hostNetwork) return true;
    }
    return false;
  }

  #add(pod: PodObject): void {
    const { uid } = pod.value.metadata;
    const { nodeName } = pod.value.spec;
    if (uid === undefined) return;
    this.#byUid.set(uid, pod);
    if (nodeName === undefined) return;
    let onNode = this.#byNode.get(nodeName);
    if (onNode === undefined) this.#byNode.set(nodeName, (onNode = new Map()));
    onNode.set(uid, pod);
  }

  #remove(pod: PodObject): void {
    const { uid } = pod.value.metadata;
    const { nodeName } = pod.value.spec;
    if (uid === undefined) return;
    this.#byUid.delete(uid);
    if (nodeName === undefined) return;
    const onNode = this.#byNode.get(nodeName);
    onNode?.delete(uid);
    if (onNode?.size === 0) this.#byNode.delete(nodeName);
  }
}

/** Whether nothing of a pod runs any more, nor ever will. */
export function hasEnded({ value }: PodObject): boolean {
  return value.status.phase === 'Succeeded' || value.status.phase === 'Failed';
}
