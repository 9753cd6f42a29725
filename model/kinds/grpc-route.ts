/**
 * GRPCRoute, gateway.networking.k8s.io: what happens to the gRPC calls of clients to a Service.
 */
import * as z from 'zod';
import {
  extensionRef,
  headerFilter,
  headerName,
  mirrorFilter,
  requestRoute,
  requestRule,
  valueMatch,
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

const rule = struct(requestRule(match, filter), []);

export const grpcRoute = requestRoute(rule);

export type GrpcRouteObject = z.output<typeof grpcRoute>;
export type GrpcRouteRule = z.output<typeof rule>;
export type GrpcRouteMatch = z.output<typeof match>;
