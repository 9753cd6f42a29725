/**
 * Translates an AuthorizationPolicy into what a node enforces, and says what it cannot.
 *
 * A rule the node cannot judge never becomes an allow. What is left out of a rule (fields that need a request, values
 * that do not parse) settles it to the side of refusing:
 * - ALLOW: the rule never matches, so what only it would have allowed is denied.
 * - DENY: what is left out counts as true, so the rule denies at least what was asked, down to everything if nothing is
 *   left. The alternative, a rule that does nothing, would leave open what somebody believes to be closed; a
 *   connection that is refused is noticed, and the finding says why.
 * `rules` keeps its order and length, so that a rule's index in a decision is its index in the YAML.
 */
import { RuleTranslation } from './authorization-rule.ts';
import type { AuthorizationRuleSpec } from './authorization-rule.ts';
import type { Authorization } from './policy.ts';

/**
 * error: something asked for is not in force, or the object should have been refused. The codes are
 * unsupported-value, l7-rule-ignored, l7-rule-widened, l7-rule-denies-all, invalid-value,
 * empty-match, never-matches.
 */
export interface TranslationFinding {
  readonly severity: 'error' | 'warning' | 'info';
  readonly code: string;
  /** Path inside the object, for example `spec.rules[0].from[1].source.ipBlocks[0]`. */
  readonly field: string;
  readonly message: string;
}

export type Report = (
  severity: TranslationFinding['severity'],
  code: string,
  field: string,
  message: string,
) => void;

/** The spec as in `security.istio.io/v1`, checked for structure before. */
export interface AuthorizationPolicySpec {
  readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> | undefined } | undefined;
  readonly targetRef?: object | undefined;
  readonly targetRefs?: readonly object[] | undefined;
  readonly action?: string | undefined;
  readonly provider?: { readonly name: string } | undefined;
  readonly rules?: readonly AuthorizationRuleSpec[] | undefined;
}

export interface AuthorizationPolicyInput {
  readonly name: string;
  readonly namespace: string;
  /** Policies of this namespace without a selector are for the whole mesh. */
  readonly rootNamespace: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: AuthorizationPolicySpec;
}

export interface AuthorizationPolicyTranslation {
  /** Null when the node does not enforce it (waypoint policies, CUSTOM, AUDIT). */
  readonly policy: Authorization | null;
  /** Labels a workload must carry; null for a policy of the whole namespace or mesh. */
  readonly selector: Readonly<Record<string, string>> | null;
  readonly findings: readonly TranslationFinding[];
}

/** Null policies aside, what comes back is in force as it is; every finding says what differs from what was written. */
export function translateAuthorizationPolicy(
  input: AuthorizationPolicyInput,
): AuthorizationPolicyTranslation {
  const { name, namespace, rootNamespace, annotations, spec } = input;
  const findings: TranslationFinding[] = [];
  const report: Report = (severity, code, field, message) =>
    findings.push({ severity, code, field, message });
  const labels = spec.selector?.matchLabels ?? {};
  const selector = Object.keys(labels).length === 0 ? null : labels;

  const atWaypoint = isForWaypoints(spec);
  // model/http-policy-translation.ts
  if (atWaypoint && selector === null) return { policy: null, selector, findings };
  if (atWaypoint) {
    report(
      'error',
      'invalid-value',
      'spec.selector',
      'selector and targetRefs exclude each other: the selector is used',
    );
  }
  const action = spec.action ?? 'ALLOW';
  if (action !== 'ALLOW' && action !== 'DENY') {
    const severity = action === 'AUDIT' ? 'warning' : 'error';
    report(
      severity,
      'unsupported-value',
      'spec.action',
      `a node cannot enforce the action ${action}, only a waypoint, by targetRefs: not applied`,
    );
    return { policy: null, selector, findings };
  }
  const rules = spec.rules ?? [];
  if (action === 'DENY' && rules.length === 0) {
    report('error', 'never-matches', 'spec.rules', 'a DENY policy without rules never denies anything');
  }
  const scope =
    selector !== null ? 'WORKLOAD_SELECTOR' : namespace === rootNamespace ? 'GLOBAL' : 'NAMESPACE';
  const policy: Authorization = {
    name,
    namespace,
    scope,
    action,
    rules: rules.map((rule, i) =>
      new RuleTranslation(action, namespace, `spec.rules[${i}]`, report).translate(rule),
    ),
    dryRun: isDryRun(annotations, report),
  };
  return { policy, selector, findings };
}

/** Whether a policy is attached to what waypoints serve, so that nodes do not enforce it. */
export function isForWaypoints({ targetRef, targetRefs = [] }: AuthorizationPolicySpec): boolean {
  return targetRef !== undefined || targetRefs.length > 0;
}

const dryRunAnnotations = ['istio.io/dry-run', 'culvert.dev/dry-run'];

/** Only a clear yes takes a policy out of force. */
export function isDryRun(annotations: Readonly<Record<string, string>>, report: Report): boolean {
  let dryRun = false;
  for (const annotation of dryRunAnnotations) {
    const value = annotations[annotation];
    if (value === 'true') dryRun = true;
    else if (value !== undefined && value !== 'false') {
      const field = `metadata.annotations["${annotation}"]`;
      report('error', 'invalid-value', field, `"${value}" is neither true nor false: the policy is enforced`);
    }
  }
  return dryRun;
}
