/**
 * RateLimit, culvert.dev/v1: how many requests waypoints let through. In force for the Services that it names, and for the
 * rules of HTTPRoutes and GRPCRoutes that name it in a filter of type ExtensionRef.
 */
import * as z from 'zod';
import { positiveDuration } from './durations.ts';
import { dnsLabel, dnsSubdomain, metadata } from './metadata.ts';
import { portNumber } from './struct.ts';

const headerName = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, "a header name has letters, digits and !#$%&'*+-.^_`|~ only");

const needsName = 'Header needs a name, Constant a value, and no other type has any';

const part = {
  type: z
    .enum(['Header', 'Identity', 'Namespace', 'Address', 'Method', 'Path', 'Host', 'Constant'])
    .describe('What of a request: Identity, Namespace and Address are of the client.'),
  name: headerName.describe('Of the header.').optional(),
  value: z.string().min(1).max(256).describe('Of a constant.').optional(),
};

interface Part {
  readonly type: string;
  readonly name?: string | undefined;
  readonly value?: string | undefined;
}

function isWhole({ type, name, value }: Part): boolean {
  return (type === 'Header') === (name !== undefined) && (type === 'Constant') === (value !== undefined);
}

const partRule = {
  'x-kubernetes-validations': [
    {
      rule: "(self.type == 'Header') == has(self.name) && (self.type == 'Constant') == has(self.value)",
      message: needsName,
    },
  ],
};

const something = 'a rate limit has local, global or both';

export const rateLimitSpec = z
  .strictObject({
    targetRefs: z
      .array(
        z.strictObject({
          group: z.enum(['', 'core']).describe('API group; empty for a Service.').default(''),
          kind: z.enum(['Service']).describe('Service.'),
          name: dnsLabel.describe('Of the namespace of the limit.'),
        }),
      )
      .max(16)
      .describe('Services, for all of whose requests it is.')
      .optional(),
    local: z
      .array(
        z.strictObject({
          requests: z.int().min(1).max(1_000_000_000).describe('So many.'),
          per: positiveDuration.describe('In this time.'),
          burst: z
            .int()
            .min(1)
            .max(1_000_000_000)
            .describe('So many at once after a time without any; without it, requests.')
            .optional(),
          by: z
            .array(z.strictObject(part).refine(isWhole, needsName).meta(partRule))
            .max(8)
            .describe('Requests that differ in these are counted apart; one that lacks any is not counted.')
            .optional(),
          maxKeys: z
            .int()
            .min(1)
            .max(1_000_000)
            .describe('So many are counted apart; what is beyond shares one count.')
            .default(10_000),
        }),
      )
      .max(16)
      .describe('Each waypoint counts for itself.')
      .optional(),
    global: z
      .strictObject({
        service: z
          .strictObject({
            name: dnsLabel.describe('Of a Service.'),
            namespace: dnsLabel.describe('Without it, that of the limit.').optional(),
            port: portNumber.describe('Of the Service.'),
          })
          .describe('Who counts: a server of envoy.service.ratelimit.v3.RateLimitService.'),
        domain: z.string().min(1).max(256).describe('Which of its configurations.'),
        descriptors: z
          .array(
            z.strictObject({
              entries: z
                .array(
                  z
                    .strictObject({
                      key: z.string().min(1).max(256).describe('As the server knows it.'),
                      ...part,
                    })
                    .refine(isWhole, needsName)
                    .meta(partRule),
                )
                .min(1)
                .max(8)
                .describe('All of them; a request that lacks any is not asked about by this descriptor.'),
            }),
          )
          .min(1)
          .max(8)
          .describe('What is asked about.'),
        timeout: positiveDuration.describe('How long an answer may take.').default('100ms'),
        failureMode: z
          .enum(['Allow', 'Deny'])
          .describe('What happens to requests while it can not be asked.')
          .default('Allow'),
      })
      .describe('One service counts for all waypoints.')
      .optional(),
  })
  .refine(({ local = [], global }) => local.length > 0 || global !== undefined, something)
  .meta({
    'x-kubernetes-validations': [
      { rule: '(has(self.local) && self.local.size() > 0) || has(self.global)', message: something },
    ],
  });

export const rateLimit = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: rateLimitSpec,
  status: z.unknown().optional(),
});

export type RateLimitObject = z.output<typeof rateLimit>;
