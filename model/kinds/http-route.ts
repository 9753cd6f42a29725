/**
 * HTTPRoute, gateway.networking.k8s.io: what happens to the HTTP requests of clients to a Service.
 *
 * In force where its parent is a Service; what is bound to Gateways is left alone.
 */
import * as z from 'zod';
import { dnsSubdomain } from './metadata.ts';
import {
  duration,
  extensionRef,
  headerFilter,
  headerName,
  mirrorFilter,
  requestRoute,
  requestRule,
  valueMatch,
} from './route-parts.ts';
import { portNumber, struct } from './struct.ts';

const path = struct(
  {
    type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']).default('PathPrefix'),
    value: z.string().max(1024).default('/'),
  },
  [],
);

const literalPath = /^\/[A-Za-z0-9/\-._~!$&'()*+,;=:@%]*$/;
const ambiguousPath = /\/\/|\/\.\.?(\/|$)|%2f|#/i;

const match = struct(
  {
    path: path
      .refine(({ type, value }) => type === 'RegularExpression' || literalPath.test(value), {
        message: 'a path begins with / and has path characters only',
        path: ['value'],
      })
      .refine(({ type, value }) => type === 'RegularExpression' || !ambiguousPath.test(value), {
        message: 'a path has no //, /./, /../, %2f or #',
        path: ['value'],
      })
      .optional(),
    headers: z.array(valueMatch(headerName)).max(16).default([]),
    queryParams: z
      .array(valueMatch(z.string().min(1).max(256)))
      .max(16)
      .default([]),
    method: z
      .enum(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'])
      .optional(),
  },
  [],
);

const pathModifier = struct(
  {
    type: z.enum(['ReplaceFullPath', 'ReplacePrefixMatch']),
    replaceFullPath: z.string().max(1024).optional(),
    replacePrefixMatch: z.string().max(1024).optional(),
  },
  [],
);

const hostname = dnsSubdomain;

const filter = struct(
  {
    type: z.enum([
      'RequestHeaderModifier',
      'ResponseHeaderModifier',
      'RequestRedirect',
      'URLRewrite',
      'RequestMirror',
      'CORS',
      'ExternalAuth',
      'ExtensionRef',
    ]),
    requestHeaderModifier: headerFilter.optional(),
    responseHeaderModifier: headerFilter.optional(),
    requestMirror: mirrorFilter.optional(),
    requestRedirect: struct(
      {
        scheme: z.enum(['http', 'https']).optional(),
        hostname: hostname.optional(),
        path: pathModifier.optional(),
        port: portNumber.optional(),
        statusCode: z
          .union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)])
          .default(302),
      },
      [],
    ).optional(),
    urlRewrite: struct({ hostname: hostname.optional(), path: pathModifier.optional() }, []).optional(),
    cors: struct(
      {
        allowOrigins: z.array(z.string().min(1).max(253)).max(64).default([]),
        allowCredentials: z.boolean().default(false),
        allowMethods: z.array(z.string().min(1)).max(9).default([]),
        allowHeaders: z.array(z.string().min(1).max(256)).max(64).default([]),
        exposeHeaders: z.array(z.string().min(1).max(256)).max(64).default([]),
        maxAge: z.int().min(1).default(5),
      },
      [],
    ).optional(),
    externalAuth: z.unknown().optional(),
    extensionRef: extensionRef.optional(),
  },
  [],
);

const rule = struct(
  {
    ...requestRule(match, filter),
    timeouts: struct({ request: duration.optional(), backendRequest: duration.optional() }, []).optional(),
    retry: struct(
      {
        codes: z.array(z.int().min(400).max(599)).default([]),
        attempts: z.int().min(1).default(1),
        backoff: duration.optional(),
      },
      [],
    ).optional(),
  },
  [],
);

export const httpRoute = requestRoute(rule);

export type HttpRouteObject = z.output<typeof httpRoute>;
export type HttpRouteRule = z.output<typeof rule>;
export type HttpRouteFilter = z.output<typeof filter>;
export type HttpRouteMatch = z.output<typeof match>;
