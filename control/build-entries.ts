/**
 * From a ServiceEntry to the services it describes, one for each host, and from its endpoints and from WorkloadEntries to
 * workloads: what the mesh reaches and no pod or Service of the cluster stands for.
 *
 * None of these has an agent, so all of them are reached in plaintext, whatever their location says.
 */
import { canonicalIp, isIpv6, parseCidr } from '../model/address.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { AllocatedAddress } from '../model/kinds/service-entry.ts';
import type { EndpointSpec } from '../model/kinds/workload-entry.ts';
import type { NetworkAddress, Service } from '../model/service.ts';
import type { Locality, Workload } from '../model/workload.ts';
import type { Labelled } from './build-labels.ts';
import { type MeshService, type ServicePort, mapping, protocolOf } from './build-services.ts';
import type { Located, Report } from './located.ts';

/** A WorkloadEntry, as selectors see it. */
export interface EntryMember extends Labelled {
  readonly entry: Located<'WorkloadEntry'>;
}

/**
 * The services of a ServiceEntry.
 * @param allocated addresses for hosts that have none
 */
export function entryServices(
  object: Located<'ServiceEntry'>,
  config: MeshConfig,
  allocated: readonly AllocatedAddress[],
  report: Report,
): MeshService[] {
  const { spec } = object.value;
  const ports = portsOf(object);
  const common = {
    name: object.name,
    namespace: object.namespace,
    addresses: addressesOf(object, config.network, report),
    ports: ports.map(port => mapping(port, Number(port.target))),
    subjectAltNames: spec.subjectAltNames ?? [],
    waypoint: null,
    loadBalancing:
      spec.resolution === 'NONE' || spec.resolution === 'DYNAMIC_DNS'
        ? ({ routingPreference: [], mode: 'PASSTHROUGH', healthPolicy: 'ONLY_HEALTHY' } as const)
        : null,
    ipFamilies: 'AUTOMATIC' as const,
    canonical: false,
    visibility: visibilityOf(object, report),
    sessionAffinityMs: null,
  };
  const services = [...new Set(spec.hosts.map(host => host.toLowerCase()))].map(hostname => {
    const key = `${object.namespace}/${hostname}`;
    const given = allocated
      .filter(({ host }) => host === hostname)
      .map(({ value: address }) => ({ network: config.network, address }));
    const service: Service = { ...common, hostname, addresses: [...common.addresses, ...given] };
    return { object, key, service, ports };
  });
  const isReached = services.some(({ service }) => service.addresses.length > 0);
  reportUseless(object, isReached, report);
  return services;
}

/** What answers for a ServiceEntry by itself: its endpoints, or with DNS its host where it names none. */
export function inlineEndpoints({ value }: Located<'ServiceEntry'>, hostname: string): EndpointSpec[] {
  const { resolution, endpoints = [], workloadSelector } = value.spec;
  if (endpoints.length > 0) return endpoints.filter(({ address }) => address !== undefined);
  const byName = resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN';
  return byName && workloadSelector === undefined && !hostname.startsWith('*') ? [{ address: hostname }] : [];
}

export function inlineUid(
  { namespace, name }: Located<'ServiceEntry'>,
  address: string,
  config: MeshConfig,
): string {
  return `${config.clusterId}/networking.istio.io/ServiceEntry/${namespace}/${name}/${address}`;
}

function entryUid(config: MeshConfig, namespace: string, name: string): string {
  return `${config.clusterId}/networking.istio.io/WorkloadEntry/${namespace}/${name}`;
}

export function entryMember(entry: Located<'WorkloadEntry'>, config: MeshConfig): EntryMember {
  const { namespace, name, value } = entry;
  const labels = { ...value.metadata.labels, ...value.spec.labels };
  return { uid: entryUid(config, namespace, name), namespace, labels, entry };
}

export interface OutsideInput {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly spec: EndpointSpec;
  readonly services: Workload['services'];
}

