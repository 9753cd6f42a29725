/**
 * Compiles the matches of a policy into something that answers in nanoseconds: prefixes parsed, exact values hashed.
 *
 * Compilation happens once per policy object, on the first connection after it arrived; `matches` runs on the data path
 * for every connection and every live connection that is judged again. It is also where entries that cannot be parsed
 * are settled, always to the side of refusing: an ALLOW match that has one never matches, a DENY match goes on without
 * the field (positive) or the entry (negative), so that it denies more and never less than what was written.
 */
import { CidrSet } from './address.ts';
import type { Cidr } from './address.ts';
import type { Facts } from './policy-facts.ts';
import { accountKey, betterGuard, guardOf, withoutScheme } from './policy-guard.ts';
import type { Guard } from './policy-guard.ts';
import type { Authorization, Clause, Match, StringMatch } from './policy.ts';

type Lookup<T> = readonly T[] | ReadonlySet<T>;

interface StringMatcher {
  readonly exact: Lookup<string>;
  readonly prefixes: readonly string[];
  readonly suffixes: readonly string[];
  readonly presence: boolean;
}

/** Null fields are absent and do not constrain. */
interface CompiledMatch {
  readonly ports: Lookup<number> | null;
  readonly notPorts: Lookup<number> | null;
  readonly accounts: Lookup<string> | null;
  readonly notAccounts: Lookup<string> | null;
  readonly principals: StringMatcher | null;
  readonly notPrincipals: StringMatcher | null;
  readonly namespaces: StringMatcher | null;
  readonly notNamespaces: StringMatcher | null;
  readonly sourceIps: CidrSet | null;
  readonly notSourceIps: CidrSet | null;
  readonly destinationIps: CidrSet | null;
  readonly notDestinationIps: CidrSet | null;
}

export type CompiledClause = readonly CompiledMatch[];

export interface CompiledRule {
  /** All must match; none at all matches everything. */
  readonly clauses: readonly CompiledClause[];
  /** Values one of which the connection must have for the rule to match; null when no such list exists. */
  readonly guard: Guard | null;
}

const nothing: readonly string[] = [];
/** Up to here a scan of an array is as fast as a hash and takes a fraction of the memory. */
const scanLimit = 8;

/** A rule ready to be asked, or null if it can never match. */
export function compileRule(
  action: Authorization['action'],
  clauses: readonly Clause[],
): CompiledRule | null {
  const compiled: CompiledClause[] = [];
  let guard: Guard | null = null;
  for (const clause of clauses) {
    if (clause.matches.length === 0) continue;
    const matches: CompiledMatch[] = [];
    let alwaysTrue = false;
    const live = clause.matches.filter(match => !isEmpty(match));
    for (const match of live) {
      const result = compileMatch(action, match);
      if (result === 'true') alwaysTrue = true;
      else if (result !== 'never') matches.push(result);
    }
    if (alwaysTrue) continue;
    if (matches.length === 0) return null;
    compiled.push(matches);
    guard = betterGuard(guard, guardOf(live));
  }
  return { clauses: compiled, guard };
}

export function ruleMatches(rule: CompiledRule, facts: Facts): boolean {
  for (const clause of rule.clauses) {
    let any = false;
    for (const match of clause) {
      if (matches(match, facts)) {
        any = true;
        break;
      }
    }
    if (!any) return false;
  }
  return true;
}

/** A match without any field never matches, so that a lost field cannot turn into "everything". */
function isEmpty(match: Match): boolean {
  return Object.values(match).every(list => list.length === 0);
}

function compileMatch(action: Authorization['action'], match: Match): CompiledMatch | 'true' | 'never' {
  let invalid = false;
  const positiveIps = (cidrs: readonly Cidr[]): CidrSet | null => {
    if (cidrs.length === 0) return null;
    const set = CidrSet.from(cidrs);
    invalid ||= set === null;
    return set;
  };
  const negativeIps = (cidrs: readonly Cidr[]): CidrSet | null => {
    const set = positiveIps(cidrs);
    if (set !== null || cidrs.length === 0) return set;
    const valid = cidrs.filter(cidr => CidrSet.from([cidr]) !== null);
    return valid.length === 0 ? null : CidrSet.from(valid);
  };
  const compiled: CompiledMatch = {
    ports: lookup(match.destinationPorts),
    notPorts: lookup(match.notDestinationPorts),
    accounts: lookup(match.serviceAccounts.map(accountKey)),
    notAccounts: lookup(match.notServiceAccounts.map(accountKey)),
    principals: stringMatcher(match.principals),
    notPrincipals: stringMatcher(match.notPrincipals),
    namespaces: stringMatcher(match.namespaces),
    notNamespaces: stringMatcher(match.notNamespaces),
    sourceIps: positiveIps(match.sourceIps),
    notSourceIps: negativeIps(match.notSourceIps),
    destinationIps: positiveIps(match.destinationIps),
    notDestinationIps: negativeIps(match.notDestinationIps),
  };
  if (!invalid) return compiled;
  if (action === 'ALLOW') return 'never';
  return Object.values(compiled).every(field => field === null) ? 'true' : compiled;
}

function lookup<T>(values: readonly T[]): Lookup<T> | null {
  if (values.length === 0) return null;
  return values.length <= scanLimit ? values : new Set(values);
}

function has<T>(lookup: Lookup<T>, value: T): boolean {
  return lookup instanceof Set ? lookup.has(value) : (lookup as readonly T[]).includes(value);
}

function stringMatcher(patterns: readonly StringMatch[]): StringMatcher | null {
  if (patterns.length === 0) return null;
  const exact: string[] = [];
  const prefixes: string[] = [];
  const suffixes: string[] = [];
  let presence = false;
  for (const pattern of patterns) {
    if (pattern.kind === 'presence') presence = true;
    else if (pattern.kind === 'suffix') suffixes.push(pattern.value);
    else (pattern.kind === 'exact' ? exact : prefixes).push(withoutScheme(pattern.value));
  }
  return { exact: lookup(exact) ?? nothing, prefixes, suffixes, presence };
}

function stringMatches(matcher: StringMatcher, value: string | null): boolean {
  if (value === null) return false;
  if (matcher.presence && value !== '') return true;
  if (has(matcher.exact, value)) return true;
  for (const prefix of matcher.prefixes) if (value.startsWith(prefix)) return true;
  for (const suffix of matcher.suffixes) if (value.endsWith(suffix)) return true;
  return false;
}

function matches(m: CompiledMatch, facts: Facts): boolean {
  const { account } = facts;
  return (
    (m.ports === null || has(m.ports, facts.destinationPort)) &&
    (m.notPorts === null || !has(m.notPorts, facts.destinationPort)) &&
    (m.accounts === null || (account !== null && has(m.accounts, account))) &&
    (m.notAccounts === null || account === null || !has(m.notAccounts, account)) &&
    (m.principals === null || stringMatches(m.principals, facts.principal)) &&
    (m.notPrincipals === null || !stringMatches(m.notPrincipals, facts.principal)) &&
    (m.namespaces === null || stringMatches(m.namespaces, facts.namespace)) &&
    (m.notNamespaces === null || !stringMatches(m.notNamespaces, facts.namespace)) &&
    (m.sourceIps === null || m.sourceIps.contains(facts.sourceValue)) &&
    (m.notSourceIps === null || !m.notSourceIps.contains(facts.sourceValue)) &&
    (m.destinationIps === null || m.destinationIps.contains(facts.destinationValue)) &&
    (m.notDestinationIps === null || !m.notDestinationIps.contains(facts.destinationValue))
  );
}
