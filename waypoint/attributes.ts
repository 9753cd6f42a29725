/** The attributes of a request that is over, as expressions of Telemetry ask for them. */
import type { Attributes } from '../model/expression.ts';
import { hostOf } from '../model/http-head.ts';
import { ruleName } from '../model/http-route.ts';
import type { RequestRecord } from './access-log.ts';
import { flagOf } from './metrics-labels.ts';

export function attributesOf(record: RequestRecord): Attributes {
  const { head, client, destination, way, hit, error } = record;
  const headers: Record<string, string> = {};
  for (let at = 0; at < head.headers.length; at += 2) {
    const name = (head.headers[at] ?? '').toLowerCase();
    const value = head.headers[at + 1] ?? '';
    const known = headers[name];
    headers[name] = known === undefined ? value : `${known},${value}`;
  }
  const service = destination.kind === 'service' ? destination.service : null;
  const workload = way?.workload ?? (destination.kind === 'workload' ? destination.workload : null);
  return {
    request: {
      method: head.method,
      host: hostOf(head.authority),
      path: head.query === null ? head.path : `${head.path}?${head.query}`,
      url_path: head.path,
      query: head.query ?? '',
      scheme: head.scheme,
      protocol: record.version === 2 ? 'HTTP/2' : 'HTTP/1.1',
      id: record.requestId,
      useragent: headers['user-agent'] ?? '',
      size: BigInt(record.up),
      headers,
    },
    response: {
      code: BigInt(record.status),
      grpc_status: BigInt(/^\d+$/.test(record.grpcStatus ?? '') ? Number(record.grpcStatus) : -1),
      size: BigInt(record.down),
      flags: flagOf(error?.code ?? null),
    },
    source: {
      address: client.address,
      principal: client.identity,
      namespace: client.namespace,
      workload: client.workload?.workloadName ?? '',
    },
    destination: {
      service: service?.hostname ?? '',
      port: BigInt(destination.port),
      namespace: workload?.namespace ?? service?.namespace ?? '',
      workload: workload?.workloadName ?? '',
    },
    duration: BigInt(Math.round(record.ms)),
    route: hit === null ? '' : ruleName(hit.route, hit.index),
  };
}