/** The workload of an endpoint that is described in place. */
export function outsideWorkload(input: OutsideInput, config: MeshConfig): Workload {
  const { uid, name, namespace, spec, services } = input;
  const ip = canonicalIp(spec.address ?? '');
  return {
    uid,
    name,
    namespace,
    serviceAccount: spec.serviceAccount ?? '',
    trustDomain: config.trustDomain,
    addresses: ip === null ? [] : [ip],
    hostname: ip === null ? (spec.address ?? '') : '',
    network: spec.network ?? config.network,
    node: '',
    clusterId: config.clusterId,
    tunnelProtocol: 'NONE',
    networkMode: 'STANDARD',
    status: 'HEALTHY',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadName: name,
    workloadType: 'pod',
    services,
    authorizationPolicies: [],
    waypoint: null,
    locality: localityOf(spec.locality ?? ''),
    capacity: Math.max(1, spec.weight ?? 1),
  };
}

/** The port an endpoint has for a port of a service: by name where it says, else the service's own target. */
export function endpointPort(spec: EndpointSpec, port: ServicePort): number | null {
  const named = spec.ports ?? {};
  for (const name of [port.name, String(port.target)]) {
    const own = Object.hasOwn(named, name) ? named[name] : undefined;
    if (own !== undefined) return own;
  }
  return typeof port.target === 'number' ? port.target : null;
}

function localityOf(text: string): Locality | null {
  const [region = '', zone = '', subzone = ''] = text.split('/');
  return region + zone + subzone === '' ? null : { region, zone, subzone };
}

function portsOf({ value }: Located<'ServiceEntry'>): ServicePort[] {
  const carried = (value.spec.ports ?? []).filter(({ protocol }) => protocol !== 'UDP');
  return carried.map(({ number, name, protocol, targetPort }) => ({
    name,
    port: number,
    target: targetPort ?? number,
    appProtocol: protocolOf(protocol, name, number),
  }));
}

/** Single addresses. A prefix is nobody's virtual address: what goes there passes as if nothing described it. */
function addressesOf(object: Located<'ServiceEntry'>, network: string, report: Report): NetworkAddress[] {
  const found = new Set<string>();
  for (const [index, text] of (object.value.spec.addresses ?? []).entries()) {
    const cidr = parseCidr(text);
    const isSingle = cidr !== null && cidr.length === (isIpv6(cidr.address) ? 128 : 32);
    if (cidr !== null && isSingle) found.add(cidr.address);
    else {
      const message = `${text} is a range of addresses: connections to it pass as if they were not described`;
      report(object, 'warning', 'address-range', `spec.addresses[${index}]`, message);
    }
  }
  return [...found].map(address => ({ network, address }));
}

function visibilityOf(object: Located<'ServiceEntry'>, report: Report): Service['visibility'] {
  const { exportTo = [] } = object.value.spec;
  if (exportTo.length === 0 || exportTo.includes('*')) return 'PUBLIC';
  if (exportTo.every(value => value === '.' || value === object.namespace)) return 'NAMESPACE';
  const message = 'only . (the own namespace) and * are known: every namespace sees it';
  report(object, 'warning', 'unsupported-value', 'spec.exportTo', message);
  return 'PUBLIC';
}

/** What of a ServiceEntry has no effect here. */
function reportUseless(object: Located<'ServiceEntry'>, isReached: boolean, report: Report): void {
  const { resolution, ports = [], hosts, endpoints = [], workloadSelector } = object.value.spec;
  if (resolution === 'DYNAMIC_DNS') {
    const message = 'DYNAMIC_DNS needs a waypoint, which this version can not provide: treated as NONE';
    report(object, 'warning', 'unsupported-value', 'spec.resolution', message);
  }
  for (const [index, { protocol }] of ports.entries()) {
    if (protocol !== 'UDP') continue;
    report(object, 'info', 'udp-port', `spec.ports[${index}]`, 'UDP is left alone');
  }
  for (const [index, { address }] of endpoints.entries()) {
    if (address !== undefined) continue;
    const message = 'has no address: an endpoint that only has a network needs a gateway, and none is known';
    report(object, 'warning', 'endpoint-without-address', `spec.endpoints[${index}]`, message);
  }
  const choosesEndpoints =
    resolution === 'STATIC' || resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN';
  if (choosesEndpoints && !isReached) {
    const has = endpoints.length > 0 || workloadSelector !== undefined;
    if (!has) return;
    const message = `has no addresses: clients of ${hosts[0] ?? 'it'} go where DNS leads them, not to its endpoints`;
    report(object, 'warning', 'service-without-address', 'spec.addresses', message);
  }
}
