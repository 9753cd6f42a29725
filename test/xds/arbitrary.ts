/** Any object of a mesh that is valid, for property tests. */
import * as fc from 'fast-check';
import { canonicalIp } from '../../model/address.ts';
import type { Cidr } from '../../model/address.ts';
import type { MeshSettings, NodePod } from '../../model/node-pod.ts';
import type { Authorization, Match, StringMatch } from '../../model/policy.ts';
import type { NetworkAddress, Service } from '../../model/service.ts';
import type { GatewayAddress, PortMapping, Workload } from '../../model/workload.ts';

/** Objects with the prototype that objects have. */
function record<T>(model: { [Key in keyof T]: fc.Arbitrary<T[Key]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true });
}

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?$/);
const anyText = fc.string({ unit: 'grapheme', maxLength: 12 });
const network = fc.oneof(fc.constant(''), name);
const trustDomain = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,14}[a-z0-9])?$/);

export const ip: fc.Arbitrary<string> = fc
  .oneof(fc.ipV4(), fc.ipV6())
  .map(text => canonicalIp(text))
  .filter(text => text !== null);

const port: fc.Arbitrary<PortMapping> = record({
  servicePort: fc.nat(65_535),
  targetPort: fc.nat(65_535),
  appProtocol: fc.constantFrom('UNKNOWN', 'HTTP11', 'HTTP2', 'GRPC', 'TCP', 'TLS'),
});

const networkAddress: fc.Arbitrary<NetworkAddress> = record({ network, address: ip });

const gateway: fc.Arbitrary<GatewayAddress> = record({
  destination: fc.oneof(
    record({ kind: fc.constant('hostname' as const), namespace: name, hostname: name }),
    networkAddress.map(place => ({ kind: 'address' as const, ...place })),
  ),
  hboneMtlsPort: fc.nat(65_535),
});

const serviceKeys = fc.tuple(name, name).map(([namespace, host]) => `${namespace}/${host}`);

export const workload: fc.Arbitrary<Workload> = record({
  uid: anyText.filter(text => text !== ''),
  name,
  namespace: name,
  serviceAccount: fc.oneof(name, fc.constant('default')),
  trustDomain: fc.oneof(trustDomain, fc.constant('cluster.local')),
  addresses: fc.array(ip, { maxLength: 3 }),
  hostname: anyText,
  network,
  node: name,
  clusterId: fc.oneof(name, fc.constant('Kubernetes')),
  tunnelProtocol: fc.constantFrom('NONE', 'HBONE'),
  networkMode: fc.constantFrom('STANDARD', 'HOST_NETWORK'),
  status: fc.constantFrom('HEALTHY', 'UNHEALTHY'),
  canonicalName: anyText,
  canonicalRevision: anyText,
  workloadName: anyText,
  workloadType: fc.constantFrom('deployment', 'cronjob', 'pod', 'job'),
  services: fc.dictionary(serviceKeys, fc.array(port, { maxLength: 3 }), {
    maxKeys: 3,
    noNullPrototype: true,
  }),
  authorizationPolicies: fc.array(serviceKeys, { maxLength: 3 }),
  waypoint: fc.option(gateway),
  locality: fc.option(record({ region: anyText, zone: anyText, subzone: anyText })),
  capacity: fc.oneof(fc.constantFrom(0, 1), fc.nat(0xffff_ffff)),
});

export const service: fc.Arbitrary<Service> = record({
  name,
  namespace: name,
  hostname: name,
  addresses: fc.array(networkAddress, { maxLength: 3 }),
  ports: fc.array(port, { maxLength: 3 }),
  subjectAltNames: fc.array(anyText, { maxLength: 2 }),
  waypoint: fc.option(gateway),
  loadBalancing: fc.option(
    record({
      routingPreference: fc.array(fc.constantFrom('REGION', 'ZONE', 'SUBZONE', 'NODE', 'CLUSTER', 'NETWORK')),
      mode: fc.constantFrom('UNSPECIFIED', 'STRICT', 'FAILOVER', 'PASSTHROUGH'),
      healthPolicy: fc.constantFrom('ONLY_HEALTHY', 'ALLOW_ALL'),
    }),
  ),
  ipFamilies: fc.constantFrom('AUTOMATIC', 'IPV4_ONLY', 'IPV6_ONLY', 'DUAL'),
  canonical: fc.boolean(),
  visibility: fc.constantFrom('PUBLIC', 'NAMESPACE'),
  sessionAffinityMs: fc.option(fc.nat(86_400_000)),
});

const pattern: fc.Arbitrary<StringMatch> = fc.oneof(
  record({
    kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const),
    value: anyText,
  }),
  fc.constant({ kind: 'presence' as const }),
);
const patterns = fc.array(pattern, { maxLength: 3 });
const cidr: fc.Arbitrary<Cidr> = ip.chain(address =>
  record({ address: fc.constant(address), length: fc.nat(address.includes(':') ? 128 : 32) }),
);
const cidrs = fc.array(cidr, { maxLength: 3 });
const ports = fc.array(fc.nat(65_535), { maxLength: 3 });
const accounts = fc.array(record({ namespace: name, serviceAccount: name }), { maxLength: 3 });

const match: fc.Arbitrary<Match> = record({
  namespaces: patterns,
  notNamespaces: patterns,
  principals: patterns,
  notPrincipals: patterns,
  sourceIps: cidrs,
  notSourceIps: cidrs,
  destinationIps: cidrs,
  notDestinationIps: cidrs,
  destinationPorts: ports,
  notDestinationPorts: ports,
  serviceAccounts: accounts,
  notServiceAccounts: accounts,
});

export const authorization: fc.Arbitrary<Authorization> = record({
  name,
  namespace: name,
  scope: fc.constantFrom('GLOBAL', 'NAMESPACE', 'WORKLOAD_SELECTOR'),
  action: fc.constantFrom('ALLOW', 'DENY'),
  rules: fc.array(
    record({
      clauses: fc.array(record({ matches: fc.array(match, { maxLength: 2 }) }), { maxLength: 2 }),
    }),
    { maxLength: 2 },
  ),
  dryRun: fc.boolean(),
});

export const settings: fc.Arbitrary<MeshSettings> = record({
  trustDomain,
  network,
  clusterId: name,
  clusterDomain: name,
  accessLog: fc.boolean(),
  certificateTtlMs: fc.integer({ min: 1, max: 10_000_000 }).map(seconds => seconds * 1_000),
  enrolledNamespaces: fc.array(name),
  excludedNamespaces: fc.array(name),
});

export const nodePod: fc.Arbitrary<NodePod> = record({
  podUid: fc.uuid(),
  runtimeUid: fc.uuid(),
  workloadUid: name,
  namespace: name,
  name,
  serviceAccount: name,
  addresses: fc.array(ip, { maxLength: 2 }),
  wanted: fc.boolean(),
  failMode: fc.constantFrom('open', 'closed'),
  dnsCapture: fc.boolean(),
  probePorts: fc.array(fc.integer({ min: 1, max: 65_535 })),
});
