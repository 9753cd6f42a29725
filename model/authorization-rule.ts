/**
 * Translates one rule of an AuthorizationPolicy: fields to matches, and what a node cannot judge to the side of refusing
 * (see authorization-policy.ts for why).
 */
import { conditionAttributes, emptyMatch, isRequestKey } from './authorization-attributes.ts';
import { operationAttributes, sourceAttributes } from './authorization-attributes.ts';
import type { Attribute } from './authorization-attributes.ts';
import type { Report } from './authorization-policy.ts';
import type { Authorization, Clause, Match, Rule } from './policy.ts';

export interface AuthorizationRuleSpec {
  readonly from?: readonly { readonly source?: SourceSpec | undefined }[] | undefined;
  readonly to?: readonly { readonly operation?: OperationSpec | undefined }[] | undefined;
  readonly when?: readonly ConditionSpec[] | undefined;
}

type Strings = readonly string[] | undefined;

export interface SourceSpec {
  readonly principals?: Strings;
  readonly notPrincipals?: Strings;
  readonly requestPrincipals?: Strings;
  readonly notRequestPrincipals?: Strings;
  readonly namespaces?: Strings;
  readonly notNamespaces?: Strings;
  readonly serviceAccounts?: Strings;
  readonly notServiceAccounts?: Strings;
  readonly trustDomains?: Strings;
  readonly notTrustDomains?: Strings;
  readonly ipBlocks?: Strings;
  readonly notIpBlocks?: Strings;
  readonly remoteIpBlocks?: Strings;
  readonly notRemoteIpBlocks?: Strings;
}

export interface OperationSpec {
  readonly hosts?: Strings;
  readonly notHosts?: Strings;
  readonly ports?: Strings;
  readonly notPorts?: Strings;
  readonly methods?: Strings;
  readonly notMethods?: Strings;
  readonly paths?: Strings;
  readonly notPaths?: Strings;
}

export interface ConditionSpec {
  readonly key: string;
  readonly values?: Strings;
  readonly notValues?: Strings;
}

/** The alternatives of a clause cannot multiply beyond this; see `clausesOf`. */
const maxClauses = 64;
const neverMatches: Rule = { clauses: [{ matches: [emptyMatch()] }] };

interface FieldValues {
  readonly field: string;
  readonly negated: boolean;
  /** Null where only a waypoint can judge it. */
  readonly attribute: Attribute | null;
  readonly values: readonly string[];
}

/** What one source, operation or condition became: matches that must all hold, or nothing a node can judge. */
type Alternative = readonly Match[] | 'true';

/** One rule. */
export class RuleTranslation {
  readonly #deny: boolean;
  readonly #namespace: string;
  readonly #path: string;
  readonly #report: Report;
  readonly #l7: string[] = [];
  #broken = false;

  constructor(action: Authorization['action'], namespace: string, path: string, report: Report) {
    this.#deny = action === 'DENY';
    this.#namespace = namespace;
    this.#path = path;
    this.#report = report;
  }

