/**
 * EndpointSlice, discovery.k8s.io/v1: the endpoints of a Service as something else worked them out. Where a Service
 * has slices, they say who its endpoints are and its selector does not.
 */
import * as z from 'zod';
import { canonicalIp } from '../address.ts';
import { ip } from './ip.ts';
import { dnsLabel, dnsSubdomain, metadata } from './metadata.ts';
import { portNumber, struct } from './struct.ts';

const endpoint = struct(
  {
    addresses: z.array(z.string()).min(1, 'an endpoint has an address').max(100),
    conditions: struct(
      {
        /** Absent means ready. */
        ready: z.boolean().optional(),
      },
      ['serving', 'terminating'],
    ).default({}),
    targetRef: struct(
      { kind: z.string().optional(), name: z.string().optional(), namespace: dnsLabel.optional() },
      ['apiVersion', 'fieldPath', 'resourceVersion', 'uid'],
    ).optional(),
    nodeName: dnsSubdomain.optional(),
  },
  ['deprecatedTopology', 'hints', 'hostname', 'zone'],
);

const slicePort = struct(
  {
    /** The name of the Service port this one is behind; empty for the only port of a Service. */
    name: z.string().default(''),
    port: portNumber.optional(),
    protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
  },
  ['appProtocol'],
);

/** Addresses of IPv4 and IPv6 slices become canonical; those of an FQDN slice are names and stay as they are. */
export const endpointSlice = struct(
  {
    metadata: metadata(dnsSubdomain),
    addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
    endpoints: z.array(endpoint).default([]),
    ports: z.array(slicePort).default([]),
  },
  ['apiVersion', 'kind'],
)
  .superRefine((slice, context) => {
    if (slice.addressType === 'FQDN') return;
    for (const [index, { addresses }] of slice.endpoints.entries()) {
      for (const [position, address] of addresses.entries()) {
        const result = ip.safeParse(address);
        const message = result.error?.issues[0]?.message;
        const path = ['endpoints', index, 'addresses', position];
        if (message !== undefined) context.addIssue({ code: 'custom', path, message });
      }
    }
  })
  .transform(slice => ({
    ...slice,
    endpoints: slice.endpoints.map(endpoint => ({
      ...endpoint,
      addresses: endpoint.addresses.map(address => canonicalIp(address) ?? address),
    })),
  }));

export type EndpointSlice = z.output<typeof endpointSlice>;
