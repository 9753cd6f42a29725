/** How much a DestinationRule has asked of endpoints, and which of them it has left out for a while. */
import * as z from 'zod';
import { goDuration, positiveDuration } from './durations.ts';
import { uint32 } from './destination-values.ts';

export const connectionPool = z.strictObject({
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

export const outlierDetection = z.strictObject({
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