  translate(rule: AuthorizationRuleSpec): Rule {
    const from = this.#alternatives('from', rule.from, entry => [
      entry.source ?? {},
      'source',
      sourceAttributes,
    ]);
    const to = this.#alternatives('to', rule.to, entry => [
      entry.operation ?? {},
      'operation',
      operationAttributes,
    ]);
    const when = (rule.when ?? []).map((condition, i) => [
      this.#condition(condition, `${this.#path}.when[${i}]`),
    ]);
    const clauses = [from, to, ...when].flatMap(alternatives => this.#clausesOf(alternatives));
    this.#reportL7(clauses);
    const unjudged = this.#broken || this.#l7.length > 0;
    return unjudged && !this.#deny ? neverMatches : { clauses };
  }

  /** None if the clause is absent. An empty list is not absent: it names nothing at all, which is an error. */
  #alternatives<T>(
    clause: string,
    entries: readonly T[] | undefined,
    open: (entry: T) => readonly [object, string, ReadonlyMap<string, Attribute>],
  ): readonly Alternative[] {
    if (entries === undefined) return [];
    if (entries.length === 0) return [this.#empty(`${this.#path}.${clause}`)];
    return entries.map((entry, i) => {
      const [spec, name, attributes] = open(entry);
      const path = `${this.#path}.${clause}[${i}].${name}`;
      const fields = Object.entries(spec as Readonly<Record<string, Strings>>).map(([field, values = []]) => {
        const negated = /^not[A-Z]/.test(field);
        const base = negated ? field.charAt(3).toLowerCase() + field.slice(4) : field;
        return { field, negated, attribute: attributes.get(base) ?? null, values };
      });
      if (name === 'source') this.#checkSource(spec, path);
      return this.#alternative(fields, path);
    });
  }

  #condition({ key, values = [], notValues = [] }: ConditionSpec, path: string): Alternative {
    const attribute = conditionAttributes.get(key) ?? null;
    if (attribute === null && !isRequestKey(key)) {
      this.#invalid(`${path}.key`, `"${key}" is not an attribute a condition can have`);
      return 'true';
    }
    const fields = [
      { field: 'values', negated: false, attribute, values },
      { field: 'notValues', negated: true, attribute, values: notValues },
    ];
    return this.#alternative(fields, path);
  }

  #alternative(all: readonly FieldValues[], path: string): Alternative {
    const fields = all.filter(({ values }) => values.length > 0);
    if (fields.length === 0) return this.#empty(path);
    const match = emptyMatch();
    // Principals and trust domains end in the same field of a match but must both hold, so they get one each.
    const trust = emptyMatch();
    for (const { field, negated, attribute, values } of fields) {
      if (attribute === null) {
        this.#l7.push(`${path}.${field}`);
        continue;
      }
      const good = values.filter((value, i) => {
        const problem = attribute.problem(value, this.#namespace);
        if (problem !== null) this.#invalid(`${path}.${field}[${i}]`, problem);
        return problem === null;
      });
      // One lost alternative of a DENY would deny less; without the whole field it denies more.
      if (!negated && good.length < values.length) continue;
      const draft = field === 'trustDomains' ? trust : match;
      for (const value of good) attribute.add(draft, negated, value, this.#namespace);
    }
    const matches = [match, trust].filter(m => Object.values(m).some(list => list.length > 0));
    return matches.length === 0 ? 'true' : matches;
  }

  /**
   * Alternatives are ORed, the matches of one are ANDed, and a rule is an AND of ORs: every choice of one match from each
   * alternative becomes a clause. All but sources with trust domains and principals have one match, so there is one.
   */
  #clausesOf(alternatives: readonly Alternative[]): readonly Clause[] {
    if (alternatives.length === 0) return [];
    let choices: readonly (readonly Match[])[] = [[]];
    for (const alternative of alternatives) {
      if (alternative === 'true') return [];
      choices = choices.flatMap(choice => alternative.map(match => [...choice, match]));
      if (choices.length > maxClauses) {
        this.#invalid(`${this.#path}.from`, 'too many sources that have both principals and trustDomains');
        return [];
      }
    }
    return choices.map(matches => ({ matches }));
  }

  /** A service account already says the namespace; Istio's own validation refuses both together. */
  #checkSource(source: SourceSpec, path: string): void {
    const given = (values: Strings): boolean => (values ?? []).length > 0;
    const accounts = given(source.serviceAccounts) || given(source.notServiceAccounts);
    const others = [source.principals, source.notPrincipals, source.namespaces, source.notNamespaces];
    if (!accounts || !others.some(given)) return;
    this.#report(
      'error',
      'invalid-value',
      path,
      'serviceAccounts cannot be with principals or namespaces; all must match',
    );
  }

  #empty(path: string): Alternative {
    this.#broken = true;
    this.#report('error', 'empty-match', path, `nothing is given here: ${this.#consequence()}`);
    return 'true';
  }

  #invalid(path: string, problem: string): void {
    this.#broken = true;
    this.#report('error', 'invalid-value', path, `${problem}: ${this.#consequence()}`);
  }

  #consequence(): string {
    return this.#deny ? 'the rule denies as if it were not there' : 'the rule never matches';
  }

  #reportL7(clauses: readonly Clause[]): void {
    const [first] = this.#l7;
    if (first === undefined) return;
    const fields = this.#l7.map(field => field.slice(this.#path.length + 1)).join(', ');
    const needs = `only a waypoint can judge ${fields}`;
    if (!this.#deny) {
      this.#report(
        'warning',
        'l7-rule-ignored',
        first,
        `${needs}: on nodes the rule never matches, it allows nothing`,
      );
    } else if (clauses.length > 0) {
      this.#report(
        'warning',
        'l7-rule-widened',
        first,
        `${needs}: nodes enforce the rest, which denies more than asked`,
      );
    } else {
      this.#report(
        'warning',
        'l7-rule-denies-all',
        first,
        `${needs}, and nothing else is left to judge: nodes deny every connection to the workloads of this policy`,
      );
    }
  }
}
