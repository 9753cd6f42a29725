/**
 * A rule of an L7 policy, compiled: does it hold for a request? Yes, no, or it can not be told (null): a value has several
 * readings that disagree, or is one that nobody can know (of TCP, what only requests have; of a newer version, an attribute
 * that this one has never heard of). Who asks settles that to the side of refusing: ALLOW does not match, all else does.
 */
import { CidrSet, parseCidr } from './address.ts';
import type { HttpPolicyClause, HttpPolicyRule, PolicyCondition } from './http-policy.ts';
import { readerOf, readOnce, type PolicyFacts, type Readings } from './http-policy-facts.ts';
import { pathPattern, textPattern, type TextTest } from './text-pattern.ts';

export type Truth = boolean | null;

export interface CompiledHttpRule {
  holds(facts: PolicyFacts): Truth;
  /**
   * Why it does not match, for people; null where it does.
   * @param unknownMatches whether what can not be told counts as a match
   */
  obstacle(facts: PolicyFacts, unknownMatches: boolean): string | null;
}

type Test = (facts: PolicyFacts) => Truth;

export function compileHttpRule({ clauses }: HttpPolicyRule): CompiledHttpRule {
  const compiled = clauses.map(clause => ({ clause, test: compileClause(clause) }));
  const all = and(compiled.map(({ test }) => test));
  return {
    holds: all,
    obstacle: (facts, unknownMatches) => {
      for (const { clause, test } of compiled) {
        const holds = test(facts);
        if (holds === true || (holds === null && unknownMatches)) continue;
        return clause.length === 0
          ? 'names nothing'
          : clause.map(alternative => describe(alternative, facts)).join('; or ');
      }
      return null;
    },
  };
}

function compileClause(clause: HttpPolicyClause): Test {
  return or(clause.map(alternative => and(alternative.map(compileCondition))));
}

/** Kleene's: false beats unknown, unknown beats true. */
function and(tests: readonly Test[]): Test {
  return facts => {
    let all: Truth = true;
    for (const test of tests) {
      const holds = test(facts);
      if (holds === false) return false;
      if (holds === null) all = null;
    }
    return all;
  };
}

function or(tests: readonly Test[]): Test {
  return facts => {
    let any: Truth = false;
    for (const test of tests) {
      const holds = test(facts);
      if (holds === true) return true;
      if (holds === null) any = null;
    }
    return any;
  };
}

const unknown: Test = () => null;

function compileCondition({ attribute, negated, values }: PolicyCondition): Test {
  const address = addressOf(attribute);
  if (address !== null) {
    const parsed = values.map(parseCidr);
    const set = CidrSet.from(parsed.filter(cidr => cidr !== null));
    if (set === null || parsed.includes(null)) return unknown;
    return facts => {
      const value = address(facts);
      return value === null ? null : set.contains(value) !== negated;
    };
  }
  const read = readerOf(attribute);
  const compile = attribute === 'request.path' ? pathPattern : textPattern;
  const folded = foldsCase(attribute) ? values.map(value => value.toLowerCase()) : values;
  const tests = folded.map(compile);
  if (read === null || tests.length === 0 || tests.some(test => typeof test === 'string')) return unknown;
  const patterns = tests.filter((test): test is TextTest => typeof test !== 'string');
  return facts => settle(readOnce(facts, attribute, read), patterns, negated);
}

/** What all readings agree on. */
function settle(readings: Readings, patterns: readonly TextTest[], negated: boolean): Truth {
  if (readings === null) return null;
  let agreed: Truth = null;
  for (const values of readings) {
    const holds = values.some(value => patterns.some(test => test(value))) !== negated;
    if (agreed !== null && holds !== agreed) return null;
    agreed = holds;
  }
  return agreed;
}

function foldsCase(attribute: string): boolean {
  return (
    attribute === 'request.host' ||
    attribute === 'connection.sni' ||
    /^request\.headers\[(host|:authority)\]$/i.test(attribute)
  );
}

function addressOf(attribute: string) {
  if (attribute === 'source.ip') return (facts: PolicyFacts) => facts.sourceValue;
  if (attribute === 'remote.ip') return (facts: PolicyFacts) => facts.remoteValue;
  if (attribute === 'destination.ip') return (facts: PolicyFacts) => facts.destinationValue;
  return null;
}

/** The first condition of an alternative that does not hold. */
function describe(alternative: readonly PolicyCondition[], facts: PolicyFacts): string {
  const failed = alternative.find(condition => compileCondition(condition)(facts) !== true);
  if (failed === undefined) return 'holds';
  const { attribute, negated, values } = failed;
  return `${attribute} is ${given(attribute, facts)}, ${negated ? 'one' : 'none'} of ${values.join(', ')}`;
}

function given(attribute: string, facts: PolicyFacts): string {
  const { request } = facts;
  const address = { 'source.ip': request.sourceIp, 'remote.ip': request.remoteIp }[attribute];
  if (address !== undefined) return address ?? 'not known';
  if (attribute === 'destination.ip') return request.destinationIp;
  const readings = readerOf(attribute)?.(facts) ?? null;
  if (readings === null) return 'not known';
  const texts = new Set(
    readings.map(values => (values.length === 0 ? 'absent' : `"${values.join('", "')}"`)),
  );
  return [...texts].join(' or ');
}
