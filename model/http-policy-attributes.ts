/**
 * The fields of an AuthorizationPolicy as a waypoint judges them: which attribute each is, and how its values are read.
 * What a node can judge too is read as there (authorization-attributes.ts).
 */
import { parseCidr } from './address.ts';
import { conditionAttributes, isRequestKey, type Attribute } from './authorization-attributes.ts';
import { normalisePath } from './http-path.ts';
import { pathPattern, textPattern } from './text-pattern.ts';

export interface HttpAttribute {
  /** As in `PolicyCondition.attribute`. */
  readonly name: string;
  /** What is wrong with a value, or null. */
  readonly problem: (value: string, namespace: string) => string | null;
  /** The value as it is compared; `namespace` is the policy's own. */
  readonly value: (value: string, namespace: string) => string;
}

const asItIs = (value: string): string => value;

/** Fields of `from.source` without `not`. */
export const httpSourceFields: ReadonlyMap<string, HttpAttribute> = new Map([
  ['principals', shared('source.principal')],
  ['namespaces', shared('source.namespace')],
  ['trustDomains', shared('source.trustDomain')],
  ['ipBlocks', shared('source.ip')],
  ['remoteIpBlocks', { name: 'remote.ip', problem: cidrProblem, value: asItIs }],
  ['requestPrincipals', text('request.auth.principal')],
  ['serviceAccounts', { ...shared('source.serviceAccount'), value: qualified }],
]);

/** Fields of `to.operation` without `not`. */
export const httpOperationFields: ReadonlyMap<string, HttpAttribute> = new Map([
  ['hosts', text('request.host')],
  ['methods', text('request.method')],
  ['paths', { name: 'request.path', problem: pathProblem, value: asItIs }],
  ['ports', shared('destination.port')],
]);

/** The attribute of a `when.key`; null for none that there is. */
export function httpConditionAttribute(key: string): HttpAttribute | null {
  if (key === 'source.serviceAccount') return { ...shared(key), value: qualified };
  if (conditionAttributes.has(key)) return shared(key);
  if (key === 'remote.ip') return { name: key, problem: cidrProblem, value: asItIs };
  return isRequestKey(key) ? text(key) : null;
}

/** Tokens are read after CUSTOM policies have been asked. */
export function needsToken(attribute: string): boolean {
  return attribute.startsWith('request.auth.');
}

/** Keys that exist, and whose values a waypoint has no way to learn. */
export function isBeyondWaypoints(attribute: string): boolean {
  return attribute.startsWith('experimental.envoy.filters.');
}

function shared(name: string): HttpAttribute {
  const known: Attribute | undefined = conditionAttributes.get(name);
  return { name, problem: (value, namespace) => known?.problem(value, namespace) ?? null, value: asItIs };
}

function text(name: string): HttpAttribute {
  return { name, problem: value => problemOf(textPattern(value)), value: asItIs };
}

function problemOf(test: object | string): string | null {
  return typeof test === 'string' ? test : null;
}

function cidrProblem(value: string): string | null {
  return parseCidr(value) === null ? `"${value}" is not an IP address or prefix such as 10.0.0.0/8` : null;
}

/** Paths are compared in their one spelling, so a pattern in another would never match. */
function pathProblem(value: string): string | null {
  const problem = problemOf(pathPattern(value));
  if (problem !== null || value.startsWith('*') || /[{}]/.test(value)) return problem;
  const literal = value.replace(/\*$/, '');
  const normal = normalisePath(literal);
  if (normal === null) return `"${value}" is no path, which begins with / and is percent-encoded`;
  return normal === literal
    ? null
    : `"${value}" is compared with normalised paths, and never is one: "${normal}" is`;
}

function qualified(value: string, namespace: string): string {
  return value.includes('/') ? value : `${namespace}/${value}`;
}
