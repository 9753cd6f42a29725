/**
 * A policy as `istio.security.Authorization`, and back.
 *
 * A decoder passes over what it does not know, and a policy that lost a condition allows more than was written. So
 * whatever cannot be read here is read the harshest way: it allows nobody, or denies everybody the rest of its rule is
 * about. What is not even known to allow or deny denies all.
 */
import { isIpv6 } from '../model/address.ts';
import type { Cidr } from '../model/address.ts';
import { emptyMatch } from '../model/authorization-attributes.ts';
import type { Authorization, Clause, Match, Rule, StringMatch } from '../model/policy.ts';
import { protocols } from '../proto/load.ts';
import type { Sparse } from '../proto/load.ts';
import type {
  WireAuthorization,
  WireClause,
  WireMatch,
  WirePrefix,
  WireRule,
  WireStringMatch,
} from '../proto/messages.ts';
import { unknownFields } from '../proto/unknown-fields.ts';
import { choice, ipFromWire, ipToWire } from './codec-values.ts';

type Action = Authorization['action'];

const scopes = choice<Authorization['scope']>('istio.security.Scope', [
  'GLOBAL',
  'NAMESPACE',
  'WORKLOAD_SELECTOR',
]);
const actions = choice<Action>('istio.security.Action', ['ALLOW', 'DENY']);

export function authorizationToWire(policy: Authorization): Sparse<WireAuthorization> {
  return {
    ...policy,
    scope: scopes.toWire(policy.scope),
    action: actions.toWire(policy.action),
    rules: policy.rules.map(rule => ({
      clauses: rule.clauses.map(clause => ({ matches: clause.matches.map(matchToWire) })),
    })),
  };
}

function matchToWire(match: Match): Sparse<WireMatch> {
  return {
    ...match,
    namespaces: match.namespaces.map(patternToWire),
    notNamespaces: match.notNamespaces.map(patternToWire),
    principals: match.principals.map(patternToWire),
    notPrincipals: match.notPrincipals.map(patternToWire),
    sourceIps: match.sourceIps.map(prefixToWire),
    notSourceIps: match.notSourceIps.map(prefixToWire),
    destinationIps: match.destinationIps.map(prefixToWire),
    notDestinationIps: match.notDestinationIps.map(prefixToWire),
  };
}

function patternToWire(pattern: StringMatch): Sparse<WireStringMatch> {
  return pattern.kind === 'presence' ? { presence: {} } : { [pattern.kind]: pattern.value };
}

function prefixToWire({ address, length }: Cidr): WirePrefix {
  return { address: ipToWire(address), length };
}

/** A policy that denies everything: in place of one of which not enough can be read to say what it denies. */
export function denyAll(
  given: Pick<Authorization, 'name' | 'namespace' | 'scope' | 'dryRun'>,
): Authorization {
  return { ...given, action: 'DENY', rules: [{ clauses: [] }] };
}

/** `bytes` are what `wire` was decoded from. */
export function authorizationFromWire(
  wire: WireAuthorization,
  bytes: Buffer,
  problems: string[],
): Authorization {
  const { name, namespace, dryRun } = wire;
  const scope = scopes.fromWire(wire.scope);
  const action = actions.fromWire(wire.action);
  if (scope === null) problems.push(`scope ${wire.scope}, which this agent does not know`);
  if (action === null) problems.push(`action ${wire.action}, which this agent does not know`);
  if (scope === null || action === null) {
    // Without a scope it is for those workloads that name it.
    return denyAll({ name, namespace, scope: scope ?? 'WORKLOAD_SELECTOR', dryRun });
  }
  const unknown = unknownConditions(bytes);
  if (unknown.size > 0) problems.push('conditions that this agent does not know');
  const reading: Reading = { action, problems, isUnknown: (...path) => unknown.has(path.join('.')) };
  return {
    name,
    namespace,
    scope,
    action,
    rules: wire.rules.map((rule, index) => ruleFromWire(rule, index, reading)),
    dryRun,
  };
}

interface Reading {
  readonly action: Action;
  readonly problems: string[];
  /** Whether the rule, clause or match at these indices has a field that is not known. */
  readonly isUnknown: (...indices: readonly number[]) => boolean;
}

/** Of Authorization, Rule and Clause. */
const ruleField = 5;
const clauseField = 1;
const matchField = 2;

