/** The policies' part of `culvert explain`: whether the request would pass the waypoint, by which rule, and why by no other. */
import { CulvertError } from '../base/errors.ts';
import { canonicalIp } from '../model/address.ts';
import type { HttpHead } from '../model/http-head.ts';
import { Authentications, HttpPolicies } from '../model/http-policies.ts';
import type { HttpDecision, HttpPolicy, PolicyStep, RuleMatch } from '../model/http-policy.ts';
import type { Claims } from '../model/http-policy-facts.ts';
import { formatSpiffeId } from '../model/identity.ts';
import { serviceKey, type Service } from '../model/service.ts';
import { tokensOf, type TokenRules } from '../model/token-rule.ts';

export interface Asker {
  readonly from?: string;
  readonly account: string;
  readonly address: string;
  readonly claims?: string;
}

export interface PolicyExplanation {
  readonly decision: HttpDecision;
  /** Who is asked before, of CUSTOM policies that match. */
  readonly customs: readonly RuleMatch[];
  readonly audits: readonly RuleMatch[];
  /** Whose tokens may come with it, and whether one does. */
  readonly issuers: readonly string[];
  readonly hasToken: boolean;
  readonly steps: readonly PolicyStep[];
}

/** Null where the service has no waypoint: nobody enforces policies of requests then. */
export function explainPolicies(
  {
    policies,
    authentications,
  }: { readonly policies: readonly HttpPolicy[]; readonly authentications: readonly TokenRules[] },
  {
    service,
    port,
    head,
    sni = null,
    trustDomain,
  }: {
    service: Service;
    port: number;
    /** Null of a connection that is carried as it is. */
    head: HttpHead | null;
    sni?: string | null;
    trustDomain: string;
  },
  asker: Asker,
): PolicyExplanation | null {
  const { waypoint } = service;
  if (waypoint?.destination.kind !== 'hostname') return null;
  const { hostname, namespace } = waypoint.destination;
  const gateway = { namespace, name: hostname.split('.', 1)[0] ?? '' };
  const all = new HttpPolicies(gateway);
  all.replace(policies);
  const vouching = new Authentications(gateway);
  vouching.replace(authentications);
  const rules = vouching.for([serviceKey(service)]);
  const set = all.for([serviceKey(service)]);
  const address = canonicalIp(asker.address);
  if (address === null) throw new CulvertError('BAD_USAGE', `--address ${asker.address} is no IP address`);
  const request = {
    identity: identityOf(asker, service.namespace, trustDomain),
    sourceIp: address,
    remoteIp: head === null ? null : address,
    destinationIp: service.addresses[0]?.address ?? '0.0.0.0',
    destinationPort: port,
    sni,
    head,
    claims: asker.claims === undefined ? null : claimsOf(asker.claims),
  };
  return {
    decision: set.decide(request),
    customs: set.customs(request),
    audits: set.audits(request),
    issuers: [...new Set(rules.map(({ issuer }) => issuer))],
    hasToken: head !== null && tokensOf(head, rules).length > 0,
    steps: set.explain(request),
  };
}

/** The client, by its namespace and service account. */
export function identityOf({ from, account }: Asker, home: string, trustDomain: string): string {
  return formatSpiffeId({ trustDomain, namespace: from ?? home, serviceAccount: account });
}

function claimsOf(text: string): Claims {
  try {
    const claims: unknown = JSON.parse(text);
    if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) return claims as Claims;
  } catch {
    // Said below.
  }
  throw new CulvertError('BAD_USAGE', `--claims ${text} is no JSON object such as {"iss":"…","sub":"…"}`);
}

/** @param denied what becomes of what may not pass */
export function policySentences(explanation: PolicyExplanation, denied = 'answered with 403'): string[] {
  const { decision, customs, audits, steps, issuers, hasToken } = explanation;
  const lines = steps.map(({ rule, hit, reason }) => `${hit ? 'yes' : 'no '}  ${rule}: ${reason}`);
  for (const { policy, provider } of customs)
    lines.push(`${provider} is asked (${policy}), and must allow it`);
  if (hasToken)
    lines.push(
      `its token has to be of ${issuers.join(' or ')}, or it is answered with 401 (--claims: as if it were)`,
    );
  for (const { policy } of audits) lines.push(`audited by ${policy}`);
  if (steps.length === 0 && decision.allowed) return [...lines, 'no policy is about it: it may pass'];
  return [...lines, decision.allowed ? `may pass: ${decision.reason}` : `${denied}: ${decision.reason}`];
}
