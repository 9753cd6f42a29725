/**
 * MeshConfig, culvert.dev/v1: the settings of a whole mesh. One per cluster, named `default`; without it every
 * setting has its default.
 */
import * as z from 'zod';
import { type ExtensionProvider, extensionProvider } from './extension-provider.ts';
import { dnsLabel, dnsSubdomain, metadata } from './metadata.ts';
import { portNumber } from './struct.ts';

const second = 1_000;
const unitMs = new Map([
  ['s', second],
  ['m', 60 * second],
  ['h', 3_600 * second],
]);
const minimumTtlMs = 60 * second;
const maximumTtlMs = 90 * 24 * 3_600 * second;

const ttl = z
  .string()
  .regex(/^[1-9][0-9]{0,6}[smh]$/, 'a duration is a whole number and s, m or h, such as 24h')
  .refine(text => {
    const ms = durationMs(text);
    return ms >= minimumTtlMs && ms <= maximumTtlMs;
  }, 'a certificate lives from 1m to 2160h')
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "duration(self) >= duration('1m') && duration(self) <= duration('2160h')",
        message: 'a certificate lives from 1m to 2160h',
      },
    ],
  });

const collector = z.strictObject({
  name: dnsLabel.describe('What Telemetry objects call it.'),
  service: dnsSubdomain.describe('Host name of its Service, such as otel.observability.svc.cluster.local.'),
  namespace: dnsLabel
    .describe('Of the Service or ServiceEntry; by default what follows the first dot of the host name.')
    .optional(),
  port: portNumber.describe('Of the Service; it takes OTLP over HTTP.').default(4318),
  path: z
    .string()
    .regex(/^\/[!-~]*$/, 'a path begins with /')
    .max(1024)
    .describe('Of its requests.')
    .default('/v1/traces'),
  headers: z
    .record(
      z.string().regex(/^[A-Za-z0-9-]+$/, 'a header has letters, digits and - only'),
      z.string().max(4096),
    )
    .describe('Sent with every request.')
    .meta({ maxProperties: 32 })
    .default({}),
});

const tracing = z
  .strictObject({
    collectors: z.array(collector).max(16).describe('Servers that take spans.').default([]),
    collector: dnsLabel
      .describe('Where spans go, unless a Telemetry says otherwise; without it, none are made.')
      .optional(),
    samplingPercentage: z
      .number()
      .min(0)
      .max(100)
      .describe('Of requests that belong to no trace yet.')
      .default(1),
  })
  .describe('Spans of the requests that pass waypoints.')
  .refine(
    ({ collectors, collector: name }) => name === undefined || collectors.some(item => item.name === name),
    { message: 'there is no collector of this name', path: ['collector'] },
  );

const requestLog = z
  .strictObject({
    encoding: z.enum(['json', 'text']).describe('JSON, or name=value in one line.').default('json'),
    fields: z
      .array(z.string().regex(/^[a-z._]+$/, 'a field has lower-case letters, . and _ only'))
      .max(64)
      .describe('Names of the fields that are written, in this order; without it, all.')
      .default([]),
  })
  .describe('How waypoints write access lines.');

export const meshConfigSpec = z.strictObject({
  trustDomain: z
    .string()
    .regex(
      /^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$/,
      'a trust domain has lower-case letters, digits, -, . and _ only',
    )
    .max(253)
    .describe('First part of every identity, spiffe://<trust domain>/ns/<namespace>/sa/<service account>.')
    .default('cluster.local'),
  clusterId: z
    .string()
    .regex(/^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$/, 'a cluster id has letters, digits, -, . and _ only')
    .max(253)
    .describe('Name of the cluster in workload ids, metrics and logs.')
    .default('Kubernetes'),
  clusterDomain: dnsSubdomain
    .describe('What Service names end in: <name>.<namespace>.svc.<cluster domain>.')
    .default('cluster.local'),
  rootNamespace: dnsLabel
    .describe('Policies without selector in this namespace are for the whole mesh.')
    .default('culvert-system'),
  network: z
    .string()
    .regex(/^([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?)?$/, 'a network has letters, digits, -, . and _ only')
    .max(63)
    .describe('Name of the network in which pod addresses are unique; empty for the only one.')
    .default(''),
  defaultFailMode: z
    .enum(['open', 'closed'])
    .describe(
      'What happens to the traffic of enrolled pods while no agent runs, for pods without the annotation culvert.dev/fail-mode: open lets it pass unprotected, closed refuses it.',
    )
    .default('closed'),
  dnsCapture: z
    .boolean()
    .describe('Whether port 53 of enrolled pods is answered by the agent, for pods without the annotation.')
    .default(true),
  excludedNamespaces: z
    .array(dnsLabel)
    .max(256)
    .describe('Namespaces of which no pod is enrolled, whatever its labels.')
    .default(['kube-system', 'culvert-system']),
  certificateTtl: ttl.describe('Lifetime of workload certificates, such as 24h.').default('24h'),
  accessLog: z.boolean().describe('Whether every connection writes one access line.').default(true),
  tracing: tracing.prefault({}),
  requestLog: requestLog.prefault({}),
  extensionProviders: z
    .array(extensionProvider)
    .max(32)
    .describe('Who is asked about requests by policies of action CUSTOM.')
    .default([]),
});

export const meshConfigName = 'default';

export const meshConfig = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(
    z.string().refine(name => name === meshConfigName, `the only MeshConfig is named ${meshConfigName}`),
  ),
  spec: meshConfigSpec.prefault({}),
  status: z.unknown().optional(),
});

export type MeshConfigObject = z.output<typeof meshConfig>;

/** The settings in force: every member is present. */
export interface MeshConfig {
  readonly trustDomain: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly rootNamespace: string;
  readonly network: string;
  readonly defaultFailMode: 'open' | 'closed';
  readonly dnsCapture: boolean;
  readonly excludedNamespaces: readonly string[];
  readonly certificateTtlMs: number;
  readonly accessLog: boolean;
  readonly tracing: z.output<typeof tracing>;
  readonly requestLog: z.output<typeof requestLog>;
  readonly extensionProviders: readonly ExtensionProvider[];
}

/** The settings of an object; those of an empty one when there is none. */
export function meshSettings(object: MeshConfigObject | null): MeshConfig {
  const { certificateTtl, ...settings } = object?.spec ?? meshConfigSpec.parse({});
  return { ...settings, certificateTtlMs: durationMs(certificateTtl) };
}

function durationMs(text: string): number {
  return Number(text.slice(0, -1)) * (unitMs.get(text.slice(-1)) ?? Number.NaN);
}
