/** From a provider of MeshConfig to what a waypoint asks; part of every CUSTOM policy that names it. */
import type { Authorizer } from '../model/authorizer.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };

/** Null where there is no provider of the name. */
export function authorizerOf(
  { extensionProviders, clusterDomain }: MeshConfig,
  name: string,
): Authorizer | null {
  const provider = extensionProviders.find(one => one.name === name);
  const given = provider?.envoyExtAuthzGrpc ?? provider?.envoyExtAuthzHttp;
  if (provider === undefined || given === undefined) return null;
  const { envoyExtAuthzHttp: http } = provider;
  const { service, port, timeout, failOpen, statusOnError, includeRequestBodyInCheck: body } = given;
  return {
    name,
    protocol: http === undefined ? 'grpc' : 'http',
    service: serviceKeyOf(service, clusterDomain),
    port,
    timeoutMs: durationMs(timeout),
    failOpen,
    statusOnError: Number(statusOnError),
    body:
      body === undefined
        ? null
        : { maxBytes: body.maxRequestBytes, partial: body.allowPartialMessage, asBytes: body.packAsBytes },
    pathPrefix: http?.pathPrefix ?? '',
    requestHeaders: http?.includeRequestHeadersInCheck ?? [],
    addedHeaders: Object.entries(http?.includeAdditionalHeadersInCheck ?? {}),
    toUpstream: http?.headersToUpstreamOnAllow ?? [],
    toDownstreamOnAllow: http?.headersToDownstreamOnAllow ?? [],
    toDownstreamOnDeny: http?.headersToDownstreamOnDeny ?? [],
  };
}

/** `host`, or `namespace/host`; a Service of Kubernetes by as much of its name as says which it is. */
function serviceKeyOf(text: string, clusterDomain: string): string {
  const slash = text.indexOf('/');
  const host = text.slice(slash + 1);
  const [name = '', second = ''] = host.split('.');
  const namespace = slash < 0 ? second : text.slice(0, slash);
  const full = `${name}.${second}.svc.${clusterDomain}`;
  return `${namespace}/${second === namespace && full.startsWith(host) ? full : host}`;
}

function durationMs(text: string): number {
  const [, count = '0', unit = 's'] = /^([0-9.]+)(ms|s|m)$/.exec(text) ?? [];
  return Math.max(1, Math.round(Number(count) * (unitMs[unit] ?? 0)));
}
