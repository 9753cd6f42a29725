/**
 * DestinationRule, culvert.dev/v1 and networking.istio.io: how waypoints treat the endpoints of a service.
 *
 * This is the shape only; what each part comes to is control/build-traffic.ts, and which object is in force for whom
 * control/build-traffic-book.ts.
 */
import * as z from 'zod';
import { goDuration, positiveDuration } from './durations.ts';
import { dnsSubdomain, labelValue, metadata, qualifiedName, workloadSelector } from './metadata.ts';

const uint32 = z.int().min(0).max(4_294_967_295);
const percent = z.number().min(0).max(100);
const text = z.string().min(1).max(1024);

/** What is set of several things that exclude each other is one thing at most. */
function atMostOne(names: readonly string[], message: string) {
  const isOne = (value: object): boolean =>
    names.filter(name => (value as Record<string, unknown>)[name] !== undefined).length <= 1;
  const rule = `[${names.map(name => `has(self.${name})`).join(', ')}].filter(x, x).size() <= 1`;
  return { isOne, message, rules: [{ rule, message }] };
}

const hashOnce = atMostOne(
  ['httpHeaderName', 'httpCookie', 'useSourceIp', 'httpQueryParameterName'],
  'what is hashed is one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName',
);
const tableOnce = atMostOne(['ringHash', 'maglev'], 'ringHash and maglev exclude each other');
const localityOnce = atMostOne(
  ['distribute', 'failover', 'failoverPriority'],
  'distribute, failover and failoverPriority exclude each other',
);
const balanceOnce = atMostOne(['simple', 'consistentHash'], 'simple and consistentHash exclude each other');

const consistentHash = z
  .strictObject({
    httpHeaderName: text.describe('Header whose value is hashed.').optional(),
    httpCookie: z
      .strictObject({
        name: text.describe('Name of the cookie.'),
        path: z.string().max(1024).describe('Path of a cookie that is made.').optional(),
        ttl: goDuration
          .describe('A cookie is made where there is none, for so long; 0s: for a session.')
          .optional(),
        attributes: z
          .array(z.strictObject({ name: text, value: z.string().max(1024).optional() }))
          .max(16)
          .describe('Further attributes of a cookie that is made.')
          .optional(),
      })
      .describe('Cookie whose value is hashed.')
      .optional(),
    useSourceIp: z.boolean().describe('The address of the client is hashed.').optional(),
    httpQueryParameterName: text.describe('Query parameter whose value is hashed.').optional(),
    ringHash: z
      .strictObject({
        minimumRingSize: z.int().min(1).max(8_388_608).describe('Least number of points.').default(1024),
      })
      .describe('Points on a ring; the default.')
      .optional(),
    maglev: z
      .strictObject({
        tableSize: z.int().min(2).max(5_000_011).describe('Entries of the table.').default(65_537),
      })
      .describe('A table by Maglev.')
      .optional(),
    minimumRingSize: z
      .int()
      .min(0)
      .max(8_388_608)
      .describe('Deprecated: ringHash.minimumRingSize.')
      .optional(),
  })
  .refine(hashOnce.isOne, hashOnce.message)
  .refine(tableOnce.isOne, tableOnce.message)
  .meta({ 'x-kubernetes-validations': [...hashOnce.rules, ...tableOnce.rules] });

const locality = z
  .string()
  .max(253)
  .regex(/^[^/]+(\/[^/]+){0,2}$/, 'a locality is region, region/zone or region/zone/subzone, `*` at the end');

const localityLbSetting = z
  .strictObject({
    enabled: z.boolean().describe('false: no endpoint is nearer than another.').optional(),
    distribute: z
      .array(
        z.strictObject({
          from: locality.describe('Locality of the waypoint.'),
          to: z
            .record(locality, z.int().min(0).max(100))
            .describe('Percent by locality, 100 in all.')
            .meta({ maxProperties: 64 }),
        }),
      )
      .max(64)
      .refine(
        all => all.every(({ to }) => Object.values(to).reduce((sum, share) => sum + share, 0) === 100),
        'the shares of a distribution are 100 in all',
      )
      .describe('Shares of localities.')
      .optional(),
    failover: z
      .array(z.strictObject({ from: text.describe('Region.'), to: text.describe('The region after it.') }))
      .max(64)
      .describe('Which region comes after the own one.')
      .optional(),
    failoverPriority: z
      .array(text)
      .max(16)
      .describe('Labels of places: the more of them an endpoint shares with the waypoint, the sooner.')
      .optional(),
  })
  .refine(localityOnce.isOne, localityOnce.message)
  .meta({ 'x-kubernetes-validations': localityOnce.rules });

