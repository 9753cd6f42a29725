/**
 * One line for each request, and for each connection that was carried as it is: who asked whom for what, by which rule, how
 * often it was tried, and what came of it. JSON, or text of `name=value`, with the fields that MeshConfig chooses. Field names are those of the agents' lines where both have them.
 */
import { LineFile, type LineFileOptions } from '../base/line-file.ts';
import type { CulvertError } from '../base/errors.ts';
import { formatHostPort } from '../model/address.ts';
import type { HttpHead } from '../model/http-head.ts';
import type { HttpDecision } from '../model/http-policy.ts';
import type { RouteHit } from '../model/http-match.ts';
import { ruleName } from '../model/http-route.ts';
import type { LineFormat } from '../model/telemetry.ts';
import type { TcpHit } from '../model/tcp-match.ts';
import { tcpRuleName } from '../model/tcp-route.ts';
import type { Way } from './balance.ts';
import type { ClientHello } from './client-hello.ts';
import type { Client, Destination } from './context.ts';

/** What is told of requests and connections both. */
export interface PassageRecord {
  readonly client: Client;
  readonly destination: Destination;
  /** Null where no endpoint was reached. */
  readonly way: Way | null;
  /** Null where no policy is about the destination. */
  readonly decision: HttpDecision | null;
  readonly error: CulvertError | null;
  /** Bytes client → server. */
  readonly up: number;
  readonly down: number;
  readonly ms: number;
}

export interface ConnectionRecord extends PassageRecord {
  /** The rule of a route of connections that it hit; null: none. */
  readonly route: TcpHit | null;
  /** Of TLS that was listened to. */
  readonly hello: ClientHello | null;
}

export interface RequestRecord extends PassageRecord {
  readonly version: 1 | 2;
  /** As the client sent it. */
  readonly head: HttpHead;
  /** Null where no route is about the service. */
  readonly hit: RouteHit | null;
  /** 0 where nothing was answered. */
  readonly status: number;
  /** Null where it is no gRPC, '' where none came. */
  readonly grpcStatus: string | null;
  readonly attempts: number;
  readonly traceId: string | null;
  readonly requestId: string;
  /** Of gRPC, from the client and from the server. */
  readonly requestMessages: number;
  readonly responseMessages: number;
}

const flushMs = 100;

export class AccessLog {
  readonly #file: LineFile;
  /** Changes with the configuration; null is JSON with everything. */
  format: LineFormat | null = null;

  /** @param path file, or null for standard output */
  constructor(path: string | null, onTrouble: NonNullable<LineFileOptions['onTrouble']>) {
    this.#file = new LineFile({ path, flushMs, onTrouble });
  }

  request(record: RequestRecord): void {
    const { head, hit, status, grpcStatus, attempts, traceId, requestId, version } = record;
    const target = head.query === null ? head.path : `${head.path}?${head.query}`;
    this.#file.write(
      line(record, 'request', this.format, {
        method: head.method,
        path: target,
        authority: head.authority,
        protocol: version === 2 ? 'HTTP/2' : 'HTTP/1.1',
        status,
        grpc_status: grpcStatus,
        route: hit === null ? null : ruleName(hit.route, hit.index),
        attempts,
        request_id: requestId,
        id: traceId,
      }),
    );
  }

  connection(record: ConnectionRecord): void {
    const { route, hello } = record;
    const more = {
      protocol: hello === null ? 'TCP' : 'TLS',
      sni: hello?.name,
      ech: hello?.isEncrypted === true ? 'offered' : null,
      route: route === null ? null : tcpRuleName(route.route, route.index),
    };
    this.#file.write(line(record, 'connection', this.format, more));
  }

  reopen(): void {
    this.#file.reopen();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

type Value = string | number | null | undefined;

function line(
  record: PassageRecord,
  what: string,
  format: LineFormat | null,
  more: Readonly<Record<string, Value>>,
): string {
  const { client, destination, way, decision, error } = record;
  const service = destination.kind === 'service' ? destination.service.hostname : null;
  const fields: Record<string, Value> = {
    level: error === null ? 'info' : 'warn',
    time: new Date().toISOString(),
    component: 'access',
    'src.addr': formatHostPort(client.address, client.port),
    'src.workload': client.workload?.name,
    'src.namespace': client.workload?.namespace,
    'src.identity': client.identity,
    'dst.addr': way === null ? null : formatHostPort(way.address, way.port),
    'dst.service': service,
    'dst.backend': way?.service?.hostname === service ? null : way?.service?.hostname,
    'dst.workload': way?.workload.name,
    'dst.namespace': way?.workload.namespace,
    'dst.identity': way?.identities?.[0],
    direction: 'waypoint',
    security: way?.identities === null ? (way.tls === null ? 'plaintext' : 'tls') : 'mutual_tls',
    ...more,
    bytes_sent: record.down,
    bytes_recv: record.up,
    duration: `${Math.round(record.ms * 1000) / 1000}ms`,
    policy: decision?.policy,
    rule: decision?.rule,
    reason: decision?.reason,
    code: error?.code,
    error: error?.message,
    side: error?.side,
    fix: error?.fix,
    msg: `${what} ${error === null ? 'complete' : 'failed'}`,
  };
  const chosen = format === null || format.fields.length === 0 ? fields : choose(fields, format.fields);
  return format?.encoding === 'text' ? textOf(chosen) : jsonOf(chosen);
}

/** Fields without a value are left out. (A function that JSON.stringify asks about each of them takes half as long again.) */
function jsonOf(fields: Record<string, Value>): string {
  for (const name in fields) if (fields[name] === null) fields[name] = undefined;
  return `${JSON.stringify(fields)}\n`;
}

/** `name=value`, quoted as JSON where a reader could not tell where the value ends. */
function textOf(fields: Readonly<Record<string, Value>>): string {
  const parts = Object.entries(fields).flatMap(([name, value]) => {
    if (value === null || value === undefined) return [];
    const text = String(value);
    return [`${name}=${/^[\w.:/@%+*,-]+$/.test(text) ? text : JSON.stringify(text)}`];
  });
  return `${parts.join(' ')}\n`;
}

function choose(fields: Readonly<Record<string, Value>>, names: readonly string[]): Record<string, Value> {
  return Object.fromEntries(names.map(name => [name, fields[name]]));
}
