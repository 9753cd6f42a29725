/**
 * Telemetry, culvert.dev/v1 and telemetry.istio.io/v1: what waypoints tell about requests.
 *
 * This is the shape only; what is in force for a service is model/telemetry.ts.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata, workloadSelector } from './metadata.ts';
import { attachedOnceRule, attachedTwice, isAttachedOnce, targetRef } from './targets.ts';

const maxItems = 64;

const providers = z
  .array(z.strictObject({ name: z.string().min(1).max(253).describe('Name of the provider.') }))
  .max(maxItems)
  .describe('Names from MeshConfig; without it, what a wider Telemetry says.')
  .optional();

const mode = z
  .enum(['CLIENT_AND_SERVER', 'CLIENT', 'SERVER'])
  .describe('A waypoint stands beside the server: what is for CLIENT only does not concern it.')
  .optional();

const modeMatch = z.strictObject({ mode }).describe('Whom it is for.').optional();

const customTag = z
  .strictObject({
    literal: z
      .strictObject({ value: z.string().max(1024).describe('The value.') })
      .describe('The same value for every span.')
      .optional(),
    header: z
      .strictObject({
        name: z.string().min(1).max(256).describe('Name of a request header.'),
        defaultValue: z.string().max(1024).describe('Where the request has none.').optional(),
      })
      .describe('The value of a request header.')
      .optional(),
    environment: z
      .strictObject({
        name: z.string().min(1).max(256).describe('Name of a variable of the waypoint.'),
        defaultValue: z.string().max(1024).describe('Where there is none.').optional(),
      })
      .describe("The value of a variable of the waypoint's environment.")
      .optional(),
    formatter: z
      .strictObject({ value: z.string().max(1024).describe('A format.') })
      .describe('Not supported.')
      .optional(),
  })
  .describe('Exactly one of its members.');

const tracing = z.strictObject({
  match: modeMatch,
  providers,
  randomSamplingPercentage: z
    .number()
    .min(0)
    .max(100)
    .describe('Of requests that belong to no trace yet.')
    .optional(),
  disableSpanReporting: z.boolean().describe('No spans; the trace is passed on all the same.').optional(),
  disableContextPropagation: z.boolean().describe('Not supported.').optional(),
  enableIstioTags: z.boolean().describe('Spans always have these.').optional(),
  useRequestIdForTraceSampling: z.boolean().describe('Sampling never looks at the request id.').optional(),
  customTags: z
    .record(z.string().min(1).max(256), customTag)
    .describe('Further attributes of spans, by name.')
    .meta({ maxProperties: maxItems })
    .optional(),
});

const metricOverride = z.strictObject({
  match: z
    .strictObject({
      metric: z
        .enum([
          'ALL_METRICS',
          'REQUEST_COUNT',
          'REQUEST_DURATION',
          'REQUEST_SIZE',
          'RESPONSE_SIZE',
          'TCP_OPENED_CONNECTIONS',
          'TCP_CLOSED_CONNECTIONS',
          'TCP_SENT_BYTES',
          'TCP_RECEIVED_BYTES',
          'GRPC_REQUEST_MESSAGES',
          'GRPC_RESPONSE_MESSAGES',
        ])
        .describe('Which metric; all where it is left out.')
        .optional(),
      customMetric: z.string().max(253).describe('Not supported.').optional(),
      mode,
    })
    .describe('Which metric of whom.')
    .optional(),
  disabled: z.boolean().describe('The metric is not counted.').optional(),
  tagOverrides: z
    .record(
      z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, 'a label has letters, digits and _ only'),
      z.strictObject({
        operation: z.enum(['UPSERT', 'REMOVE']).describe('UPSERT sets the label.').optional(),
        value: z.string().max(1024).describe('A CEL expression over the attributes of a request.').optional(),
      }),
    )
    .describe('Changes of labels, by name.')
    .meta({ maxProperties: maxItems })
    .optional(),
});

const metrics = z.strictObject({
  providers,
  overrides: z.array(metricOverride).max(maxItems).describe('In order; later ones win.').optional(),
  reportingInterval: z
    .string()
    .max(32)
    .describe('Not used: metrics are read when they are scraped.')
    .optional(),
});

const accessLogging = z.strictObject({
  match: modeMatch,
  providers,
  disabled: z.boolean().describe('No access lines.').optional(),
  filter: z
    .strictObject({
      expression: z.string().min(1).max(4096).describe('CEL: lines are written where it is true.').optional(),
    })
    .describe('Which requests have a line.')
    .optional(),
});

export const telemetrySpec = z
  .strictObject({
    selector: workloadSelector.optional(),
    targetRef: targetRef.describe('Deprecated form of targetRefs with one entry.').optional(),
    targetRefs: z
      .array(targetRef)
      .max(16)
      .describe('Services or waypoints; without it, everything of the namespace.')
      .optional(),
    tracing: z.array(tracing).max(maxItems).describe('Spans.').optional(),
    metrics: z.array(metrics).max(maxItems).describe('Metrics of requests.').optional(),
    accessLogging: z.array(accessLogging).max(maxItems).describe('Access lines of requests.').optional(),
  })
  .refine(isAttachedOnce, attachedTwice)
  .meta({
    'x-kubernetes-validations': [attachedOnceRule],
  });

export const telemetry = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: telemetrySpec.prefault({}),
  status: z.unknown().optional(),
});

export type TelemetryObject = z.output<typeof telemetry>;
export type TelemetrySpec = z.output<typeof telemetrySpec>;
