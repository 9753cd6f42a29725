/**
 * Finds what a rule pins exactly, so that connections without it need not look at the rule at all.
 *
 * A guard only narrows the search: every candidate is still judged in full. So it may let too many pass, never too few,
 * and what is not plainly exact is no guard.
 */
import { canonicalIp, isIpv6 } from './address.ts';
import type { Cidr } from './address.ts';
import type { Match, ServiceAccountMatch, StringMatch } from './policy.ts';

/** Values of one property, one of which a connection must have for the rule to match. */
export interface Guard {
  readonly kind: 'account' | 'sourceIp' | 'namespace' | 'port';
  readonly values: readonly (string | number)[];
}

const spiffeScheme = 'spiffe://';

/** People write principals both ways; compared is what follows the scheme. */
export function withoutScheme(principal: string): string {
  return principal.startsWith(spiffeScheme) ? principal.slice(spiffeScheme.length) : principal;
}

export function accountKey({ namespace, serviceAccount }: ServiceAccountMatch): string {
  return `${namespace}/${serviceAccount}`;
}

/** What every alternative of a clause pins, or null. */
export function guardOf(alternatives: readonly Match[]): Guard | null {
  for (const kind of guardOrder) {
    const exact = alternatives.map(exactValues[kind]);
    if (exact.every(values => values !== null)) return { kind, values: exact.flat() };
  }
  return null;
}

/** Of the guards of two clauses, both of which must match, the one that leaves fewer candidates. */
export function betterGuard(a: Guard | null, b: Guard | null): Guard | null {
  if (a === null || b === null) return a ?? b;
  return guardOrder.indexOf(b.kind) < guardOrder.indexOf(a.kind) ? b : a;
}

type ExactValues = (match: Match) => readonly (string | number)[] | null;

/** The exact values a match pins a property to, or null; from the one that leaves the fewest candidates to the most. */
const exactValues: Readonly<Record<Guard['kind'], ExactValues>> = {
  account: m =>
    m.serviceAccounts.length > 0 ? m.serviceAccounts.map(accountKey) : fromAll(m.principals, accountOf),
  sourceIp: m => fromAll(m.sourceIps, hostOf),
  namespace: m => fromAll(m.namespaces, exactOf) ?? fromAll(m.principals, namespaceOf),
  port: m => (m.destinationPorts.length > 0 ? m.destinationPorts : null),
};
const guardOrder = Object.keys(exactValues) as readonly Guard['kind'][];

/** One value of each, or null if there are none or one has no such value. */
function fromAll<T>(items: readonly T[], valueOf: (item: T) => string | null): readonly string[] | null {
  const values: string[] = [];
  for (const item of items) {
    const value = valueOf(item);
    if (value === null) return null;
    values.push(value);
  }
  return values.length === 0 ? null : values;
}

function exactOf(pattern: StringMatch): string | null {
  return pattern.kind === 'exact' ? pattern.value : null;
}

/** A principal has five parts, so its end from `/ns/` on fixes both. */
function accountOf(pattern: StringMatch): string | null {
  if (pattern.kind !== 'exact' && pattern.kind !== 'suffix') return null;
  const [, namespace, serviceAccount] = /\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(pattern.value) ?? [];
  return namespace === undefined || serviceAccount === undefined
    ? null
    : accountKey({ namespace, serviceAccount });
}

function namespaceOf(pattern: StringMatch): string | null {
  if (pattern.kind !== 'exact' && pattern.kind !== 'prefix') return null;
  return /^[^/]+\/ns\/([^/]+)\//.exec(withoutScheme(pattern.value))?.[1] ?? null;
}

function hostOf(cidr: Cidr): string | null {
  const ip = canonicalIp(cidr.address);
  return ip !== null && cidr.length === (isIpv6(ip) ? 128 : 32) ? ip : null;
}
