/**
 * L7 authorization at a waypoint: the vocabulary, and the decision about a request or connection with its reason.
 *
 * Stands between the head of a request and its route. CUSTOM is asked for first, by the waypoint; then DENY, then ALLOW; AUDIT
 * changes nothing. Once an ALLOW policy is about the destination, what none allows is denied. What can not be judged is
 * settled to the side of refusing (policy-condition.ts).
 */
import type { Authorizer } from './authorizer.ts';
import { compileHttpRule, type CompiledHttpRule } from './http-policy-rule.ts';
import { policyFacts, type PolicyFacts, type PolicyRequest } from './http-policy-facts.ts';

export type HttpPolicyAction = 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';

/** An AuthorizationPolicy with targetRefs, as a waypoint gets it. */
export interface HttpPolicy {
  readonly name: string;
  readonly namespace: string;
  readonly action: HttpPolicyAction;
  readonly targets: readonly PolicyTarget[];
  /** Who is asked, of a CUSTOM policy; empty otherwise. */
  readonly provider: string;
  /** Null where nobody is known by that name: nothing is allowed then. */
  readonly authorizer: Authorizer | null;
  /** Any may match; a policy without rules never matches. In the order of the YAML, none left out. */
  readonly rules: readonly HttpPolicyRule[];
  /** Judged, and never enforced. */
  readonly dryRun: boolean;
}

/** What a policy is attached to. The two classes of waypoints are one. */
export type PolicyTarget =
  | { readonly kind: 'Service'; readonly key: string }
  | { readonly kind: 'Gateway'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'GatewayClass' };

/** All clauses must hold; a rule without any matches everything. */
export interface HttpPolicyRule {
  readonly clauses: readonly HttpPolicyClause[];
}

/** Any of the alternatives, of each all conditions. */
export type HttpPolicyClause = readonly (readonly PolicyCondition[])[];

/** One of the values, or with `negated` none of them. */
export interface PolicyCondition {
  /** As in `when.key`: `source.principal`, `request.headers[x]`; and `request.host`, `request.method`, `request.path`. */
  readonly attribute: string;
  readonly negated: boolean;
  /** As they are written: `x*`, `*x`, `*`, prefixes of addresses, templates of paths. */
  readonly values: readonly string[];
}

export interface HttpDecision {
  readonly allowed: boolean;
  /** `namespace/name` of the policy that decided, null when none did. */
  readonly policy: string | null;
  /** Index of the rule in that policy. */
  readonly rule: number | null;
  readonly reason: string;
}

/** A rule that matched, of a policy that does not decide by itself. */
export interface RuleMatch {
  readonly policy: string;
  readonly rule: number;
  readonly provider: string;
  readonly authorizer: Authorizer | null;
}

/** What became of one rule, for people. */
export interface PolicyStep {
  /** `DENY policy shop/admin rule 0` */
  readonly rule: string;
  readonly hit: boolean;
  readonly reason: string;
}

/** The key of a policy within its list. */
export function httpPolicyKey({ namespace, name }: HttpPolicy): string {
  return `${namespace}/${name}`;
}

interface Entry {
  readonly policy: HttpPolicy;
  readonly rule: number;
  readonly compiled: CompiledHttpRule;
}

const actions: readonly string[] = ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'];

/** The policies that are about one destination, ready to be asked. */
export class HttpPolicySet {
  readonly #enforced: RulesByAction;
  readonly #withDryRun: RulesByAction | null;

  constructor(policies: readonly HttpPolicy[]) {
    this.#enforced = new RulesByAction(policies.filter(({ dryRun }) => !dryRun));
    this.#withDryRun = policies.some(({ dryRun }) => dryRun) ? new RulesByAction(policies) : null;
  }

  /** Whether every request passes without a look at it. */
  get isEmpty(): boolean {
    return this.#enforced.isEmpty && this.#withDryRun === null;
  }

  /** The CUSTOM policies that match: each of their providers must allow the request. */
  customs(request: PolicyRequest): readonly RuleMatch[] {
    const facts = policyFacts(request);
    return typeof facts === 'string' ? [] : this.#enforced.all('CUSTOM', facts);
  }

  audits(request: PolicyRequest): readonly RuleMatch[] {
    const facts = policyFacts(request);
    return typeof facts === 'string' ? [] : this.#enforced.all('AUDIT', facts);
  }

