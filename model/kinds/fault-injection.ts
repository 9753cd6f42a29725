/**
 * FaultInjection, culvert.dev/v1: failures that a waypoint makes for tests of those who call. In force where a rule of an
 * HTTPRoute or GRPCRoute names it in a filter of type ExtensionRef.
 */
import * as z from 'zod';
import { positiveDuration } from './durations.ts';
import { dnsSubdomain, metadata } from './metadata.ts';

/** The statuses of gRPC that are failures, by name. */
export const grpcStatusNumbers: Readonly<Record<string, number>> = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
};

const percentage = z.number().min(0).max(100).describe('Of the requests.').default(100);
const oneStatus = 'an abort has httpStatus or grpcStatus, and not both';
const something = 'a fault has a delay, an abort or both';

export const faultInjectionSpec = z
  .strictObject({
    delay: z
      .strictObject({ duration: positiveDuration.describe('How long they are held up.'), percentage })
      .describe('Requests are held up before anything else happens to them.')
      .optional(),
    abort: z
      .strictObject({
        httpStatus: z.int().min(200).max(599).describe('What they are answered with.').optional(),
        grpcStatus: z
          .enum(Object.keys(grpcStatusNumbers) as [string, ...string[]])
          .describe('What calls of gRPC are answered with.')
          .optional(),
        percentage,
      })
      .refine(
        ({ httpStatus, grpcStatus }) => (httpStatus === undefined) !== (grpcStatus === undefined),
        oneStatus,
      )
      .meta({
        'x-kubernetes-validations': [
          { rule: 'has(self.httpStatus) != has(self.grpcStatus)', message: oneStatus },
        ],
      })
      .describe('Requests are answered without asking anybody.')
      .optional(),
  })
  .refine(({ delay, abort }) => delay !== undefined || abort !== undefined, something)
  .meta({
    'x-kubernetes-validations': [{ rule: 'has(self.delay) || has(self.abort)', message: something }],
  });

export const faultInjection = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: faultInjectionSpec,
  status: z.unknown().optional(),
});

export type FaultInjection = z.output<typeof faultInjection>;
