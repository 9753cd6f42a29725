/**
 * VirtualService, networking.istio.io (and culvert.dev/v1): how the requests to hosts are routed, the first rule that fits.
 *
 * This is the shape only; what it comes to is control/build-virtual-service.ts. What is for gateways at the edge of a mesh
 * is part of the shape and not followed.
 */
import * as z from 'zod';
import { goDuration, positiveDuration } from './durations.ts';
import { dnsLabel, dnsSubdomain, labelValue, metadata, qualifiedName } from './metadata.ts';
import { headerName } from './route-parts.ts';
import { portNumber } from './struct.ts';

const text = z.string().min(1).max(1024);
const anyText = z.string().max(4096);
const host = z.string().min(1).max(253);

/** Exactly one of its members; of a header, none means that it is there. */
const stringMatch = z.strictObject({
  exact: anyText.describe('The whole value.').optional(),
  prefix: anyText.describe('The beginning of the value.').optional(),
  regex: anyText.describe('An expression that fits the whole value.').optional(),
});

const headerValue = anyText.regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'a header value has no control characters');
const headerSet = z.record(headerName, headerValue).meta({ maxProperties: 64 });
const headerChange = z.strictObject({
  set: headerSet.describe('In place of every value a header has.').optional(),
  add: headerSet.describe('One value more.').optional(),
  remove: z.array(headerName).max(64).describe('Without these.').optional(),
});
const headers = z
  .strictObject({
    request: headerChange.describe('Of requests.').optional(),
    response: headerChange.describe('Of responses.').optional(),
  })
  .describe('Changes of headers.')
  .optional();

const destination = z.strictObject({
  host: host.describe('Name of a Service: short, or with its namespace.'),
  subset: text.describe('Of a DestinationRule.').optional(),
  port: z.strictObject({ number: portNumber.describe('Of the Service.') }).optional(),
});

const percentage = z.strictObject({ value: z.number().min(0).max(100).describe('Percent.') });

const httpMatch = z.strictObject({
  name: anyText.describe('For people.').optional(),
  uri: stringMatch.describe('The path.').optional(),
  scheme: stringMatch.describe('http or https.').optional(),
  method: stringMatch.describe('GET and the like.').optional(),
  authority: stringMatch.describe('The host that is asked for.').optional(),
  headers: z.record(headerName, stringMatch).describe('All of them.').meta({ maxProperties: 64 }).optional(),
  withoutHeaders: z
    .record(headerName, stringMatch)
    .describe('None of them.')
    .meta({ maxProperties: 64 })
    .optional(),
  queryParams: z.record(text, stringMatch).describe('All of them.').meta({ maxProperties: 64 }).optional(),
  ignoreUriCase: z.boolean().describe('Whether the case of the path says nothing.').optional(),
  port: portNumber.describe('Port of the Service.').optional(),
  sourceNamespace: dnsLabel.describe('Namespace of the client.').optional(),
  sourceLabels: z
    .record(qualifiedName, labelValue)
    .describe('Labels of the client.')
    .meta({ maxProperties: 64 })
    .optional(),
  gateways: z.array(text).max(64).describe('`mesh` is this mesh.').optional(),
  statPrefix: anyText.describe('Not looked at.').optional(),
});

const mirror = z.strictObject({ destination, percentage: percentage.optional() });

const corsPolicy = z.strictObject({
  allowOrigin: z.array(text).max(64).describe('Deprecated form of allowOrigins.').optional(),
  allowOrigins: z.array(stringMatch).max(64).describe('Whose pages may ask.').optional(),
  allowMethods: z.array(text).max(64).describe('With which methods.').optional(),
  allowHeaders: z.array(text).max(64).describe('With which headers.').optional(),
  exposeHeaders: z.array(text).max(64).describe('Which headers they see.').optional(),
  maxAge: goDuration.describe('How long an answer holds.').optional(),
  allowCredentials: z.boolean().describe('Whether with cookies.').optional(),
  unmatchedPreflights: z.enum(['UNSPECIFIED', 'FORWARD', 'IGNORE']).describe('Not looked at.').optional(),
});

const fault = z.strictObject({
  delay: z
    .strictObject({
      fixedDelay: positiveDuration.describe('How long.').optional(),
      percentage: percentage.optional(),
      percent: z.int().min(0).max(100).describe('Deprecated form of percentage.').optional(),
    })
    .describe('Requests that wait.')
    .optional(),
  abort: z
    .strictObject({
      httpStatus: z.int().min(200).max(599).describe('What is answered.').optional(),
      grpcStatus: text.describe('The same for gRPC: a number, or a name such as UNAVAILABLE.').optional(),
      percentage: percentage.optional(),
    })
    .describe('Requests that fail.')
    .optional(),
});

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function isRedirect(status: number): boolean {
  return redirects.has(status);
}

