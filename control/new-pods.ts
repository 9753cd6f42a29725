/**
 * Pods of the mesh that have just become ready, or that this control plane has only just heard of, and for which no agent
 * has spoken yet.
 *
 * Such a pod is redirected before anything in it runs, but the word of its agent takes a moment to become an annotation,
 * and longer while no control plane was there. Until then it is taken for redirected: who comes too early is refused, and
 * never answered in the clear. A running pod that gets its label now is not new: it is reached as before until its agent
 * has it. Nor is one on a node without an agent. Stands between the objects of a cluster and the builder, which has no
 * clock.
 */
import { redirection } from '../model/kinds/marks.ts';
import { modeOf, wasReady } from './build-enrolment.ts';
import type { Located } from './located.ts';

export interface NewPodsOptions {
  readonly namespace: (name: string) => Located<'Namespace'> | null;
  /** Whether there is an agent on that node. */
  readonly hasAgent: (node: string) => boolean;
  /** How long a pod is new, ms. */
  readonly graceMs: number;
  /** Pods that were marked are new no more: to be built as they are. */
  readonly onSettled: (uids: readonly string[]) => void;
}

/** `starting`: wanted, and never ready so far. `new`: ready, and waited for. `settled`: as its annotation says. */
type Phase = 'starting' | 'new' | 'settled';

export class NewPods {
  readonly #options: NewPodsOptions;
  /** By pod UID. */
  readonly #phases = new Map<string, Phase>();
  readonly #new = new Set<string>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: NewPodsOptions) {
    this.#options = options;
  }

  /** Takes notice of a pod, and returns what the builder is to see of it. */
  mark(pod: Located<'Pod'>): Located<'Pod'> {
    const { uid, annotations } = pod.value.metadata;
    if (uid === undefined) return pod;
    const phase = this.#phaseOf(pod, this.#phases.get(uid));
    this.#phases.set(uid, phase);
    if (phase !== 'new') {
      this.#new.delete(uid);
      return pod;
    }
    this.#new.add(uid);
    // Those that come later than the first have less of it: it is long enough for all of them.
    this.#timer ??= setTimeout(() => this.#settle(), this.#options.graceMs).unref();
    const metadata = { ...pod.value.metadata, annotations: { ...annotations, [redirection[0]]: 'enabled' } };
    return { ...pod, value: { ...pod.value, metadata } };
  }

  forget(uid: string): void {
    this.#phases.delete(uid);
    this.#new.delete(uid);
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #phaseOf(pod: Located<'Pod'>, before: Phase | undefined): Phase {
    const { annotations } = pod.value.metadata;
    if (before === 'settled' || redirection.some(name => Object.hasOwn(annotations, name))) return 'settled';
    if (!this.#isWanted(pod)) return 'settled';
    if (!wasReady(pod)) return 'starting';
    return this.#options.hasAgent(pod.value.spec.nodeName ?? '') ? 'new' : 'settled';
  }

  #isWanted(pod: Located<'Pod'>): boolean {
    const own = modeOf(pod, () => {});
    if (own !== null) return own === 'ambient';
    const namespace = this.#options.namespace(pod.namespace);
    return namespace !== null && modeOf(namespace, () => {}) === 'ambient';
  }

  #settle(): void {
    this.#timer = null;
    const settled = [...this.#new];
    this.#new.clear();
    for (const uid of settled) this.#phases.set(uid, 'settled');
    if (settled.length > 0) this.#options.onSettled(settled);
  }
}