  /** DENY and ALLOW. */
  decide(request: PolicyRequest): HttpDecision {
    return this.#enforced.decide(request);
  }

  /** What `decide` would say if the dry-run policies were enforced too; null when there are none. */
  decideDryRun(request: PolicyRequest): HttpDecision | null {
    return this.#withDryRun?.decide(request) ?? null;
  }

  /** Every rule up to the one that decides, and why it does or does not match. */
  explain(request: PolicyRequest): readonly PolicyStep[] {
    const facts = policyFacts(request);
    return typeof facts === 'string' ? [] : this.#enforced.explain(facts);
  }
}

class RulesByAction {
  readonly #rules = new Map<string, readonly Entry[]>();
  readonly #counts = new Map<string, number>();
  /** One of an action that nobody here knows, which may well be to deny. */
  readonly #unknown: HttpPolicy | null;

  constructor(policies: readonly HttpPolicy[]) {
    this.#unknown = policies.find(({ action }) => !actions.includes(action)) ?? null;
    for (const action of actions) {
      const of = policies.filter(policy => policy.action === action);
      this.#counts.set(action, of.length);
      this.#rules.set(
        action,
        of.flatMap(policy =>
          policy.rules.map((rule, at) => ({ policy, rule: at, compiled: compileHttpRule(rule) })),
        ),
      );
    }
  }

  get isEmpty(): boolean {
    return this.#unknown === null && [...this.#counts.values()].every(count => count === 0);
  }

  all(action: HttpPolicyAction, facts: PolicyFacts): RuleMatch[] {
    const found = new Map<string, RuleMatch>();
    for (const { policy, rule, compiled } of this.#of(action)) {
      const key = httpPolicyKey(policy);
      if (!found.has(key) && compiled.holds(facts) !== false)
        found.set(key, { policy: key, rule, provider: policy.provider, authorizer: policy.authorizer });
    }
    return [...found.values()];
  }

  decide(request: PolicyRequest): HttpDecision {
    const facts = policyFacts(request);
    if (typeof facts === 'string') return { allowed: false, policy: null, rule: null, reason: facts };
    if (this.#unknown !== null) {
      const policy = httpPolicyKey(this.#unknown);
      return { allowed: false, policy, rule: null, reason: `${policy} has an action that is not known` };
    }
    const denied = this.#of('DENY').find(({ compiled }) => compiled.holds(facts) !== false);
    if (denied !== undefined) return decisionOf(denied, false);
    const allowed = this.#of('ALLOW').find(({ compiled }) => compiled.holds(facts) === true);
    return allowed === undefined ? this.#otherwise() : decisionOf(allowed, true);
  }

  explain(facts: PolicyFacts): PolicyStep[] {
    const steps: PolicyStep[] = [];
    for (const action of ['CUSTOM', 'DENY', 'ALLOW'] as const) {
      for (const { policy, rule, compiled } of this.#of(action)) {
        const holds = compiled.holds(facts);
        const hit = holds === true || (holds === null && action !== 'ALLOW');
        const reason =
          compiled.obstacle(facts, action !== 'ALLOW') ??
          (holds === null ? 'matches what can not be judged' : 'matches');
        steps.push({ rule: `${action} policy ${httpPolicyKey(policy)} rule ${rule}`, hit, reason });
        if (hit && action !== 'CUSTOM') return steps;
      }
    }
    return steps;
  }

  #of(action: HttpPolicyAction): readonly Entry[] {
    return this.#rules.get(action) ?? [];
  }

  #otherwise(): HttpDecision {
    const [denies = 0, allows = 0] = [this.#counts.get('DENY'), this.#counts.get('ALLOW')];
    const reason =
      allows > 0
        ? `no allow policy matches (${allows} considered)`
        : denies > 0
          ? `no deny policy matches (${denies} considered) and no allow policy is about this destination`
          : 'no policy is about this destination';
    return { allowed: allows === 0, policy: null, rule: null, reason };
  }
}

function decisionOf({ policy, rule }: Entry, allowed: boolean): HttpDecision {
  const key = httpPolicyKey(policy);
  const reason = `${allowed ? 'allowed' : 'explicitly denied'} by ${key} rule ${rule}`;
  return { allowed, policy: key, rule, reason };
}
