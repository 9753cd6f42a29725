/**
 * GRPCRoute, gateway.networking.k8s.io: what happens to the gRPC calls of clients to a Service.
 */
import * as z from 'zod';
import { dnsSubdomain, metadata } from './metadata.ts';
import {
  extensionRef,
  headerFilter,
  headerName,
  mirrorFilter,
  parentRef,
  sessionPersistence,
  valueMatch,
  weighted,
} from './route-parts.ts';
import { struct } from './struct.ts';

const callName = z.string().min(1).max(1024);

const match = struct(
  {
    method: struct(
      {
        type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
        service: callName.optional(),
        method: callName.optional(),
      },
      [],
    )
      .refine(({ service, method }) => service !== undefined || method !== undefined, {
        message: 'a service, a method or both are needed',
      })
      .refine(
        ({ type, service = 'a', method = 'a' }) =>
          type === 'RegularExpression' ||
          (/^[A-Za-z0-9_.]+$/.test(service) && /^[A-Za-z0-9_]+$/.test(method)),
        { message: 'a service has letters, digits, _ and . only, a method letters, digits and _' },
      )
      .optional(),
    headers: z.array(valueMatch(headerName)).max(16).default([]),
  },
  [],
);

const filter = struct(
  {
    type: z.enum(['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror', 'ExtensionRef']),
    requestHeaderModifier: headerFilter.optional(),
    responseHeaderModifier: headerFilter.optional(),
    requestMirror: mirrorFilter.optional(),
    extensionRef: extensionRef.optional(),
  },
  [],
);

const rule = struct(
  {
    name: dnsSubdomain.optional(),
    matches: z.array(match).max(64).default([]),
    filters: z.array(filter).max(16).default([]),
    backendRefs: z.array(weighted(filter)).max(16).default([]),
    sessionPersistence: sessionPersistence.optional(),
  },
  [],
);

const spec = struct(
  {
    parentRefs: z.array(parentRef).max(32).default([]),
    hostnames: z.array(z.string().max(253)).max(16).default([]),
    rules: z.array(rule).max(16).default([]),
  },
  ['useDefaultGateways'],
);

export const grpcRoute = struct({ metadata: metadata(dnsSubdomain), spec }, ['apiVersion', 'kind', 'status']);

export type GrpcRouteObject = z.output<typeof grpcRoute>;
export type GrpcRouteRule = z.output<typeof rule>;
export type GrpcRouteMatch = z.output<typeof match>;