const loadBalancer = z
  .strictObject({
    simple: z
      .enum(['UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST'])
      .describe('How an endpoint is chosen; without it LEAST_REQUEST.')
      .optional(),
    consistentHash: consistentHash.describe('Requests that are alike go to the same endpoint.').optional(),
    localityLbSetting: localityLbSetting.describe('Which endpoints come first by where they are.').optional(),
    zoneAwareLbSetting: z
      .strictObject({
        minClusterSize: uint32.optional(),
        forceLocalZone: z.boolean().optional(),
        routingEnabled: percent.optional(),
      })
      .describe('Not done: localityLbSetting is.')
      .optional(),
    warmup: z
      .strictObject({
        duration: positiveDuration.describe('How long a new endpoint takes to get its whole share.'),
        minimumPercent: percent.describe('Its share in the beginning.').default(10),
        aggression: z
          .number()
          .min(1)
          .max(1_000)
          .describe('1: evenly; above: more in the beginning.')
          .default(1),
      })
      .describe('A new endpoint gets its share little by little.')
      .optional(),
    warmupDurationSecs: positiveDuration.describe('Deprecated: warmup.duration.').optional(),
  })
  .refine(balanceOnce.isOne, balanceOnce.message)
  .meta({ 'x-kubernetes-validations': balanceOnce.rules });

const connectionPool = z.strictObject({
  tcp: z
    .strictObject({
      maxConnections: uint32.describe('Connections to all endpoints together.').optional(),
      connectTimeout: positiveDuration.describe('Without it 10s.').optional(),
      tcpKeepalive: z
        .strictObject({
          probes: uint32.describe('Not done: the kernel decides.').optional(),
          time: positiveDuration.describe('Silence after which the first probe is sent.').optional(),
          interval: positiveDuration.describe('Not done: the kernel decides.').optional(),
        })
        .describe('Of connections that are in no tunnel; tunnels have probes of their own.')
        .optional(),
      maxConnectionDuration: positiveDuration.describe('A connection is closed after it.').optional(),
      idleTimeout: goDuration
        .describe('Silence after which TCP and WebSocket are closed; 0s: never.')
        .optional(),
    })
    .describe('Of all connections.')
    .optional(),
  http: z
    .strictObject({
      http1MaxPendingRequests: uint32.describe('HTTP/1.1 requests that wait for a connection.').optional(),
      http2MaxRequests: uint32.describe('Requests at a time, of both versions of HTTP.').optional(),
      maxRequestsPerConnection: uint32.describe('0: any number.').optional(),
      maxRetries: uint32.describe('Tries after the first at a time.').optional(),
      idleTimeout: goDuration.describe('How long a connection without request stays open.').optional(),
      h2UpgradePolicy: z
        .enum(['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'])
        .describe('UPGRADE: HTTP/2 to the endpoints whatever clients speak.')
        .optional(),
      useClientProtocol: z.boolean().describe('Endpoints are spoken to as the client speaks.').optional(),
      maxConcurrentStreams: uint32.describe('Requests at a time on one HTTP/2 connection.').optional(),
      http2KeepAlive: z
        .strictObject({
          interval: positiveDuration.describe('Time between pings.').optional(),
          timeout: positiveDuration.describe('How long an answer may take.').optional(),
        })
        .describe('Pings on HTTP/2 connections.')
        .optional(),
    })
    .describe('Of HTTP requests.')
    .optional(),
});

const codeRange = z.strictObject({
  start: z.int().min(100).max(599).describe('First status.'),
  end: z.int().min(100).max(599).describe('Last status.'),
});

const outlierDetection = z.strictObject({
  consecutive5xxErrors: uint32.describe('Errors in a row; 0: they do not count.').optional(),
  consecutiveGatewayErrors: uint32.describe('502, 503 and 504 in a row; 0: they do not count.').optional(),
  consecutiveErrors: z.int().min(0).describe('Deprecated: consecutiveGatewayErrors.').optional(),
  splitExternalLocalOriginErrors: z
    .boolean()
    .describe('Failures without an answer count by themselves.')
    .optional(),
  consecutiveLocalOriginFailures: uint32.describe('Such failures in a row.').optional(),
  interval: positiveDuration.describe('Good times of this length shorten the next ejection.').optional(),
  baseEjectionTime: positiveDuration.describe('Times how often the endpoint was ejected.').optional(),
  maxEjectionPercent: z
    .int()
    .min(0)
    .max(100)
    .describe('Of the endpoints; one is always possible.')
    .optional(),
  minHealthPercent: z.int().min(0).max(100).describe('With fewer healthy ones none is ejected.').optional(),
  outlierDetectionHttpErrorCodes: z
    .array(codeRange)
    .max(64)
    .describe('Statuses that are errors, instead of 5xx.')
    .optional(),
});

