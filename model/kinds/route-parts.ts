/**
 * What the routes of Gateway API share: parents, backends, the filters that HTTP and gRPC have both, durations.
 *
 * Members that are read here and can not be done are refused by name in control/build-routes.ts: a route is never in
 * force in part without anybody being told.
 */
import * as z from 'zod';
import { dnsLabel, dnsSubdomain, metadata } from './metadata.ts';
import { portNumber, struct } from './struct.ts';

/** Where a route is bound to. Without `kind` a Gateway, as Gateway API has it. */
export const parentRef = struct(
  {
    group: z.string().default('gateway.networking.k8s.io'),
    kind: z.string().default('Gateway'),
    namespace: dnsLabel.optional(),
    name: dnsSubdomain,
    sectionName: dnsSubdomain.optional(),
    port: portNumber.optional(),
  },
  [],
);

/** The members of a reference to a backend. */
export const backendReference = {
  group: z.string().default(''),
  kind: z.string().default('Service'),
  namespace: dnsLabel.optional(),
  name: dnsSubdomain,
  port: portNumber.optional(),
};

const backendRef = struct(backendReference, []);

/** Name of a header (RFC 9110 token); in lower case, since its case says nothing. */
export const headerName = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, "a header name has letters, digits and !#$%&'*+-.^_`|~ only")
  .transform(name => name.toLowerCase());

/** Value of a header: no line breaks or other control characters, which would make it two. */
const headerValue = z
  .string()
  .max(4096)
  .regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'a header value has no control characters');

const header = struct({ name: headerName, value: headerValue }, []);

export const headerFilter = struct(
  {
    set: z.array(header).max(16).default([]),
    add: z.array(header).max(16).default([]),
    remove: z.array(headerName).max(16).default([]),
  },
  [],
);

export const mirrorFilter = struct(
  {
    backendRef,
    percent: z.int().min(0).max(100).optional(),
    fraction: struct({ numerator: z.int().min(0), denominator: z.int().min(1).default(100) }, []).optional(),
  },
  [],
);

/** A filter that is an object of its own, of the namespace of the route. */
export const extensionRef = struct({ group: z.string(), kind: z.string(), name: dnsSubdomain }, []);

/** A condition on a header or query parameter. A type that nobody knows is refused with its route. */
export function valueMatch(name: z.ZodType<string>) {
  return struct(
    {
      type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
      name,
      value: z.string().max(4096),
    },
    [],
  );
}

/** The members of a backendRef of a rule, with the filters of its kind of route. */
function weighted<Filter extends z.ZodType>(filter: Filter) {
  return struct(
    {
      ...backendReference,
      weight: z.int().min(0).max(1_000_000).default(1),
      filters: z.array(filter).max(16).default([]),
    },
    [],
  );
}

/** A duration of Gateway API (GEP-2257): `1h30m`, `500ms`. */
export const duration = z
  .string()
  .regex(/^(\d{1,5}(h|m|s|ms)){1,4}$/, 'a duration is up to four numbers with h, m, s or ms, such as 1m30s');

const lifetimeType = z.enum(['Session', 'Permanent']).default('Session');
const cookieName = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, "a name has letters, digits and !#$%&'*+-.^_`|~ only");

/** In each of the shapes it has had: with `type` and `sessionName`, and with `cookie` or `header`. */
const sessionPersistence = struct(
  {
    sessionName: cookieName.optional(),
    absoluteTimeout: duration.optional(),
    idleTimeout: duration.optional(),
    type: z.enum(['Cookie', 'Header']).optional(),
    cookieConfig: struct({ lifetimeType }, []).optional(),
    cookie: struct(
      {
        name: cookieName.optional(),
        path: z
          .string()
          .max(1024)
          .regex(/^\/[^;\s]*$/, 'a path of a cookie begins with / and has no ; or blank')
          .default('/'),
        lifetimeType,
      },
      [],
    ).optional(),
    header: struct({ name: cookieName.optional() }, []).optional(),
  },
  [],
)
  .refine(({ cookie, header }) => cookie === undefined || header === undefined, {
    message: 'cookie and header exclude each other',
    path: ['header'],
  })
  .refine(
    ({ absoluteTimeout, cookieConfig, cookie }) =>
      absoluteTimeout !== undefined || (cookie ?? cookieConfig)?.lifetimeType !== 'Permanent',
    { message: 'a permanent cookie needs an absoluteTimeout', path: ['absoluteTimeout'] },
  );

/** What every rule about requests has. */
export function requestRule<Match extends z.ZodType, Filter extends z.ZodType>(match: Match, filter: Filter) {
  return {
    name: dnsSubdomain.optional(),
    matches: z.array(match).max(64).default([]),
    filters: z.array(filter).max(16).default([]),
    backendRefs: z.array(weighted(filter)).max(16).default([]),
    sessionPersistence: sessionPersistence.optional(),
  };
}

/** A kind of route whose rules are about requests. */
export function requestRoute<Rule extends z.ZodType>(rule: Rule) {
  const spec = struct(
    {
      parentRefs: z.array(parentRef).max(32).default([]),
      hostnames: z.array(z.string().max(253)).max(16).default([]),
      rules: z.array(rule).max(16).default([]),
    },
    ['useDefaultGateways'],
  );
  return struct({ metadata: metadata(dnsSubdomain), spec }, ['apiVersion', 'kind', 'status']);
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Milliseconds of a duration. */
export function routeDurationMs(text: string): number {
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)(ms|h|m|s)/g))
    sum += Number(amount) * (unitMs[unit ?? ''] ?? 0);
  return sum;
}

export type ParentRef = z.output<typeof parentRef>;
export type BackendRef = z.output<typeof backendRef>;
export type SessionPersistence = z.output<typeof sessionPersistence>;
