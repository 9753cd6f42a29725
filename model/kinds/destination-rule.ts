/**
 * DestinationRule, culvert.dev/v1 and networking.istio.io: how waypoints treat the endpoints of a service.
 *
 * This is the shape only, with its parts in load-balancer.ts, connection-pool.ts and client-tls.ts; what each comes to is
 * control/build-traffic.ts, and which object is in force for whom control/build-traffic-book.ts.
 */
import * as z from 'zod';
import { clientTls } from './client-tls.ts';
import { connectionPool, outlierDetection } from './connection-pool.ts';
import { percent, text, uint32 } from './destination-values.ts';
import { goDuration } from './durations.ts';
import { loadBalancer } from './load-balancer.ts';
import { dnsSubdomain, labelValue, metadata, qualifiedName, workloadSelector } from './metadata.ts';

const port = z.strictObject({ number: z.int().min(1).max(65_535) });

const parts = {
  loadBalancer: loadBalancer.describe('How an endpoint is chosen.').optional(),
  connectionPool: connectionPool.describe('How much is asked of the endpoints.').optional(),
  outlierDetection: outlierDetection.describe('Which endpoints are left out for a while.').optional(),
  tls: clientTls.describe('TLS towards the endpoints.').optional(),
};

const trafficPolicy = z.strictObject({
  ...parts,
  portLevelSettings: z
    .array(z.strictObject({ port, ...parts }))
    .max(32)
    .describe('Other settings for single ports, in place of all of these.')
    .optional(),
  tunnel: z
    .strictObject({
      protocol: z.enum(['CONNECT', 'POST']).optional(),
      targetHost: text,
      targetPort: z.int().min(1).max(65_535),
    })
    .describe('Refused: not done.')
    .optional(),
  proxyProtocol: z
    .strictObject({ version: z.enum(['V1', 'V2']).optional() })
    .describe('Refused: not done.')
    .optional(),
  retryBudget: z
    .strictObject({
      percent: percent.describe('Of the requests under way that may be further tries.').default(20),
      minRetryConcurrency: uint32.describe('So many are always possible.').default(3),
      budgetInterval: goDuration.describe('Only 0s: what is under way counts.').optional(),
    })
    .describe('How many further tries there may be.')
    .optional(),
});

export const destinationRuleSpec = z.strictObject({
  host: z
    .string()
    .max(253)
    .regex(
      /^(\*|(\*\.)?[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?)$/,
      'a host is a DNS name, with *. in front at most',
    )
    .describe('The service: a host name, or the name of a Service of the same namespace.'),
  trafficPolicy: trafficPolicy.describe('For all endpoints.').optional(),
  subsets: z
    .array(
      z.strictObject({
        name: dnsSubdomain.describe('The name by which routes choose it.'),
        labels: z
          .record(qualifiedName, labelValue)
          .describe('Labels its workloads carry, all of them.')
          .meta({ maxProperties: 64 })
          .optional(),
        trafficPolicy: trafficPolicy.describe('What it says is in place of what the whole says.').optional(),
      }),
    )
    .max(64)
    .refine(
      all => new Set(all.map(({ name }) => name)).size === all.length,
      'each name of a subset is there once',
    )
    .meta({
      'x-kubernetes-validations': [
        {
          rule: 'self.all(s, self.exists_one(t, t.name == s.name))',
          message: 'each name of a subset is there once',
        },
      ],
    })
    .describe('Parts of the endpoints.')
    .optional(),
  exportTo: z
    .array(z.string().min(1).max(253))
    .max(256)
    .describe('Namespaces of the clients it is for: `.` the own one, `*` (default) all.')
    .optional(),
  workloadSelector: workloadSelector
    .describe('Not in force with it: clients have no labels here.')
    .optional(),
});

export const destinationRule = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: destinationRuleSpec,
  status: z.unknown().optional(),
});

export type DestinationRule = z.output<typeof destinationRule>;
export type TrafficPolicySpec = z.output<typeof trafficPolicy>;
export type PolicyParts = Omit<TrafficPolicySpec, 'portLevelSettings'>;