/** Indices of the rules, clauses and matches that have fields unknown here, joined by dots. */
function unknownConditions(bytes: Buffer): ReadonlySet<string> {
  const found = new Set<string>();
  for (const path of unknownFields(protocols.schema, protocols.authorization.fullName, bytes)) {
    const [rule, clause, match] = path;
    if (path.length < 2 || rule?.field !== ruleField) continue;
    const indices = [rule.index];
    if (path.length > 2 && clause?.field === clauseField) indices.push(clause.index);
    if (path.length > 3 && match?.field === matchField) indices.push(match.index);
    found.add(indices.join('.'));
  }
  return found;
}

const noMatch: Match = emptyMatch();
const never: Clause = { matches: [noMatch] };
const always: Clause = { matches: [] };
const everywhere: readonly Cidr[] = [
  { address: '0.0.0.0', length: 0 },
  { address: '::', length: 0 },
];

/** A field unknown to a rule is a further condition: a rule that allows does not hold, one that denies does without it. */
function ruleFromWire(wire: WireRule, rule: number, reading: Reading): Rule {
  if (reading.action === 'ALLOW' && reading.isUnknown(rule)) return { clauses: [never] };
  return { clauses: wire.clauses.map((clause, index) => clauseFromWire(clause, [rule, index], reading)) };
}

/** A field unknown to a clause is a further alternative. */
function clauseFromWire(wire: WireClause, path: readonly number[], reading: Reading): Clause {
  const unknown = reading.isUnknown(...path);
  if (unknown && reading.action === 'DENY') return always;
  const matches = wire.matches.map((match, index) => matchFromWire(match, [...path, index], reading));
  return unknown && matches.length === 0 ? never : { matches };
}

/** A field unknown to a match is a further condition, see above. */
function matchFromWire(wire: WireMatch, path: readonly number[], reading: Reading): Match {
  const unknown = reading.isUnknown(...path);
  if (unknown && reading.action === 'ALLOW') return noMatch;
  const positive = (pattern: WireStringMatch): StringMatch => patternFromWire(pattern, true, reading);
  const negative = (pattern: WireStringMatch): StringMatch => patternFromWire(pattern, false, reading);
  const prefix = (address: WirePrefix): Cidr => prefixFromWire(address, reading.problems);
  const match: Match = {
    namespaces: wire.namespaces.map(positive),
    notNamespaces: wire.notNamespaces.map(negative),
    principals: wire.principals.map(positive),
    notPrincipals: wire.notPrincipals.map(negative),
    sourceIps: wire.sourceIps.map(prefix),
    notSourceIps: wire.notSourceIps.map(prefix),
    destinationIps: wire.destinationIps.map(prefix),
    notDestinationIps: wire.notDestinationIps.map(prefix),
    destinationPorts: wire.destinationPorts,
    notDestinationPorts: wire.notDestinationPorts,
    serviceAccounts: wire.serviceAccounts.map(accountFromWire),
    notServiceAccounts: wire.notServiceAccounts.map(accountFromWire),
  };
  // A match without any field never matches; this one had a field.
  const isEmpty = Object.values(match).every(list => list.length === 0);
  return unknown && isEmpty ? { ...match, sourceIps: everywhere } : match;
}

function accountFromWire({ namespace, serviceAccount }: Match['serviceAccounts'][number]) {
  return { namespace, serviceAccount };
}

function patternFromWire(wire: WireStringMatch, positive: boolean, reading: Reading): StringMatch {
  const { exact, prefix, suffix, presence } = wire;
  const patterns: StringMatch[] = [];
  if (exact !== null) patterns.push({ kind: 'exact', value: exact });
  if (prefix !== null) patterns.push({ kind: 'prefix', value: prefix });
  if (suffix !== null) patterns.push({ kind: 'suffix', value: suffix });
  if (presence !== null) patterns.push({ kind: 'presence' });
  const [only] = patterns;
  if (only !== undefined && patterns.length === 1) return only;
  reading.problems.push(`a pattern that says ${patterns.length} things instead of 1`);
  // It denies whoever has an identity and allows nobody; nobody's name is empty.
  const matchesAll = (reading.action === 'DENY') === positive;
  return matchesAll ? { kind: 'presence' } : { kind: 'exact', value: '' };
}

/** What is no prefix stays in the list as an address that is none: how a policy is compiled settles that (policy-match). */
function prefixFromWire(wire: WirePrefix, problems: string[]): Cidr {
  const ip = ipFromWire(wire.address);
  const bits = wire.address.length * 8;
  const mapped = ip !== null && bits === 128 && !isIpv6(ip);
  const length = mapped ? wire.length - 96 : wire.length;
  if (ip !== null && length >= 0 && wire.length <= bits) return { address: ip, length };
  problems.push(`a prefix of ${wire.length} bits of an address of ${wire.address.length} bytes`);
  return { address: '', length: wire.length };
}
