/** Every RequestAuthentication that is for waypoints, as they and what they are attached to come and go. */
import { isDeepStrictEqual } from 'node:util';
import type { JwtRuleSpec } from '../model/kinds/request-authentication.ts';
import type { L7Change } from '../model/l7.ts';
import type { KeysFrom, TokenRule, TokenRules } from '../model/token-rule.ts';
import type { HttpPolicyBookOptions } from './build-http-policies.ts';
import type { ObjectChange } from './build-objects.ts';
import { targetsOf, touchedTargets } from './build-targets.ts';
import type { Located, Report } from './located.ts';

const defaultTimeoutMs = 5_000;
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };

export class AuthenticationBook {
  readonly #options: HttpPolicyBookOptions;
  readonly #all = new Map<string, TokenRules>();

  constructor(options: HttpPolicyBookOptions) {
    this.#options = options;
  }

  /** Sorted by key. */
  all(): TokenRules[] {
    return [...this.#all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, rules]) => rules);
  }

  /** Those that are others than before. */
  apply(changes: readonly ObjectChange[]): L7Change[] {
    const changed: L7Change[] = [];
    for (const key of this.#touchedBy(changes)) {
      const before = this.#all.get(key) ?? null;
      const resource = this.#renew(key);
      if (resource === null) this.#all.delete(key);
      else this.#all.set(key, resource);
      if (!isDeepStrictEqual(before, resource)) changed.push({ list: 'authentications', key, resource });
    }
    return changed;
  }

  #touchedBy(changes: readonly ObjectChange[]): Set<string> {
    const keys = new Set<string>();
    for (const change of changes) {
      if (change.kind === 'RequestAuthentication') keys.add(`${change.namespace}/${change.name}`);
      const touched = touchedTargets(change);
      if (touched === undefined) continue;
      for (const [key, { namespace }] of this.#all)
        if (touched === null || touched === namespace) keys.add(key);
    }
    return keys;
  }

  #renew(key: string): TokenRules | null {
    const { objects, findings } = this.#options;
    const slash = key.indexOf('/');
    const object = objects.get('RequestAuthentication', key.slice(0, slash), key.slice(slash + 1));
    if (object === null) {
      findings.put('authentication', `RequestAuthentication ${key}`, []);
      return null;
    }
    return findings.about('authentication', object, report => this.#translate(object, report));
  }

  #translate(object: Located<'RequestAuthentication'>, report: Report): TokenRules | null {
    const { name, namespace, value } = object;
    const { targetRef, targetRefs = [], jwtRules = [] } = value.spec;
    if (targetRef === undefined && targetRefs.length === 0) {
      const message =
        'is in force nowhere: only waypoints read tokens, and it is attached to them by targetRefs';
      report(object, 'error', 'policy-without-workloads', 'spec', message);
      return null;
    }
    const targets = targetsOf(object, this.#options, report);
    if (jwtRules.length === 0)
      report(object, 'warning', 'never-matches', 'spec.jwtRules', 'without rules no token is read');
    const rules = jwtRules.map((rule, at) => tokenRule(rule, object, `spec.jwtRules[${at}]`, report));
    return { name, namespace, targets, rules };
  }
}

function tokenRule(
  rule: JwtRuleSpec,
  object: Located<'RequestAuthentication'>,
  field: string,
  report: Report,
): TokenRule {
  const { fromHeaders = [], fromParams = [], fromCookies = [] } = rule;
  const isSaid = fromHeaders.length + fromParams.length + fromCookies.length > 0;
  return {
    issuer: rule.issuer,
    audiences: rule.audiences ?? [],
    keys: keysOf(rule, (code, at, message) => report(object, 'error', code, `${field}.${at}`, message)),
    headers: isSaid
      ? fromHeaders.map(({ name, prefix = '' }) => ({ name: name.toLowerCase(), prefix }))
      : [{ name: 'authorization', prefix: 'Bearer ' }],
    params: isSaid ? fromParams : ['access_token'],
    cookies: fromCookies,
    forward: rule.forwardOriginalToken,
    payloadHeader: rule.outputPayloadToHeader?.toLowerCase() ?? null,
    claimHeaders: (rule.outputClaimToHeaders ?? []).map(({ header, claim }) => ({
      header: header.toLowerCase(),
      claim,
    })),
    lists: ['scope', 'permission', ...(rule.spaceDelimitedClaims ?? [])],
  };
}

function keysOf(rule: JwtRuleSpec, error: (code: string, field: string, message: string) => void): KeysFrom {
  const { issuer, jwks, timeout } = rule;
  const refused = 'tokens of this issuer are refused with 401';
  if (jwks !== undefined) {
    if (!hasKeys(jwks)) error('invalid-value', 'jwks', `is no JSON Web Key Set with public keys: ${refused}`);
    return { kind: 'inline', jwks };
  }
  const timeoutMs = timeout === undefined ? defaultTimeoutMs : durationMs(timeout);
  const url = rule.jwksUri ?? rule.jwks_uri;
  if (url !== undefined) return { kind: 'uri', url, timeoutMs };
  if (!/^https?:\/\//.test(issuer))
    error(
      'invalid-value',
      'issuer',
      `has no keys: it is no URL, and there is neither jwks nor jwksUri: ${refused}`,
    );
  return { kind: 'issuer', url: issuer, timeoutMs };
}

function hasKeys(text: string): boolean {
  try {
    const { keys } = JSON.parse(text) as { keys?: unknown };
    return (
      Array.isArray(keys) &&
      keys.some((key: { kty?: unknown }) => ['RSA', 'EC', 'OKP'].includes(String(key.kty)))
    );
  } catch {
    return false;
  }
}

function durationMs(text: string): number {
  const [, count = '0', unit = 's'] = /^([0-9.]+)(ms|s|m)$/.exec(text) ?? [];
  return Math.max(1, Math.round(Number(count) * (unitMs[unit] ?? 0)));
}
