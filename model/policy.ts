/**
 * L4 authorization: the vocabulary (the shape of `istio.security.Authorization`) and the decision.
 *
 * Stands between a connection's peer identity and its application, at accept and again for live connections whenever a
 * policy or the workload changes. DENY before ALLOW; once an ALLOW policy selects the workload, what none allows is
 * denied. The decision always says why.
 */
import type { Cidr } from './address.ts';
import { factsOf } from './policy-facts.ts';
import type { Facts } from './policy-facts.ts';
import { compileRule, ruleMatches } from './policy-match.ts';
import type { CompiledRule } from './policy-match.ts';

export interface Authorization {
  readonly name: string;
  readonly namespace: string;
  readonly scope: 'GLOBAL' | 'NAMESPACE' | 'WORKLOAD_SELECTOR';
  readonly action: 'ALLOW' | 'DENY';
  /** Any may match; a policy without rules never matches. */
  readonly rules: readonly Rule[];
  /** Judged by `decideDryRun` only. */
  readonly dryRun: boolean;
}

/** All clauses must match; a rule without clauses matches everything. */
export interface Rule {
  readonly clauses: readonly Clause[];
}

/** Any of the matches; a clause without matches matches everything. */
export interface Clause {
  readonly matches: readonly Match[];
}

/** All fields that are not empty must hold: any of the values, or none of a `not` field. All empty never matches. */
export interface Match {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  /** `<trust domain>/ns/<namespace>/sa/<service account>`. */
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly sourceIps: readonly Cidr[];
  readonly notSourceIps: readonly Cidr[];
  readonly destinationIps: readonly Cidr[];
  readonly notDestinationIps: readonly Cidr[];
  /** Ports of the application, not of a Service. */
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
}

/** Presence is any identity at all. */
export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  | { readonly kind: 'presence' };

/** Ignores the trust domain. */
export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

export interface PolicyConnection {
  /** SPIFFE URI of the peer's certificate, null for plaintext. */
  readonly sourceIdentity: string | null;
  /** The TCP peer, without a zone. */
  readonly sourceIp: string;
  /** Where the application is dialled. */
  readonly destinationIp: string;
  readonly destinationPort: number;
}

export interface Decision {
  readonly allowed: boolean;
  /** `namespace/name` of the policy that decided, null when none did. */
  readonly policy: string | null;
  /** Index of the rule in that policy. */
  readonly rule: number | null;
  readonly reason: string;
}

/** The name a policy has in deltas, in xDS and in `Workload.authorizationPolicies`: `namespace/name`. */
export function policyKey(policy: Authorization): string {
  return `${policy.namespace}/${policy.name}`;
}

/**
 * Decides about one connection under the policies that select its destination (`Mesh.policiesFor`). The array is
 * compiled on first use and remembered by identity, so it must not be changed afterwards; a changed set is a new array.
 */
export function decide(policies: readonly Authorization[], connection: PolicyConnection): Decision {
  return judge(compiledSet(enforcedSets, policies, false), connection);
}

/** What `decide` would say if the dry-run policies were enforced too; null when there are none. */
export function decideDryRun(
  policies: readonly Authorization[],
  connection: PolicyConnection,
): Decision | null {
  if (!policies.some(policy => policy.dryRun)) return null;
  return judge(compiledSet(dryRunSets, policies, true), connection);
}

interface CompiledSet {
  readonly denies: RuleIndex;
  readonly allows: RuleIndex;
  /** What holds when no rule matches. */
  readonly otherwise: Decision;
}

const enforcedSets = new WeakMap<readonly Authorization[], CompiledSet>();
const dryRunSets = new WeakMap<readonly Authorization[], CompiledSet>();

function judge(set: CompiledSet, connection: PolicyConnection): Decision {
  const facts = factsOf(connection);
  if (typeof facts === 'string') return { allowed: false, policy: null, rule: null, reason: facts };
  return (set.denies.find(facts) ?? set.allows.find(facts))?.decision ?? set.otherwise;
}

