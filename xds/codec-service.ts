/**
 * A service as `istio.workload.Service`, and back.
 *
 * Session affinity is not part of the public API, so it travels as an extension that others pass over.
 */
import type { LoadBalancing, RoutingScope, Service } from '../model/service.ts';
import type { GatewayAddress } from '../model/workload.ts';
import { protocols } from '../proto/load.ts';
import type { Sparse } from '../proto/load.ts';
import type { WireExtension, WireLoadBalancing, WireService } from '../proto/messages.ts';
import { choice, gatewayFromWire, gatewayToWire } from './codec-values.ts';
import { networkAddressFromWire, networkAddressToWire, portsFromWire, portToWire } from './codec-values.ts';
import { sharedText } from './sharing.ts';

const affinityExtension = 'culvert.dev/session-affinity';

const scopes = choice<RoutingScope>('istio.workload.LoadBalancing.Scope', [
  'REGION',
  'ZONE',
  'SUBZONE',
  'NODE',
  'CLUSTER',
  'NETWORK',
]);
const modes = choice<LoadBalancing['mode']>(
  'istio.workload.LoadBalancing.Mode',
  ['UNSPECIFIED', 'STRICT', 'FAILOVER', 'PASSTHROUGH'],
  name => (name === 'UNSPECIFIED' ? 'UNSPECIFIED_MODE' : name),
);
const healthPolicies = choice<LoadBalancing['healthPolicy']>('istio.workload.LoadBalancing.HealthPolicy', [
  'ONLY_HEALTHY',
  'ALLOW_ALL',
]);
const ipFamilies = choice<Service['ipFamilies']>('istio.workload.IPFamilies', [
  'AUTOMATIC',
  'IPV4_ONLY',
  'IPV6_ONLY',
  'DUAL',
]);
const visibilities = choice<Service['visibility']>('istio.workload.Visibility', ['PUBLIC', 'NAMESPACE']);

export function serviceToWire(service: Service): Sparse<WireService> {
  const { loadBalancing, sessionAffinityMs, waypoint } = service;
  return {
    ...service,
    addresses: service.addresses.map(networkAddressToWire),
    ports: service.ports.map(portToWire),
    waypoint: waypoint === null ? null : gatewayToWire(waypoint),
    loadBalancing: loadBalancing === null ? null : loadBalancingToWire(loadBalancing),
    ipFamilies: ipFamilies.toWire(service.ipFamilies),
    visibility: visibilities.toWire(service.visibility),
    extensions: sessionAffinityMs === null ? [] : [affinityToWire(sessionAffinityMs)],
  };
}

export function serviceFromWire(wire: WireService, problems: string[]): Service {
  return {
    name: wire.name,
    namespace: sharedText(wire.namespace),
    hostname: sharedText(wire.hostname),
    addresses: wire.addresses.flatMap(address => networkAddressFromWire(address, problems) ?? []),
    ports: portsFromWire(wire.ports, problems),
    subjectAltNames: wire.subjectAltNames,
    waypoint: waypointFromWire(wire, problems),
    loadBalancing: wire.loadBalancing === null ? null : loadBalancingFromWire(wire.loadBalancing),
    ipFamilies: ipFamilies.fromWire(wire.ipFamilies) ?? 'AUTOMATIC',
    canonical: wire.canonical,
    visibility: visibilities.fromWire(wire.visibility) ?? 'PUBLIC',
    sessionAffinityMs: affinityFromWire(wire.extensions, problems),
  };
}

/** Of several waypoints among which traffic is divided this agent takes the heaviest: any is better than none. */
function waypointFromWire(wire: WireService, problems: string[]): GatewayAddress | null {
  const weighted = wire.weightedWaypoints
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight)
    .map(({ destination }) => destination);
  const chosen = wire.waypoint ?? weighted[0] ?? null;
  return chosen === null ? null : gatewayFromWire(chosen, problems);
}

function loadBalancingToWire(given: LoadBalancing): WireLoadBalancing {
  return {
    routingPreference: given.routingPreference.map(scope => scopes.toWire(scope)),
    mode: modes.toWire(given.mode),
    healthPolicy: healthPolicies.toWire(given.healthPolicy),
  };
}

function loadBalancingFromWire(wire: WireLoadBalancing): LoadBalancing {
  return {
    routingPreference: wire.routingPreference.flatMap(scope => scopes.fromWire(scope) ?? []),
    mode: modes.fromWire(wire.mode) ?? 'UNSPECIFIED',
    healthPolicy: healthPolicies.fromWire(wire.healthPolicy) ?? 'ONLY_HEALTHY',
  };
}

function affinityToWire(timeoutMs: number): WireExtension {
  const { any, sessionAffinity } = protocols;
  const typeUrl = `type.googleapis.com/${sessionAffinity.fullName}`;
  const value = sessionAffinity.encode({ timeoutMs });
  return { name: affinityExtension, config: any.encode({ typeUrl, value }) };
}

function affinityFromWire(extensions: readonly WireExtension[], problems: string[]): number | null {
  const extension = extensions.find(({ name }) => name === affinityExtension);
  if (extension === undefined) return null;
  try {
    const { value } = protocols.any.decode(extension.config);
    return protocols.sessionAffinity.decode(value).timeoutMs;
  } catch {
    problems.push(`an extension ${affinityExtension} that cannot be read`);
    return null;
  }
}
