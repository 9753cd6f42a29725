/**
 * Translates an AuthorizationPolicy with targetRefs into what a waypoint enforces, and says what it can not.
 *
 * What is left out of a rule (values that do not parse, keys that only another proxy knows) stays in it as a condition that
 * is never known, so that the rule is settled to the side of refusing: ALLOW does not match, all else does.
 */
import type { Authorizer } from './authorizer.ts';
import type { Report, TranslationFinding } from './authorization-policy.ts';
import { isDryRun, type AuthorizationPolicySpec } from './authorization-policy.ts';
import type { AuthorizationRuleSpec, ConditionSpec, SourceSpec } from './authorization-rule.ts';
import type { HttpPolicy, HttpPolicyAction, HttpPolicyClause, HttpPolicyRule } from './http-policy.ts';
import type { PolicyCondition, PolicyTarget } from './http-policy.ts';
import {
  httpConditionAttribute,
  httpOperationFields,
  httpSourceFields,
  isBeyondWaypoints,
  needsToken,
  type HttpAttribute,
} from './http-policy-attributes.ts';

export interface HttpPolicyInput {
  readonly name: string;
  readonly namespace: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: AuthorizationPolicySpec;
  readonly targets: readonly PolicyTarget[];
  /** Who is known by the name of its provider. */
  readonly authorizer?: Authorizer | null;
}

export interface HttpPolicyTranslation {
  readonly policy: HttpPolicy;
  readonly findings: readonly TranslationFinding[];
}

export function translateHttpPolicy(input: HttpPolicyInput): HttpPolicyTranslation {
  const { name, namespace, annotations, spec, targets, authorizer = null } = input;
  const findings: TranslationFinding[] = [];
  const report: Report = (severity, code, field, message) =>
    findings.push({ severity, code, field, message });
  const action = (spec.action ?? 'ALLOW') as HttpPolicyAction;
  const rules = spec.rules ?? [];
  if (action !== 'ALLOW' && rules.length === 0)
    report(
      'error',
      'never-matches',
      'spec.rules',
      `a policy of action ${action} without rules never matches`,
    );
  const policy: HttpPolicy = {
    name,
    namespace,
    action,
    targets,
    provider: spec.provider?.name ?? '',
    authorizer,
    rules: rules.map((rule, at) =>
      new Translation(action, namespace, `spec.rules[${at}]`, report).translate(rule),
    ),
    dryRun: isDryRun(annotations, report),
  };
  return { policy, findings };
}

/** Never known, so it is settled to the side of refusing. */
const unknown: PolicyCondition = { attribute: 'unknown', negated: false, values: [] };

class Translation {
  readonly #action: HttpPolicyAction;
  readonly #namespace: string;
  readonly #path: string;
  readonly #report: Report;

  constructor(action: HttpPolicyAction, namespace: string, path: string, report: Report) {
    this.#action = action;
    this.#namespace = namespace;
    this.#path = path;
    this.#report = report;
  }

  translate({ from, to, when = [] }: AuthorizationRuleSpec): HttpPolicyRule {
    const clauses: HttpPolicyClause[] = [
      ...this.#clause('from', from, ({ source = {} }) => [source, 'source', httpSourceFields]),
      ...this.#clause('to', to, ({ operation = {} }) => [operation, 'operation', httpOperationFields]),
      ...when.map((condition, at): HttpPolicyClause => [this.#when(condition, `${this.#path}.when[${at}]`)]),
    ];
    return { clauses };
  }

  /** None if the clause is absent. An empty list is not absent: it names nothing at all, which is an error. */
  #clause<T>(
    clause: string,
    entries: readonly T[] | undefined,
    open: (entry: T) => readonly [object, string, ReadonlyMap<string, HttpAttribute>],
  ): readonly HttpPolicyClause[] {
    if (entries === undefined) return [];
    if (entries.length === 0) return [[this.#empty(`${this.#path}.${clause}`)]];
    const alternatives = entries.map((entry, at) => {
      const [spec, name, attributes] = open(entry);
      const path = `${this.#path}.${clause}[${at}].${name}`;
      if (name === 'source') this.#checkRemote(spec, path);
      const lists = Object.entries(spec as Readonly<Record<string, readonly string[] | undefined>>);
      const conditions = lists.flatMap(([field, values = []]) => {
        const negated = /^not[A-Z]/.test(field);
        const base = negated ? field.charAt(3).toLowerCase() + field.slice(4) : field;
        return this.#condition(attributes.get(base) ?? null, negated, values, `${path}.${field}`);
      });
      return conditions.length === 0 ? this.#empty(path) : conditions;
    });
    return [alternatives];
  }

  #when({ key, values = [], notValues = [] }: ConditionSpec, path: string): PolicyCondition[] {
    const attribute = httpConditionAttribute(key);
    if (attribute === null) {
      this.#invalid(`${path}.key`, `"${key}" is not an attribute a condition can have`);
      return [unknown];
    }
    const conditions = [
      ...this.#condition(attribute, false, values, `${path}.values`, `${path}.key`),
      ...this.#condition(attribute, true, notValues, `${path}.notValues`, `${path}.key`),
    ];
    return conditions.length === 0 ? this.#empty(path) : conditions;
  }

  /** None for an empty list beside others: it constrains nothing, like one that is absent. */
  #condition(
    attribute: HttpAttribute | null,
    negated: boolean,
    values: readonly string[],
    field: string,
    key = field,
  ): PolicyCondition[] {
    if (values.length === 0) return [];
    if (attribute === null || isBeyondWaypoints(attribute.name)) {
      this.#report('error', 'unsupported-value', key, `no waypoint knows this: ${this.#consequence()}`);
      return [unknown];
    }
    if (this.#action === 'CUSTOM' && needsToken(attribute.name)) {
      const why = 'CUSTOM policies are asked before tokens are read';
      this.#report('error', 'unsupported-value', key, `${why}: ${this.#consequence()}`);
      return [unknown];
    }
    const good = values.filter((value, at) => {
      const problem = attribute.problem(value, this.#namespace);
      if (problem !== null) this.#invalid(`${field}[${at}]`, problem);
      return problem === null;
    });
    const compared = good.map(value => attribute.value(value, this.#namespace));
    const condition = { attribute: attribute.name, negated, values: compared };
    if (good.length === values.length) return [condition];
    // What one of the values would have said is not known; of a list of exceptions the rest still holds.
    return negated && good.length > 0 ? [condition, unknown] : [unknown];
  }

  /** The address behind the client is what the client says. */
  #checkRemote(
    { remoteIpBlocks = [], principals = [], serviceAccounts = [] }: SourceSpec,
    path: string,
  ): void {
    const isBelieved = principals.length + serviceAccounts.length > 0;
    if (this.#action !== 'ALLOW' || remoteIpBlocks.length === 0 || isBelieved) return;
    const message =
      'whoever may connect can claim any address here: name the gateway that is believed, in principals';
    this.#report('warning', 'forgeable-address', `${path}.remoteIpBlocks`, message);
  }

  #empty(path: string): PolicyCondition[] {
    this.#report('error', 'empty-match', path, `nothing is given here: ${this.#consequence()}`);
    return [unknown];
  }

  #invalid(path: string, problem: string): void {
    this.#report('error', 'invalid-value', path, `${problem}: ${this.#consequence()}`);
  }

  #consequence(): string {
    return this.#action === 'ALLOW' ? 'the rule never matches' : 'the rule matches as if it were not there';
  }
}
