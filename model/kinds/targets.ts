/** What policies of waypoints are attached to: objects by name, in place of the labels of workloads. */
import * as z from 'zod';
import { dnsSubdomain } from './metadata.ts';

export const targetRef = z.strictObject({
  group: z.string().max(253).default('').describe('API group; empty for a Service.'),
  kind: z.string().min(1).max(63).describe('Gateway, GatewayClass, Service or ServiceEntry.'),
  name: dnsSubdomain.describe('Name of the object.'),
  namespace: dnsSubdomain.describe('Has to be the namespace of the policy.').optional(),
});

interface Attached {
  readonly selector?: unknown;
  readonly targetRef?: unknown;
  readonly targetRefs?: unknown;
}

const message = 'selector and targetRefs exclude each other';

/** Whether a spec is attached in one way at most; to be refined with `attachedTwice`. */
export function isAttachedOnce(spec: Attached): boolean {
  return spec.selector === undefined || (spec.targetRef ?? spec.targetRefs) === undefined;
}

export const attachedTwice = { message, path: ['selector'] };

/** The same for an API server. */
export const attachedOnceRule = {
  rule: '!has(self.selector) || !(has(self.targetRef) || has(self.targetRefs))',
  message,
};
