/**
 * From a Kubernetes Service to the service the mesh knows: names, virtual addresses, ports, and how endpoints are chosen.
 *
 * Who its endpoints are is build-endpoints.ts. ExternalName Services are names only and are not modelled.
 */
import { firstMark, trafficDistribution } from '../model/kinds/marks.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { LoadBalancing, NetworkAddress, RoutingScope, Service } from '../model/service.ts';
import type { AppProtocol, PortMapping } from '../model/workload.ts';
import { marksField } from './build-enrolment.ts';
import type { Objects, Report } from './build-objects.ts';
import type { PodEntry } from './build-pods.ts';
import { type Located, objectName } from './located.ts';

/** A port of a Service that carries TCP. */
export interface ServicePort {
  readonly name: string;
  readonly port: number;
  /** A number, or the name of a port that each pod resolves for itself. */
  readonly target: number | string;
  readonly appProtocol: AppProtocol;
}

export interface ServiceEntry {
  readonly object: Located<'Service'>;
  /** `namespace/hostname`. */
  readonly key: string;
  readonly service: Service;
  readonly ports: readonly ServicePort[];
}

/** The services, sorted by key. */
export function serviceEntries(
  objects: Objects,
  pods: readonly PodEntry[],
  config: MeshConfig,
  report: Report,
): ServiceEntry[] {
  const entries: ServiceEntry[] = [];
  for (const object of objects.all('Service')) {
    if (object.value.spec.type === 'ExternalName') {
      const message =
        'an ExternalName Service is an alias in DNS only: the mesh sees the connection to what it names';
      report(object, 'info', 'external-name', 'spec.type', message);
      continue;
    }
    const { name, namespace } = object;
    const hostname = `${name}.${namespace}.svc.${config.clusterDomain}`;
    const ports = portsOf(object, report);
    const service: Service = {
      name,
      namespace,
      hostname,
      addresses: addressesOf(object, config.network, report),
      ports: ports.map(port => mapping(port, typeof port.target === 'number' ? port.target : 0)),
      subjectAltNames: [],
      waypoint: null,
      loadBalancing: loadBalancingOf(object, objects, report),
      ipFamilies: ipFamiliesOf(object),
      canonical: true,
      visibility: 'PUBLIC',
      sessionAffinityMs: null,
    };
    entries.push({ object, key: `${namespace}/${hostname}`, service, ports });
  }
  reportSharedAddresses(entries, pods, report);
  return entries.toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

export function mapping(port: ServicePort, targetPort: number): PortMapping {
  return { servicePort: port.port, targetPort, appProtocol: port.appProtocol };
}

function portsOf(object: Located<'Service'>, report: Report): ServicePort[] {
  const ports = new Map<number, ServicePort>();
  for (const [index, port] of object.value.spec.ports.entries()) {
    if (port.protocol !== 'TCP') continue;
    if (ports.has(port.port)) {
      const message = `TCP port ${port.port} is there twice: the first is in force`;
      report(object, 'warning', 'duplicate-port', `spec.ports[${index}].port`, message);
      continue;
    }
    const name = port.name ?? '';
    const target = port.targetPort ?? port.port;
    ports.set(port.port, {
      name,
      port: port.port,
      target,
      appProtocol: protocolOf(port.appProtocol, name, port.port),
    });
  }
  return [...ports.values()];
}

const protocols = new Map<string, AppProtocol>([
  ['http', 'HTTP11'],
  ['http2', 'HTTP2'],
  ['h2c', 'HTTP2'],
  ['ws', 'HTTP11'],
  ['grpc', 'GRPC'],
  ['grpc-web', 'HTTP11'],
  ['https', 'TLS'],
  ['wss', 'TLS'],
  ['tls', 'TLS'],
  ['tcp', 'TCP'],
  ['mongo', 'TCP'],
  ['mysql', 'TCP'],
  ['redis', 'TCP'],
]);

/** Ports on which the server speaks first: nothing may wait for the first bytes of a client there. */
const tcpPorts = new Set([25, 53, 3306, 27_017]);

/** The protocol of a port by `appProtocol`, else by its name up to the first `-`, else by its number. */
function protocolOf(appProtocol: string | undefined, name: string, port: number): AppProtocol {
  if (appProtocol !== undefined) {
    return protocols.get(appProtocol.toLowerCase().replace(/^kubernetes\.io\//, '')) ?? 'UNKNOWN';
  }
  const prefix = name.startsWith('grpc-web') ? 'grpc-web' : name.replace(/-.*$/, '');
  return protocols.get(prefix) ?? (tcpPorts.has(port) ? 'TCP' : 'UNKNOWN');
}

/** Virtual addresses: cluster IPs of both families, then external ones and those of load balancers. */
function addressesOf(object: Located<'Service'>, network: string, report: Report): NetworkAddress[] {
  const { spec, status } = object.value;
  const clusterIps = [spec.clusterIP ?? '', ...spec.clusterIPs];
  const virtual = clusterIps.filter(address => address !== 'None' && address !== '');
  if (virtual.length === 0 && !clusterIps.includes('None')) {
    const message =
      'has no spec.clusterIP: in a directory nobody assigns one, so clients have no address to call';
    report(object, 'warning', 'service-without-address', 'spec', message);
  }
  const balancers = status.loadBalancer.ingress.map(({ ip }) => ip ?? '').filter(ip => ip !== '');
  const all = new Set([...virtual, ...spec.externalIPs, ...balancers]);
  return [...all].map(address => ({ network, address }));
}

function ipFamiliesOf(object: Located<'Service'>): Service['ipFamilies'] {
  const families = new Set(object.value.spec.ipFamilies);
  if (families.size === 0) return 'AUTOMATIC';
  if (families.size === 2) return 'DUAL';
  return families.has('IPv4') ? 'IPV4_ONLY' : 'IPV6_ONLY';
}

const scopes: ReadonlyMap<string, readonly RoutingScope[]> = new Map([
  ['PreferClose', ['NETWORK', 'REGION', 'ZONE']],
  ['PreferSameZone', ['NETWORK', 'REGION', 'ZONE']],
  ['PreferSameNode', ['NETWORK', 'REGION', 'ZONE', 'SUBZONE', 'NODE']],
]);

/** Null where any healthy endpoint will do. */
function loadBalancingOf(object: Located<'Service'>, objects: Objects, report: Report): LoadBalancing | null {
  const { spec } = object.value;
  if (spec.sessionAffinity === 'ClientIP') {
    const message =
      'sessionAffinity ClientIP has no effect in the mesh: every connection is balanced by itself';
    report(object, 'warning', 'session-affinity', 'spec.sessionAffinity', message);
  }
  const healthPolicy = spec.publishNotReadyAddresses ? 'ALLOW_ALL' : 'ONLY_HEALTHY';
  if (spec.internalTrafficPolicy === 'Local')
    return { routingPreference: ['NODE'], mode: 'STRICT', healthPolicy };
  const distribution = distributionOf(object, objects);
  const preference = distribution === null ? undefined : scopes.get(distribution.value);
  if (preference !== undefined) return { routingPreference: preference, mode: 'FAILOVER', healthPolicy };
  if (distribution !== null && distribution.value !== 'Any') {
    const known = [...scopes.keys()].join(', ');
    const message = `${JSON.stringify(distribution.value)} is no traffic distribution that is known (${known}): any endpoint is taken`;
    report(distribution.object, 'warning', 'unknown-traffic-distribution', distribution.field, message);
  }
  return healthPolicy === 'ONLY_HEALTHY'
    ? null
    : { routingPreference: [], mode: 'UNSPECIFIED', healthPolicy };
}

function distributionOf(
  object: Located<'Service'>,
  objects: Objects,
): { value: string; object: Located<'Service' | 'Namespace'>; field: string } | null {
  const value = object.value.spec.trafficDistribution;
  if (value !== undefined) return { value, object, field: 'spec.trafficDistribution' };
  for (const marked of [object, objects.get('Namespace', '', object.namespace)]) {
    const mark = firstMark(marked?.value.metadata.annotations ?? {}, [trafficDistribution]);
    if (marked === null || mark === null) continue;
    return { value: mark.value, object: marked, field: marksField('annotations', mark.name) };
  }
  return null;
}

/** A cluster IP that two Services have, or a pod: no cluster would give it to both. */
function reportSharedAddresses(
  entries: readonly ServiceEntry[],
  pods: readonly PodEntry[],
  report: Report,
): void {
  const podsByAddress = new Map(
    pods.flatMap(pod => pod.addresses.map(address => [address, pod.pod] as const)),
  );
  const holders = new Map<string, ServiceEntry>();
  for (const entry of entries) {
    const { clusterIP, clusterIPs } = entry.object.value.spec;
    for (const address of new Set([clusterIP ?? '', ...clusterIPs])) {
      if (address === '' || address === 'None') continue;
      const pod = podsByAddress.get(address);
      if (pod !== undefined) {
        const message = `${address} is the address of ${objectName(pod)} too: connections to it go to the pod`;
        report(entry.object, 'warning', 'address-conflict', 'spec.clusterIP', message);
      }
      const holder = holders.get(address);
      if (holder === undefined) {
        holders.set(address, entry);
        continue;
      }
      const message = `${address} is the cluster IP of ${objectName(holder.object)} too: clients prefer the one of their own namespace`;
      report(entry.object, 'warning', 'address-conflict', 'spec.clusterIP', message);
    }
  }
}
