/**
 * WorkloadEntry, culvert.dev/v1 and networking.istio.io: something outside the cluster that Services and ServiceEntries
 * choose by its labels, as they choose pods. It has no agent, so it is reached in plaintext.
 */
import * as z from 'zod';
import { canonicalIp } from '../address.ts';
import { isReachable } from './ip.ts';
import { dnsSubdomain, labelValue, metadata, qualifiedName } from './metadata.ts';

const hostPattern =
  /^[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*$/;

/** An IP address, canonical on the way out, or a host name, in lower case. */
const address = z
  .string()
  .max(253)
  .refine(
    text => canonicalIp(text) !== null || (hostPattern.test(text) && !/^[0-9.]+$/.test(text)),
    'neither an IP address nor a host name',
  )
  .refine(
    text => isReachable(canonicalIp(text)),
    "a loopback or unspecified address is nobody's in particular",
  )
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "!(self.startsWith('127.') || self in ['::1', '::', '0.0.0.0'])",
        message: "a loopback or unspecified address is nobody's in particular",
      },
    ],
  })
  .transform(text => canonicalIp(text) ?? text.toLowerCase());

const portName = z
  .string()
  .regex(/^[A-Za-z0-9]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?$/, 'a port name has letters, digits, - and _ only');

/** One place that answers: what a WorkloadEntry is about, and an inline endpoint of a ServiceEntry. */
export const endpointSpec = z.strictObject({
  address: address.describe('IP address, or a name that DNS resolves.').optional(),
  ports: z
    .record(portName, z.int().min(1).max(65_535))
    .describe('Port numbers by the names that Services and ServiceEntries use.')
    .meta({ maxProperties: 256 })
    .optional(),
  labels: z
    .record(qualifiedName, labelValue)
    .describe('What selectors see.')
    .meta({ maxProperties: 256 })
    .optional(),
  network: z
    .string()
    .max(63)
    .describe('Network the address is in; without it, the one of the mesh.')
    .optional(),
  locality: z
    .string()
    .max(253)
    .regex(/^[^/]*(\/[^/]*){0,2}$/, 'a locality is region/zone/subzone')
    .describe('Where it is: region, region/zone or region/zone/subzone.')
    .optional(),
  weight: z
    .int()
    .min(0)
    .max(4_294_967_295)
    .describe('Relative weight in balancing; 0 counts as 1.')
    .optional(),
  serviceAccount: dnsSubdomain.describe('Service account it would run as, for display.').optional(),
});

export type EndpointSpec = z.output<typeof endpointSpec>;

export const workloadEntrySpec = endpointSpec
  .refine(spec => spec.address !== undefined || (spec.network ?? '') !== '', {
    message: 'a WorkloadEntry has an address',
    path: ['address'],
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: 'has(self.address) || has(self.network)', message: 'a WorkloadEntry has an address' },
    ],
  });

export const workloadEntry = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: workloadEntrySpec,
  status: z.unknown().optional(),
});

export type WorkloadEntry = z.output<typeof workloadEntry>;
