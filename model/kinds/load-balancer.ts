/** How a DestinationRule has an endpoint chosen: `loadBalancer`, of the whole, a port or a subset. */
import * as z from 'zod';
import { goDuration, positiveDuration } from './durations.ts';
import { percent, text, uint32 } from './destination-values.ts';

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

export const loadBalancer = z
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
