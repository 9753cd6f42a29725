/**
 * TCPRoute and TLSRoute, gateway.networking.k8s.io: where the connections of clients to a Service go; those of TLS by the
 * name that they ask for, without being opened.
 *
 * In force where the parent is a Service; what is bound to Gateways is left alone. Versions before v1 may have several rules, and a
 * TLSRoute without names.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';
import { backendReference, parentRef } from './route-parts.ts';
import { struct } from './struct.ts';

const rule = struct(
  {
    name: dnsSubdomain.optional(),
    backendRefs: z
      .array(struct({ ...backendReference, weight: z.int().min(0).max(1_000_000).default(1) }, []))
      .max(16)
      .default([]),
  },
  [],
);

const parentRefs = z.array(parentRef).max(32).default([]);
const rules = z.array(rule).min(1).max(16);

/** Also with `*.` in front. */
const hostname = z
  .string()
  .max(253)
  .regex(
    /^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    'a name has lower-case letters, digits, - and . only, perhaps with *. in front',
  )
  .refine(name => !/^[\d.]+$/.test(name), 'a client of TLS asks for a name, never for an IP address');

export const tcpRoute = struct(
  { metadata: metadata(dnsSubdomain), spec: struct({ parentRefs, rules }, ['useDefaultGateways']) },
  ['apiVersion', 'kind', 'status'],
);

export const tlsRoute = struct(
  {
    metadata: metadata(dnsSubdomain),
    spec: struct({ parentRefs, hostnames: z.array(hostname).max(1_024).default([]), rules }, [
      'useDefaultGateways',
    ]),
  },
  ['apiVersion', 'kind', 'status'],
);

export type TcpRouteObject = z.output<typeof tcpRoute>;
export type TlsRouteObject = z.output<typeof tlsRoute>;
export type TcpRouteRule = z.output<typeof rule>;
