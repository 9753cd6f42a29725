/** Policies of requests, and requests, of which a test says only what it is about. */
import { HttpPolicySet, type HttpDecision, type HttpPolicy } from '../../model/http-policy.ts';
import type { PolicyRequest } from '../../model/http-policy-facts.ts';
import { translateHttpPolicy } from '../../model/http-policy-translation.ts';
import type { AuthorizationRuleSpec } from '../../model/authorization-rule.ts';
import { head } from './http-help.ts';

export function asked(path = '/', changes: Partial<PolicyRequest> = {}): PolicyRequest {
  return {
    identity: 'spiffe://cluster.local/ns/shop/sa/front',
    sourceIp: '10.0.0.7',
    remoteIp: '192.0.2.1',
    destinationIp: '10.96.0.10',
    destinationPort: 80,
    sni: null,
    head: head(path),
    claims: null,
    ...changes,
  };
}

/** What is no HTTP. */
export const tcp = asked('/', { head: null, remoteIp: null });

export function policy(
  action: HttpPolicy['action'],
  rules: readonly AuthorizationRuleSpec[],
  changes: { name?: string; dryRun?: boolean } = {},
): HttpPolicy {
  const { name = action.toLowerCase(), dryRun = false } = changes;
  return translateHttpPolicy({
    name,
    namespace: 'shop',
    annotations: dryRun ? { 'culvert.dev/dry-run': 'true' } : {},
    spec: { action, rules, provider: action === 'CUSTOM' ? { name: 'ext' } : undefined },
    targets: [{ kind: 'Service', key: 'shop/web.shop.svc.cluster.local' }],
  }).policy;
}

export function decided(policies: readonly HttpPolicy[], request: PolicyRequest): HttpDecision {
  return new HttpPolicySet(policies).decide(request);
}

/** Whether a DENY policy of one rule denies, and an ALLOW policy of it allows. */
export function outcomes(
  rule: AuthorizationRuleSpec,
  request: PolicyRequest,
): { denies: boolean; allows: boolean } {
  return {
    denies: !decided([policy('DENY', [rule])], request).allowed,
    allows: decided([policy('ALLOW', [rule])], request).allowed,
  };
}
