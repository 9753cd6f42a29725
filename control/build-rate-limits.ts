/** From RateLimit and FaultInjection to what waypoints do. Pure. */
import type { HttpFault } from '../model/http-route.ts';
import { goDurationMs } from '../model/kinds/durations.ts';
import { grpcStatusNumbers } from '../model/kinds/fault-injection.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { RateKey, RateLimit } from '../model/rate-limit.ts';
import { type Located, objectName } from './located.ts';

export function rateLimitOf(
  object: Located<'RateLimit'>,
  { clusterDomain }: Pick<MeshConfig, 'clusterDomain'>,
): RateLimit {
  const { local = [], global } = object.value.spec;
  return {
    name: objectName(object),
    local: local.map(({ requests, per, burst = requests, by = [], maxKeys }) => ({
      requests,
      perMs: goDurationMs(per),
      burst,
      by: by.map(keyOf),
      maxKeys,
    })),
    global:
      global === undefined
        ? null
        : {
            service: serviceKeyOf(global.service, object.namespace, clusterDomain),
            port: global.service.port,
            domain: global.domain,
            descriptors: global.descriptors.map(({ entries }) =>
              entries.map(({ key, ...part }) => ({ key, value: keyOf(part) })),
            ),
            timeoutMs: goDurationMs(global.timeout),
            failClosed: global.failureMode === 'Deny',
          },
  };
}

function serviceKeyOf(
  { name, namespace }: { readonly name: string; readonly namespace?: string | undefined },
  own: string,
  clusterDomain: string,
): string {
  const where = namespace ?? own;
  return `${where}/${name}.${where}.svc.${clusterDomain}`;
}

interface Part {
  readonly type: 'Header' | 'Identity' | 'Namespace' | 'Address' | 'Method' | 'Path' | 'Host' | 'Constant';
  readonly name?: string | undefined;
  readonly value?: string | undefined;
}

const simple = {
  Identity: 'identity',
  Namespace: 'namespace',
  Address: 'address',
  Method: 'method',
  Path: 'path',
  Host: 'host',
} as const;

function keyOf({ type, name = '', value = '' }: Part): RateKey {
  if (type === 'Header') return { type: 'header', name: name.toLowerCase() };
  return type === 'Constant' ? { type: 'constant', value } : { type: simple[type] };
}

/** Statuses of HTTP for clients that do not speak gRPC. */
const httpStatuses: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  NOT_FOUND: 404,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  UNAUTHENTICATED: 401,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
  UNIMPLEMENTED: 501,
};

export function faultOf({ value }: Located<'FaultInjection'>): HttpFault {
  const { delay, abort } = value.spec;
  const grpc = abort?.grpcStatus;
  return {
    delay: delay === undefined ? null : { share: delay.percentage / 100, ms: goDurationMs(delay.duration) },
    abort:
      abort === undefined
        ? null
        : {
            share: abort.percentage / 100,
            status: abort.httpStatus ?? httpStatuses[grpc ?? ''] ?? 500,
            grpcStatus: grpc === undefined ? null : (grpcStatusNumbers[grpc] ?? 2),
          },
  };
}