function compiledSet(
  cache: WeakMap<readonly Authorization[], CompiledSet>,
  policies: readonly Authorization[],
  withDryRun: boolean,
): CompiledSet {
  const known = cache.get(policies);
  if (known !== undefined) return known;
  const active = policies.filter(policy => withDryRun || !policy.dryRun);
  const denies = active.filter(policy => policy.action === 'DENY');
  const allows = active.filter(policy => policy.action === 'ALLOW');
  const set = {
    denies: new RuleIndex(denies),
    allows: new RuleIndex(allows),
    otherwise: Object.freeze({
      allowed: allows.length === 0,
      policy: null,
      rule: null,
      reason:
        allows.length > 0
          ? `no allow policy matches (${allows.length} considered)`
          : denies.length > 0
            ? `no deny policy matches (${denies.length} considered) and no allow policy selects this workload`
            : 'no policy selects this workload',
    }),
  };
  cache.set(policies, set);
  return set;
}

/** A live rule with the decision it stands for, made in advance: deciding allocates nothing for it. */
interface Entry {
  readonly order: number;
  readonly compiled: CompiledRule;
  readonly decision: Decision;
}

type Candidates<K> = Map<K, Entry[]>;

/**
 * The rules of one action, found by what they pin: of thousands of policies in a namespace a connection only meets the
 * rules that name its account, address, namespace or port, and those that name none of them exactly.
 */
class RuleIndex {
  readonly #byAccount: Candidates<string> = new Map();
  readonly #bySourceIp: Candidates<string> = new Map();
  readonly #byNamespace: Candidates<string> = new Map();
  readonly #byPort: Candidates<number> = new Map();
  readonly #rest: Entry[] = [];

  constructor(policies: readonly Authorization[]) {
    let order = 0;
    for (const policy of policies) {
      for (const { compiled, decision } of compiledPolicy(policy))
        this.#add({ order: order++, compiled, decision });
    }
  }

  /** The first rule, in the order of the policies, that matches. */
  find(facts: Facts): Entry | null {
    let found = firstMatch(this.#rest, facts, null);
    found = firstMatch(this.#byPort.get(facts.destinationPort), facts, found);
    found = firstMatch(this.#bySourceIp.get(facts.sourceIp), facts, found);
    if (facts.account === null || facts.namespace === null) return found;
    found = firstMatch(this.#byNamespace.get(facts.namespace), facts, found);
    return firstMatch(this.#byAccount.get(facts.account), facts, found);
  }

  #add(entry: Entry): void {
    const { guard } = entry.compiled;
    if (guard === null) {
      this.#rest.push(entry);
      return;
    }
    for (const value of new Set(guard.values)) {
      if (typeof value === 'number') file(this.#byPort, value, entry);
      else if (guard.kind === 'account') file(this.#byAccount, value, entry);
      else if (guard.kind === 'sourceIp') file(this.#bySourceIp, value, entry);
      else file(this.#byNamespace, value, entry);
    }
  }
}

function file<K>(candidates: Candidates<K>, key: K, entry: Entry): void {
  const list = candidates.get(key);
  if (list === undefined) candidates.set(key, [entry]);
  else list.push(entry);
}

/** Candidates are in order, so the search ends at the first match or where `best` comes earlier. */
function firstMatch(
  candidates: readonly Entry[] | undefined,
  facts: Facts,
  best: Entry | null,
): Entry | null {
  if (candidates === undefined) return best;
  for (const entry of candidates) {
    if (best !== null && entry.order > best.order) return best;
    if (ruleMatches(entry.compiled, facts)) return entry;
  }
  return best;
}

type CompiledPolicy = readonly { readonly compiled: CompiledRule; readonly decision: Decision }[];

const compiledPolicies = new WeakMap<Authorization, CompiledPolicy>();

/** The rules of a policy that can match at all; remembered, since one policy is in the sets of many workloads. */
function compiledPolicy(policy: Authorization): CompiledPolicy {
  const known = compiledPolicies.get(policy);
  if (known !== undefined) return known;
  const key = policyKey(policy);
  const allowed = policy.action === 'ALLOW';
  const rules = policy.rules.flatMap(({ clauses }, rule) => {
    const compiled = compileRule(policy.action, clauses);
    const reason = `${allowed ? 'allowed' : 'explicitly denied'} by ${key} rule ${rule}`;
    return compiled === null
      ? []
      : [{ compiled, decision: Object.freeze({ allowed, policy: key, rule, reason }) }];
  });
  compiledPolicies.set(policy, rules);
  return rules;
}
