/**
 * TrafficSplit and HTTPRouteGroup of SMI, in every version there was: a service whose calls are shared among others, and
 * which of them. What they come to is control/build-split.ts.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';

/** A Service, by as much of its name as says which it is. */
const serviceName = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'a service is a DNS name');

/** v1alpha1 has quantities of Kubernetes (`500m`), the others numbers. */
const weight = z.union([
  z.number().min(0),
  z.string().regex(/^\d+(\.\d+)?[mk]?$/, 'a weight is a number or a quantity such as 500m'),
]);

const reference = z.strictObject({
  apiGroup: z.string().optional(),
  kind: z.string(),
  name: dnsSubdomain,
});

export const trafficSplit = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: z.strictObject({
    service: serviceName,
    backends: z.array(z.strictObject({ service: serviceName, weight: weight.default(0) })).min(1),
    matches: z.array(reference).optional(),
  }),
  status: z.unknown().optional(),
});

const headers = z.record(z.string(), z.string());

export const httpRouteGroup = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: z.strictObject({
    matches: z.array(
      z.strictObject({
        name: z.string(),
        pathRegex: z.string().max(4096).optional(),
        methods: z.array(z.string()).optional(),
        // The text of the specification has a map, its CRD a list of maps.
        headers: z.union([headers, z.array(headers)]).optional(),
      }),
    ),
  }),
  status: z.unknown().optional(),
});

export type TrafficSplit = z.output<typeof trafficSplit>;
export type HttpRouteGroup = z.output<typeof httpRouteGroup>;
