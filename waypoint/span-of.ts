/**
 * One request that is over as a span of OTLP: kind SERVER, with the attributes of OpenTelemetry's conventions for HTTP
 * (https://opentelemetry.io/docs/specs/semconv/http/) and those by which meshes name who talked to whom.
 */
import { headerOf, hostOf } from '../model/http-head.ts';
import { ruleName } from '../model/http-route.ts';
import type { SpanTag } from '../model/telemetry.ts';
import type { RequestRecord } from './access-log.ts';
import { flagOf } from './metrics-labels.ts';

/** Which span a request is; null where it is none. */
export interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  /** Null where the trace begins here. */
  readonly parentId: string | null;
  readonly traceState: string;
}

export interface WireSpan {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly traceState: string;
  readonly parentSpanId: Buffer;
  readonly name: string;
  readonly kind: number;
  /** Nanoseconds; exact to a microsecond. */
  readonly startTimeUnixNano: number;
  readonly endTimeUnixNano: number;
  readonly attributes: readonly WireAttribute[];
  readonly status: { readonly code: number; readonly message: string };
}

export interface WireAttribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number };
}

const server = 2;
const statusError = 2;

/** @param endedAt milliseconds since the epoch */
export function spanOf(
  record: RequestRecord,
  context: SpanContext,
  tags: readonly SpanTag[],
  endedAt: number,
): WireSpan {
  const { head, destination, client, way, hit, error, status, grpcStatus } = record;
  const service = destination.kind === 'service' ? destination.service : null;
  const values: readonly (readonly [string, string | number | null | undefined])[] = [
    ['http.request.method', head.method],
    ['url.scheme', head.scheme],
    ['url.path', head.path],
    ['url.query', head.query],
    ['server.address', hostOf(head.authority)],
    ['server.port', destination.port],
    ['client.address', client.address],
    ['user_agent.original', headerOf(head.headers, 'user-agent')],
    ['network.protocol.version', record.version === 2 ? '2' : '1.1'],
    ['http.response.status_code', status === 0 ? null : status],
    ['http.request.body.size', record.up],
    ['http.response.body.size', record.down],
    ['http.request.resend_count', record.attempts > 1 ? record.attempts - 1 : null],
    ['rpc.grpc.status_code', grpcStatus === null || grpcStatus === '' ? null : Number(grpcStatus)],
    ['http.request.header.x-request-id', record.requestId],
    ['http.route', hit === null ? null : ruleName(hit.route, hit.index)],
    ['error.type', error?.code ?? (status >= 500 ? String(status) : null)],
    ['response_flags', flagOf(error?.code ?? null)],
    ['network.peer.address', way?.address],
    ['network.peer.port', way?.port],
    ['source.principal', client.identity],
    ['source.namespace', client.namespace],
    ['source.workload', client.workload?.workloadName],
    ['destination.service', service?.hostname],
    ['destination.namespace', way?.workload.namespace],
    ['destination.workload', way?.workload.workloadName],
    ['destination.principal', way?.identities?.[0]],
    ...tags.map(tag => [tag.name, valueOf(tag, record)] as const),
  ];
  const isFailed = status >= 500 || status === 0;
  return {
    traceId: Buffer.from(context.traceId, 'hex'),
    spanId: Buffer.from(context.spanId, 'hex'),
    traceState: context.traceState,
    parentSpanId: Buffer.from(context.parentId ?? '', 'hex'),
    name: `${head.method} ${service?.hostname ?? destination.address}`,
    kind: server,
    startTimeUnixNano: Math.round((endedAt - record.ms) * 1_000) * 1_000,
    endTimeUnixNano: Math.round(endedAt * 1_000) * 1_000,
    attributes: values.flatMap(([key, value]) => attribute(key, value)),
    status: isFailed ? { code: statusError, message: error?.message ?? '' } : { code: 0, message: '' },
  };
}

export function attribute(key: string, value: string | number | null | undefined): WireAttribute[] {
  if (value === null || value === undefined || value === '') return [];
  return [{ key, value: typeof value === 'number' ? { intValue: value } : { stringValue: value } }];
}

function valueOf({ from, value, fallback }: SpanTag, { head }: RequestRecord): string | null {
  if (from === 'literal') return value;
  return (from === 'header' ? headerOf(head.headers, value) : process.env[value]) ?? fallback;
}
