/**
 * AuthorizationPolicy, culvert.dev/v1 and security.istio.io/v1: who may connect to a workload.
 *
 * This is the shape only; what a policy means at L4 is model/authorization-policy.ts. Fields that need L7 are part of
 * the shape, because a rule that has them must be understood well enough not to become an allow.
 */
import * as z from 'zod';
import { ipBlock } from './ip.ts';
import { dnsSubdomain, metadata, workloadSelector } from './metadata.ts';
import { attachedOnceRule, attachedTwice, isAttachedOnce, targetRef } from './targets.ts';

const maxRules = 512;
const maxValues = 512;

const text = z.string().min(1, 'an empty value matches nothing').max(2048);

/** A list of alternatives: exact, `prefix*`, `*suffix`, or `*` for any value that is present. */
function anyOf(what: string): z.ZodOptional<z.ZodArray<typeof text>> {
  return z.array(text).max(maxValues).describe(what).optional();
}

function noneOf(field: string): z.ZodOptional<z.ZodArray<typeof text>> {
  return z.array(text).max(maxValues).describe(`None of these may match; see ${field}.`).optional();
}

/** Identities are compared without their scheme; with it an entry would never match, and a DENY be open. */
const principal = text.regex(/^[^:]+$/, 'a principal is written without spiffe://');

function principals(what: string) {
  return z.array(principal).max(maxValues).describe(what).optional();
}

const ipBlocks = z.array(ipBlock).max(maxValues);

const serviceAccounts = z
  .array(
    z
      .string()
      .max(320)
      .regex(
        /^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
        'a service account is `name` or `namespace/name`, without wildcards',
      ),
  )
  .max(16);

const ports = z
  .array(
    z
      .string()
      .regex(
        /^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$/,
        'a port is a quoted number from 1 to 65535',
      ),
  )
  .max(maxValues);

const source = z
  .strictObject({
    principals: principals('Peer identities, `<trust domain>/ns/<namespace>/sa/<service account>`.'),
    notPrincipals: principals('None of these may match; see principals.'),
    requestPrincipals: anyOf('Subjects of request tokens, `<issuer>/<subject>`; needs a waypoint.'),
    notRequestPrincipals: noneOf('requestPrincipals'),
    namespaces: anyOf('Namespaces of peer identities.'),
    notNamespaces: noneOf('namespaces'),
    serviceAccounts: serviceAccounts
      .describe(
        'Service accounts of peer identities, `namespace/name`, or `name` in the namespace of the policy.',
      )
      .optional(),
    notServiceAccounts: serviceAccounts.describe('None of these may match; see serviceAccounts.').optional(),
    trustDomains: anyOf('Trust domains of peer identities.'),
    notTrustDomains: noneOf('trustDomains'),
    ipBlocks: ipBlocks.describe('Addresses or prefixes the connection comes from.').optional(),
    notIpBlocks: ipBlocks.describe('None of these may match; see ipBlocks.').optional(),
    remoteIpBlocks: ipBlocks
      .describe('Addresses of the original client behind a gateway; needs a waypoint.')
      .optional(),
    notRemoteIpBlocks: ipBlocks.describe('None of these may match; see remoteIpBlocks.').optional(),
  })
  .describe('Where a connection comes from; every field given must match.');

const operation = z
  .strictObject({
    hosts: anyOf('Host names of requests; needs a waypoint.'),
    notHosts: noneOf('hosts'),
    ports: ports.describe('Port numbers of the workload.').optional(),
    notPorts: ports.describe('None of these may match; see ports.').optional(),
    methods: anyOf('Methods of requests; needs a waypoint.'),
    notMethods: noneOf('methods'),
    paths: anyOf('Paths of requests; needs a waypoint.'),
    notPaths: noneOf('paths'),
  })
  .describe('What a connection is for; every field given must match.');

const condition = z
  .strictObject({
    key: z
      .string()
      .min(1)
      .max(1024)
      .describe('The attribute, such as source.ip, source.principal or destination.port.'),
    values: anyOf('The attribute has one of these values.'),
    notValues: noneOf('values'),
  })
  .refine(
    condition => (condition.values ?? condition.notValues) !== undefined,
    'a condition has values or notValues',
  )
  .refine(
    ({ key, values = [], notValues = [] }) =>
      key !== 'source.principal' || ![...values, ...notValues].some(value => value.startsWith('spiffe://')),
    'a principal is written without spiffe://',
  )
  .meta({
    'x-kubernetes-validations': [
      { rule: 'has(self.values) || has(self.notValues)', message: 'a condition has values or notValues' },
    ],
  });

const rule = z
  .strictObject({
    from: z
      .array(z.strictObject({ source }))
      .max(maxRules)
      .describe('Any of these sources; without it, every source.')
      .optional(),
    to: z
      .array(z.strictObject({ operation }))
      .max(maxRules)
      .describe('Any of these operations; without it, every operation.')
      .optional(),
    when: z.array(condition).max(maxRules).describe('Further conditions, all of them.').optional(),
  })
  .describe('A rule matches when from, to and when do. An empty rule matches everything.');

export const authorizationPolicySpec = z
  .strictObject({
    selector: workloadSelector.optional(),
    targetRef: targetRef.describe('Deprecated form of targetRefs with one entry.').optional(),
    targetRefs: z
      .array(targetRef)
      .max(16)
      .describe('The objects of a waypoint the policy is attached to; such a policy is not for the node.')
      .optional(),
    action: z
      .enum(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'])
      .describe('What a match means. DENY is decided before ALLOW; AUDIT and CUSTOM need a waypoint.')
      .default('ALLOW'),
    provider: z
      .strictObject({ name: z.string().min(1).max(253).describe('Name of the provider.') })
      .describe('Who decides for the action CUSTOM.')
      .optional(),
    rules: z
      .array(rule)
      .max(maxRules)
      .describe('Any of these rules. A policy without rules never matches: ALLOW then denies everything.')
      .optional(),
  })
  .refine(isAttachedOnce, attachedTwice)
  .refine(spec => spec.action !== 'DENY' || (spec.rules ?? []).length > 0, {
    message: 'a DENY policy has rules, otherwise it never denies anything',
    path: ['rules'],
  })
  .refine(spec => spec.action !== 'CUSTOM' || spec.provider !== undefined, {
    message: 'a CUSTOM policy names its provider',
    path: ['provider'],
  })
  .meta({
    'x-kubernetes-validations': [
      attachedOnceRule,
      {
        rule: "self.action != 'DENY' || (has(self.rules) && self.rules.size() > 0)",
        message: 'a DENY policy has rules, otherwise it never denies anything',
      },
      {
        rule: "self.action != 'CUSTOM' || has(self.provider)",
        message: 'a CUSTOM policy names its provider',
      },
    ],
  });

export const authorizationPolicy = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: authorizationPolicySpec,
  status: z.unknown().optional(),
});

export type AuthorizationPolicy = z.output<typeof authorizationPolicy>;