const http = z.strictObject({
  name: anyText.describe('For people.').optional(),
  match: z.array(httpMatch).max(64).describe('Any of them; without it, everything.').optional(),
  route: z
    .array(z.strictObject({ destination, weight: z.int().min(0).optional(), headers }))
    .max(64)
    .describe('Where requests go, by weight.')
    .optional(),
  redirect: z
    .strictObject({
      uri: anyText.describe('The path.').optional(),
      authority: text.describe('The host.').optional(),
      port: portNumber.describe('The port.').optional(),
      derivePort: z.enum(['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT']).describe('Which port.').optional(),
      scheme: z.enum(['http', 'https']).describe('The scheme.').optional(),
      redirectCode: z
        .int()
        .min(301)
        .max(308)
        .refine(isRedirect, 'a redirect is 301, 302, 303, 307 or 308')
        .describe('The status.')
        .optional(),
    })
    .describe('An answer that sends clients elsewhere.')
    .optional(),
  directResponse: z
    .strictObject({
      status: z.int().min(200).max(599).describe('The status.'),
      body: z
        .strictObject({
          string: z.string().max(65_536).describe('As text.').optional(),
          bytes: z
            .string()
            .regex(/^[A-Za-z0-9+/]*={0,2}$/, 'bytes are written in base64')
            .max(65_536)
            .describe('As base64.')
            .optional(),
        })
        .describe('The body.')
        .optional(),
    })
    .describe('An answer without asking anybody.')
    .optional(),
  delegate: z
    .strictObject({ name: dnsSubdomain, namespace: dnsLabel.optional() })
    .describe('Another VirtualService, without hosts, whose rules stand here.')
    .optional(),
  rewrite: z
    .strictObject({
      uri: anyText.describe('In place of the path, or of the prefix that was matched.').optional(),
      authority: text.describe('In place of the host.').optional(),
      uriRegexRewrite: z
        .strictObject({
          match: text.describe('An expression.'),
          rewrite: anyText.describe('`\\1` is its first group.'),
        })
        .describe('What of the path an expression fits.')
        .optional(),
    })
    .describe('What endpoints see.')
    .optional(),
  timeout: goDuration.describe('Of the whole; 0s: none.').optional(),
  retries: z
    .strictObject({
      attempts: z.int().min(0).max(100).describe('Tries after the first; 0: none.').optional(),
      perTryTimeout: goDuration.describe('Of one try.').optional(),
      retryOn: anyText.describe('Conditions, with commas between them.').optional(),
      retryRemoteLocalities: z.boolean().describe('Whether other localities may be chosen.').optional(),
      retryIgnorePreviousHosts: z.boolean().describe('Other endpoints always come first.').optional(),
      backoff: positiveDuration.describe('Least pause.').optional(),
    })
    .describe('Further tries.')
    .optional(),
  fault: fault.describe('Failures, for tests.').optional(),
  mirror: destination.describe('Gets a copy.').optional(),
  mirrors: z.array(mirror).max(16).describe('Get copies.').optional(),
  mirrorPercentage: percentage.optional(),
  mirrorPercent: z.int().min(0).max(100).describe('Deprecated form of mirrorPercentage.').optional(),
  corsPolicy: corsPolicy.describe('Requests of pages of other origins.').optional(),
  headers,
});

/** Of connections that are carried as they are. */
const connections = z.strictObject({
  match: z
    .array(
      z.strictObject({
        sniHosts: z.array(text).max(64).describe('Names that clients of TLS ask for.').optional(),
        destinationSubnets: z.array(text).max(64).describe('Addresses that are asked.').optional(),
        port: portNumber.describe('Port of the Service.').optional(),
        sourceLabels: z
          .record(qualifiedName, labelValue)
          .describe('Labels of the client.')
          .meta({ maxProperties: 64 })
          .optional(),
        sourceNamespace: dnsLabel.describe('Namespace of the client.').optional(),
        gateways: z.array(text).max(64).describe('`mesh` is this mesh.').optional(),
      }),
    )
    .max(64)
    .describe('Any of them.')
    .optional(),
  route: z
    .array(z.strictObject({ destination, weight: z.int().min(0).optional() }))
    .max(64)
    .describe('Where connections go, by weight.')
    .optional(),
});

export const virtualServiceSpec = z.strictObject({
  hosts: z.array(host).max(64).describe('Services; none: only others delegate to it.').optional(),
  gateways: z.array(text).max(64).describe('`mesh`, the default, is this mesh.').optional(),
  exportTo: z.array(text).max(64).describe('Namespaces of the clients; `.` is its own, `*` all.').optional(),
  http: z.array(http).max(512).describe('Rules for requests, in their order.').optional(),
  tls: z.array(connections).max(512).describe('Rules for TLS, by the name that clients ask for.').optional(),
  tcp: z.array(connections).max(512).describe('Rules for other connections, in their order.').optional(),
});

export const virtualService = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: virtualServiceSpec.prefault({}),
  status: z.unknown().optional(),
});

export type VirtualService = z.output<typeof virtualService>;
export type VirtualServiceHttp = z.output<typeof http>;
export type VirtualServiceMatch = z.output<typeof httpMatch>;
export type VirtualServiceConnections = z.output<typeof connections>;
export type VirtualServiceDestination = z.output<typeof destination>;
export type StringMatch = z.output<typeof stringMatch>;
