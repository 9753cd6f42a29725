/**
 * The attributes of an AuthorizationPolicy that a node can judge (L4), and how their values are read.
 *
 * Part of the translation of policies, in the control plane. An attribute that is not here needs a request, so it is L7
 * and only a waypoint can judge it.
 */
import { parseCidr, parsePort } from './address.ts';
import type { Match, ServiceAccountMatch, StringMatch } from './policy.ts';

/** A match being put together. */
export type MatchDraft = { -readonly [K in keyof Match]: Match[K][number][] };

export interface Attribute {
  /** What is wrong with a value, or null. */
  readonly problem: (value: string, namespace: string) => string | null;
  /** Adds a value without a problem; `namespace` is the policy's own. */
  readonly add: (draft: MatchDraft, negated: boolean, value: string, namespace: string) => void;
}

export function emptyMatch(): MatchDraft {
  return {
    namespaces: [],
    notNamespaces: [],
    principals: [],
    notPrincipals: [],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: [],
    notDestinationPorts: [],
    serviceAccounts: [],
    notServiceAccounts: [],
  };
}

/** Fields of `from.source`, each with its `not` form. `trustDomains` is judged as the first part of the principal. */
export const sourceAttributes: ReadonlyMap<string, Attribute> = new Map([
  ['principals', attribute(pattern, (draft, negated) => (negated ? draft.notPrincipals : draft.principals))],
  ['namespaces', attribute(pattern, (draft, negated) => (negated ? draft.notNamespaces : draft.namespaces))],
  [
    'serviceAccounts',
    attribute(account, (draft, negated) => (negated ? draft.notServiceAccounts : draft.serviceAccounts)),
  ],
  [
    'trustDomains',
    attribute(trustDomain, (draft, negated) => (negated ? draft.notPrincipals : draft.principals)),
  ],
  ['ipBlocks', attribute(cidr, (draft, negated) => (negated ? draft.notSourceIps : draft.sourceIps))],
]);

/** Fields of `to.operation`. */
export const operationAttributes: ReadonlyMap<string, Attribute> = new Map([
  [
    'ports',
    attribute(port, (draft, negated) => (negated ? draft.notDestinationPorts : draft.destinationPorts)),
  ],
]);

/** Keys of `when`. */
export const conditionAttributes: ReadonlyMap<string, Attribute> = new Map([
  ...aliases(sourceAttributes, [
    ['source.principal', 'principals'],
    ['source.namespace', 'namespaces'],
    ['source.serviceAccount', 'serviceAccounts'],
    ['source.trustDomain', 'trustDomains'],
    ['source.ip', 'ipBlocks'],
  ]),
  ...aliases(operationAttributes, [['destination.port', 'ports']]),
  [
    'destination.ip',
    attribute(cidr, (draft, negated) => (negated ? draft.notDestinationIps : draft.destinationIps)),
  ],
]);

/** Keys of `when` that exist, but need a request, a TLS handshake or a proxy's header. */
export function isRequestKey(key: string): boolean {
  return (
    /^request\.(headers\[[^[\]]+\]|auth\.(principal|audiences|presenter|claims(\[[^[\]]+\])+))$/.test(key) ||
    key === 'remote.ip' ||
    key === 'connection.sni' ||
    key.startsWith('experimental.envoy.filters.')
  );
}

/** Reads a value, or says in a sentence what is wrong with it. */
type Read<T extends object | number> = (value: string, namespace: string) => T | string;

function attribute<T extends object | number>(
  read: Read<T>,
  list: (draft: MatchDraft, negated: boolean) => T[],
): Attribute {
  return {
    problem: (value, namespace) => {
      const result = read(value, namespace);
      return typeof result === 'string' ? result : null;
    },
    add: (draft, negated, value, namespace) => {
      const result = read(value, namespace);
      if (typeof result !== 'string') list(draft, negated).push(result);
    },
  };
}

function aliases(
  attributes: ReadonlyMap<string, Attribute>,
  names: readonly (readonly [key: string, field: string])[],
): readonly (readonly [string, Attribute])[] {
  return names.flatMap(([key, field]) => {
    const attribute = attributes.get(field);
    return attribute === undefined ? [] : [[key, attribute] as const];
  });
}

/** `*` any, `x*` prefix, `*x` suffix, else exact. */
function pattern(value: string): StringMatch | string {
  if (value === '') return 'an empty value matches nothing';
  if (value === '*') return { kind: 'presence' };
  const inner = value.replace(/^\*|\*$/, '');
  if (inner.includes('*')) return `"${value}" has a * that is not at its one end`;
  if (inner.length === value.length) return { kind: 'exact', value };
  return { kind: value.startsWith('*') ? 'suffix' : 'prefix', value: inner };
}

/** A principal begins with its trust domain, so exact and prefix patterns become a prefix of the principal. */
function trustDomain(value: string): StringMatch | string {
  const parsed = pattern(value);
  if (typeof parsed === 'string' || parsed.kind === 'presence') return parsed;
  if (parsed.value.includes('/')) return `"${value}" is not a trust domain: it has a /`;
  if (parsed.kind === 'suffix')
    return `"${value}": the end of a trust domain cannot be matched, write it out or as x*`;
  return { kind: 'prefix', value: parsed.kind === 'exact' ? `${parsed.value}/` : parsed.value };
}

function account(value: string, namespace: string): ServiceAccountMatch | string {
  const [first = '', second = null, ...more] = value.split('/');
  const match =
    second === null ? { namespace, serviceAccount: first } : { namespace: first, serviceAccount: second };
  if (more.length > 0 || match.namespace === '' || match.serviceAccount === '' || value.includes('*')) {
    return `"${value}" is not a service account: write name or namespace/name, without wildcards`;
  }
  return match;
}

function cidr(value: string) {
  return parseCidr(value) ?? `"${value}" is not an IP address or prefix such as 10.0.0.0/8`;
}

function port(value: string): number | string {
  return parsePort(value) ?? `"${value}" is not a port number from 1 to 65535`;
}
