/**
 * Which policies select which workload, kept so that the answer for a workload stays one array until it really changes.
 *
 * `decide` finds what it compiled by the identity of that array. Workloads of a namespace that name the same policies
 * share it, and an edited policy only costs those it selects a new compilation.
 */
import { policyKey } from './policy.ts';
import type { Authorization } from './policy.ts';
import type { Workload } from './workload.ts';

/** Far above the pairs of namespace and names that live together; it bounds what namespaces of the past leave behind. */
const maxLists = 8192;

interface CachedList {
  readonly namespace: string;
  readonly names: readonly string[];
  readonly policies: readonly Authorization[];
}

export class PolicyLists {
  readonly #byKey = new Map<string, Authorization>();
  readonly #global = new Set<string>();
  readonly #byNamespace = new Map<string, Set<string>>();
  readonly #cache = new Map<string, CachedList>();

  get(key: string): Authorization | null {
    return this.#byKey.get(key) ?? null;
  }

  get size(): number {
    return this.#byKey.size;
  }

  all(): Iterable<Authorization> {
    return this.#byKey.values();
  }

  set(policy: Authorization): void {
    const key = policyKey(policy);
    this.remove(key);
    this.#byKey.set(key, policy);
    if (policy.scope === 'GLOBAL') this.#global.add(key);
    if (policy.scope === 'NAMESPACE') {
      let namespace = this.#byNamespace.get(policy.namespace);
      if (namespace === undefined) this.#byNamespace.set(policy.namespace, (namespace = new Set()));
      namespace.add(key);
    }
    this.#forget(policy);
  }

  remove(key: string): void {
    const policy = this.#byKey.get(key);
    if (policy === undefined) return;
    this.#byKey.delete(key);
    this.#global.delete(key);
    const namespace = this.#byNamespace.get(policy.namespace);
    namespace?.delete(key);
    if (namespace?.size === 0) this.#byNamespace.delete(policy.namespace);
    this.#forget(policy);
  }

  /** Policies of the mesh, then of the workload's namespace, then those it names; each once, by name in every shard. */
  for(workload: Workload): readonly Authorization[] {
    const cacheKey = [workload.namespace, ...workload.authorizationPolicies].join('\n');
    const known = this.#cache.get(cacheKey);
    if (known !== undefined) return known.policies;
    const { namespace, authorizationPolicies: names } = workload;
    const keys = new Set([
      ...[...this.#global].sort(),
      ...[...(this.#byNamespace.get(namespace) ?? [])].sort(),
      ...[...names].sort(),
    ]);
    const policies = Object.freeze([...keys].flatMap(key => this.#byKey.get(key) ?? []));
    if (this.#cache.size >= maxLists) this.#cache.clear();
    this.#cache.set(cacheKey, { namespace, names, policies });
    return policies;
  }

  /** Drops the lists that hold, or held, a policy. */
  #forget(policy: Authorization): void {
    const key = policyKey(policy);
    for (const [cacheKey, list] of this.#cache) {
      const selected =
        policy.scope === 'GLOBAL' ||
        (policy.scope === 'NAMESPACE' && list.namespace === policy.namespace) ||
        list.names.includes(key);
      if (selected) this.#cache.delete(cacheKey);
    }
  }
}