const path = z.string().max(1024);

const tls = z.strictObject({
  mode: z
    .enum(['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'])
    .describe(
      'SIMPLE: the endpoint proves who it is. MUTUAL: both do. ISTIO_MUTUAL: only endpoints that a tunnel leads to.',
    )
    .default('DISABLE'),
  clientCertificate: path.describe('File of the waypoint: its certificate and chain.').optional(),
  privateKey: path.describe('File of the waypoint: its key.').optional(),
  caCertificates: path
    .describe(
      'File of the waypoint: who vouches for the endpoint. Without it, and for `system`: the machine’s.',
    )
    .optional(),
  credentialName: z
    .string()
    .max(253)
    .describe('A Secret of the namespace of the rule, in place of the files: tls.crt, tls.key, ca.crt.')
    .optional(),
  subjectAltNames: z
    .array(z.string().max(2048))
    .max(256)
    .describe('Names, one of which the endpoint proves; without any, the one that is said to it.')
    .optional(),
  sni: z.string().max(253).describe('Said to the endpoint; without it the host.').optional(),
  insecureSkipVerify: z.boolean().describe('Whoever answers is believed.').optional(),
  caCrl: path.describe('File of the waypoint: certificates that are no longer valid.').optional(),
});

const port = z.strictObject({ number: z.int().min(1).max(65_535) });

const parts = {
  loadBalancer: loadBalancer.describe('How an endpoint is chosen.').optional(),
  connectionPool: connectionPool.describe('How much is asked of the endpoints.').optional(),
  outlierDetection: outlierDetection.describe('Which endpoints are left out for a while.').optional(),
  tls: tls.describe('TLS towards the endpoints.').optional(),
};

const trafficPolicy = z.strictObject({
  ...parts,
  portLevelSettings: z
    .array(z.strictObject({ port, ...parts }))
    .max(32)
    .describe('Other settings for single ports, in place of all of these.')
    .optional(),
  tunnel: z
    .strictObject({
      protocol: z.enum(['CONNECT', 'POST']).optional(),
      targetHost: text,
      targetPort: z.int().min(1).max(65_535),
    })
    .describe('Refused: not done.')
    .optional(),
  proxyProtocol: z
    .strictObject({ version: z.enum(['V1', 'V2']).optional() })
    .describe('Refused: not done.')
    .optional(),
  retryBudget: z
    .strictObject({
      percent: percent.describe('Of the requests under way that may be further tries.').default(20),
      minRetryConcurrency: uint32.describe('So many are always possible.').default(3),
      budgetInterval: goDuration.describe('Only 0s: what is under way counts.').optional(),
    })
    .describe('How many further tries there may be.')
    .optional(),
});

export const destinationRuleSpec = z.strictObject({
  host: z
    .string()
    .max(253)
    .regex(
      /^(\*|(\*\.)?[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?)$/,
      'a host is a DNS name, with *. in front at most',
    )
    .describe('The service: a host name, or the name of a Service of the same namespace.'),
  trafficPolicy: trafficPolicy.describe('For all endpoints.').optional(),
  subsets: z
    .array(
      z.strictObject({
        name: dnsSubdomain.describe('The name by which routes choose it.'),
        labels: z
          .record(qualifiedName, labelValue)
          .describe('Labels its workloads carry, all of them.')
          .meta({ maxProperties: 64 })
          .optional(),
        trafficPolicy: trafficPolicy.describe('What it says is in place of what the whole says.').optional(),
      }),
    )
    .max(64)
    .refine(
      all => new Set(all.map(({ name }) => name)).size === all.length,
      'each name of a subset is there once',
    )
    .meta({
      'x-kubernetes-validations': [
        {
          rule: 'self.all(s, self.exists_one(t, t.name == s.name))',
          message: 'each name of a subset is there once',
        },
      ],
    })
    .describe('Parts of the endpoints.')
    .optional(),
  exportTo: z
    .array(z.string().min(1).max(253))
    .max(256)
    .describe('Namespaces of the clients it is for: `.` the own one, `*` (default) all.')
    .optional(),
  workloadSelector: workloadSelector
    .describe('Not in force with it: clients have no labels here.')
    .optional(),
});

export const destinationRule = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: metadata(dnsSubdomain),
  spec: destinationRuleSpec,
  status: z.unknown().optional(),
});

export type DestinationRule = z.output<typeof destinationRule>;
export type TrafficPolicySpec = z.output<typeof trafficPolicy>;
export type PolicyParts = Omit<TrafficPolicySpec, 'portLevelSettings'>;
