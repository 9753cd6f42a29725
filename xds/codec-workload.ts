/**
 * A workload as `istio.workload.Workload`, and back.
 *
 * Fields that are empty on the wire mean what the public API says they mean. Values unknown here become those that keep
 * a connection encrypted and its peer's identity checked: a workload that is dropped would be reached in plain text.
 */
import { formatSpiffeId, parseSpiffeId } from '../model/identity.ts';
import type { Locality, Workload } from '../model/workload.ts';
import type { Sparse } from '../proto/load.ts';
import type { WirePortList, WireWorkload } from '../proto/messages.ts';
import { choice, gatewayFromWire, gatewayToWire, ipFromWire, ipToWire } from './codec-values.ts';
import { portsFromWire, portToWire } from './codec-values.ts';
import { Pool, sharedList, sharedText } from './sharing.ts';

/** What empty fields mean. */
export const workloadDefaults = {
  trustDomain: 'cluster.local',
  serviceAccount: 'default',
  clusterId: 'Kubernetes',
  capacity: 1,
} as const;

const tunnelProtocols = choice<Workload['tunnelProtocol']>('istio.workload.TunnelProtocol', [
  'NONE',
  'HBONE',
]);
const networkModes = choice<Workload['networkMode']>('istio.workload.NetworkMode', [
  'STANDARD',
  'HOST_NETWORK',
]);
const statuses = choice<Workload['status']>('istio.workload.WorkloadStatus', ['HEALTHY', 'UNHEALTHY']);
const types = choice<Workload['workloadType']>(
  'istio.workload.WorkloadType',
  ['deployment', 'cronjob', 'pod', 'job'],
  name => name.toUpperCase(),
);

export function workloadToWire(workload: Workload): Sparse<WireWorkload> {
  const { trustDomain, serviceAccount, clusterId, capacity } = workload;
  return {
    ...workload,
    addresses: workload.addresses.map(ipToWire),
    trustDomain: trustDomain === workloadDefaults.trustDomain ? '' : trustDomain,
    serviceAccount: serviceAccount === workloadDefaults.serviceAccount ? '' : serviceAccount,
    clusterId: clusterId === workloadDefaults.clusterId ? '' : clusterId,
    capacity: capacity === workloadDefaults.capacity ? null : { value: capacity },
    tunnelProtocol: tunnelProtocols.toWire(workload.tunnelProtocol),
    networkMode: networkModes.toWire(workload.networkMode),
    status: statuses.toWire(workload.status),
    workloadType: types.toWire(workload.workloadType),
    services: Object.fromEntries(
      Object.entries(workload.services).map(([key, ports]) => [key, { ports: ports.map(portToWire) }]),
    ),
    waypoint: workload.waypoint === null ? null : gatewayToWire(workload.waypoint),
  };
}

export function workloadFromWire(wire: WireWorkload, problems: string[]): Workload {
  const identity = {
    trustDomain: sharedText(wire.trustDomain) || workloadDefaults.trustDomain,
    namespace: sharedText(wire.namespace),
    serviceAccount: sharedText(wire.serviceAccount) || workloadDefaults.serviceAccount,
  };
  // Nobody can prove such a one, so nobody is taken for this workload.
  const uri = formatSpiffeId(identity);
  if (parseSpiffeId(uri) === null) problems.push(`${JSON.stringify(uri)}, which no certificate can name`);
  return {
    uid: wire.uid,
    name: wire.name,
    ...identity,
    addresses: addressesFromWire(wire.addresses, problems),
    hostname: wire.hostname,
    network: sharedText(wire.network),
    node: sharedText(wire.node),
    clusterId: sharedText(wire.clusterId) || workloadDefaults.clusterId,
    // Anything but NONE promises a tunnel, and no tunnel of ours opens to a peer that does not prove itself.
    tunnelProtocol: tunnelProtocols.fromWire(wire.tunnelProtocol) ?? 'HBONE',
    // Found by its address, it is reached through a tunnel or not at all.
    networkMode: networkModes.fromWire(wire.networkMode) ?? 'STANDARD',
    status: statuses.fromWire(wire.status) ?? 'UNHEALTHY',
    canonicalName: sharedText(wire.canonicalName),
    canonicalRevision: sharedText(wire.canonicalRevision),
    workloadName: sharedText(wire.workloadName),
    workloadType: types.fromWire(wire.workloadType) ?? 'pod',
    services: servicesFromWire(wire.services, problems),
    authorizationPolicies: sharedList(wire.authorizationPolicies),
    waypoint: wire.waypoint === null ? null : gatewayFromWire(wire.waypoint, problems),
    locality: wire.locality === null ? null : localityFromWire(wire.locality),
    capacity: wire.capacity === null ? workloadDefaults.capacity : wire.capacity.value,
  };
}

function addressesFromWire(wire: readonly Buffer[], problems: string[]): readonly string[] {
  return wire.flatMap(bytes => {
    const ip = ipFromWire(bytes);
    if (ip === null) problems.push(`an address of ${bytes.length} bytes`);
    return ip === null ? [] : [ip];
  });
}

type Services = Workload['services'];

const memberships = new Pool<Services>();

/** The pods of one deployment share one object. */
function servicesFromWire(wire: Readonly<Record<string, WirePortList>>, problems: string[]): Services {
  const entries: [string, Services[string]][] = [];
  for (const [key, { ports }] of Object.entries(wire)) {
    if (key.includes('/')) entries.push([sharedText(key), portsFromWire(ports, problems)]);
    else problems.push(`${JSON.stringify(key)} among its services`);
  }
  const key = entries.map(([name, ports]) => `${name} ${JSON.stringify(ports)}`).join('\n');
  return memberships.share(key, () => Object.fromEntries(entries));
}

const localities = new Pool<Locality>();

function localityFromWire({ region, zone, subzone }: Locality): Locality {
  return localities.share([region, zone, subzone].join('\n'), () => ({ region, zone, subzone }));
}
