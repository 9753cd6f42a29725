/**
 * From a Kubernetes Service to the service the mesh knows: names, virtual addresses, ports, and how endpoints are chosen.
 *
 * Who its endpoints are is build-endpoints.ts; which services there are, build-service-book.ts. ExternalName Services are
 * names only and are not modelled.
 */
import { firstMark, trafficDistribution } from '../model/kinds/marks.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { LoadBalancing, NetworkAddress, RoutingScope, Service } from '../model/service.ts';
import type { AppProtocol, PortMapping } from '../model/workload.ts';
import { marksField } from './build-enrolment.ts';
import type { Located, Report } from './located.ts';

/** A port of a Service that carries TCP. */
export interface ServicePort {
  readonly name: string;
  readonly port: number;
  /** A number, or the name of a port that each pod resolves for itself. */
  readonly target: number | string;
  readonly appProtocol: AppProtocol;
}

/** A service of the mesh, and the object that describes it. */
export interface MeshService {
  readonly object: Located<'Service' | 'ServiceEntry'>;
  /** `namespace/hostname`. */
  readonly key: string;
  readonly service: Service;
  readonly ports: readonly ServicePort[];
}

/**
 * The service of a Service; null for one that is none.
 * @param namespace what describes its namespace, if anything does
 */
export function meshService(
  object: Located<'Service'>,
  namespace: Located<'Namespace'> | null,
  config: MeshConfig,
  report: Report,
): MeshService | null {
  const { spec } = object.value;
  if (spec.type === 'ExternalName') {
    const message =
      'an ExternalName Service is an alias in DNS only: the mesh sees the connection to what it names';
    report(object, 'info', 'external-name', 'spec.type', message);
    return null;
  }
  const hostname = `${object.name}.${object.namespace}.svc.${config.clusterDomain}`;
  const ports = portsOf(object, report);
  const service: Service = {
    name: object.name,
    namespace: object.namespace,
    hostname,
    addresses: addressesOf(object, config.network, report),
    ports: ports.map(port => mapping(port, typeof port.target === 'number' ? port.target : 0)),
    subjectAltNames: [],
    waypoint: null,
    loadBalancing: loadBalancingOf(object, namespace, report),
    ipFamilies: ipFamiliesOf(object),
    canonical: true,
    visibility: 'PUBLIC',
    sessionAffinityMs: spec.sessionAffinity === 'ClientIP' ? affinityMs(object) : null,
  };
  return { object, key: `${object.namespace}/${hostname}`, service, ports };
}

/** Every cluster IP once, without those that only say that there is none. */
export function clusterIps({ value }: Located<'Service'>): string[] {
  const { clusterIP, clusterIPs } = value.spec;
  return [...new Set([clusterIP ?? '', ...clusterIPs])].filter(ip => ip !== '' && ip !== 'None');
}

/** The default of Kubernetes: three hours. */
const defaultAffinitySeconds = 10_800;

function affinityMs({ value }: Located<'Service'>): number {
  return (value.spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds) * 1_000;
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
export function protocolOf(appProtocol: string | undefined, name: string, port: number): AppProtocol {
  if (appProtocol !== undefined) {
    return protocols.get(appProtocol.toLowerCase().replace(/^kubernetes\.io\//, '')) ?? 'UNKNOWN';
  }
  const prefix = name.startsWith('grpc-web') ? 'grpc-web' : name.replace(/-.*$/, '');
  return protocols.get(prefix) ?? (tcpPorts.has(port) ? 'TCP' : 'UNKNOWN');
}

/** Virtual addresses: cluster IPs of both families, then external ones and those of load balancers. */
function addressesOf(object: Located<'Service'>, network: string, report: Report): NetworkAddress[] {
  const { spec, status } = object.value;
  const virtual = clusterIps(object);
  const isHeadless = spec.clusterIP === 'None' || spec.clusterIPs.includes('None');
  if (virtual.length === 0 && !isHeadless) {
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
function loadBalancingOf(
  object: Located<'Service'>,
  namespace: Located<'Namespace'> | null,
  report: Report,
): LoadBalancing | null {
  const { spec } = object.value;
  const healthPolicy = spec.publishNotReadyAddresses ? 'ALLOW_ALL' : 'ONLY_HEALTHY';
  if (spec.internalTrafficPolicy === 'Local')
    return { routingPreference: ['NODE'], mode: 'STRICT', healthPolicy };
  const preference = scopes.get(distributionOf(object, namespace, report));
  if (preference !== undefined) return { routingPreference: preference, mode: 'FAILOVER', healthPolicy };
  return healthPolicy === 'ONLY_HEALTHY'
    ? null
    : { routingPreference: [], mode: 'UNSPECIFIED', healthPolicy };
}

/** What the Service says, or else its Namespace; a value that means nothing is reported where it stands. */
function distributionOf(
  object: Located<'Service'>,
  namespace: Located<'Namespace'> | null,
  report: Report,
): string {
  const { trafficDistribution: value } = object.value.spec;
  if (value !== undefined) {
    reportDistribution(object, value, 'spec.trafficDistribution', report);
    return value;
  }
  return (
    annotatedDistribution(object, report) ??
    (namespace === null ? null : annotatedDistribution(namespace, () => {})) ??
    'Any'
  );
}

/** What the annotation of a Service or Namespace says; null without one. */
export function annotatedDistribution(
  object: Located<'Service' | 'Namespace'>,
  report: Report,
): string | null {
  const mark = firstMark(object.value.metadata.annotations, [trafficDistribution]);
  if (mark === null) return null;
  reportDistribution(object, mark.value, marksField('annotations', mark.name), report);
  return mark.value;
}

function reportDistribution(
  object: Located<'Service' | 'Namespace'>,
  value: string,
  field: string,
  report: Report,
): void {
  if (value === 'Any' || scopes.has(value)) return;
  const known = [...scopes.keys()].join(', ');
  const message = `${JSON.stringify(value)} is no traffic distribution that is known (${known}): any endpoint is taken`;
  report(object, 'warning', 'unknown-traffic-distribution', field, message);
}
