import t from 'tap';
import type { Service } from '../../model/service.ts';
import { brief, configured, pod } from '../help/configuration.ts';

const text = (spec: string, metadata = '', status = '{}'): string =>
  `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, ${metadata}}, spec: ${spec}, status: ${status}}\n---\n`;

function service(yaml: string): Service {
  const [first] = configured(yaml).mesh.services;
  if (first === undefined) throw new Error('no service');
  return first;
}

const namespace = (annotations: string): string =>
  `{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: ${annotations}}}\n---\n`;

t.test('a Service with a cluster IP', async t => {
  t.same(
    service(text('{clusterIP: 10.96.0.1, ports: [{port: 80, targetPort: 8080}, {name: admin, port: 81}]}')),
    {
      name: 'web',
      namespace: 'shop',
      hostname: 'web.shop.svc.cluster.local',
      addresses: [{ network: '', address: '10.96.0.1' }],
      ports: [
        { servicePort: 80, targetPort: 8080, appProtocol: 'UNKNOWN' },
        { servicePort: 81, targetPort: 81, appProtocol: 'UNKNOWN' },
      ],
      subjectAltNames: [],
      waypoint: null,
      loadBalancing: null,
      ipFamilies: 'AUTOMATIC',
      canonical: true,
      visibility: 'PUBLIC',
      sessionAffinityMs: null,
    },
  );
});

t.test('the domain and the network are settings', async t => {
  const config =
    '{apiVersion: culvert.dev/v1, kind: MeshConfig, metadata: {name: default}, spec: {clusterDomain: example.org, network: n1}}\n---\n';
  t.match(service(config + text('{clusterIP: 10.96.0.1}')), {
    hostname: 'web.shop.svc.example.org',
    addresses: [{ network: 'n1', address: '10.96.0.1' }],
  });
});

t.test('every address by which clients reach it, once', async t => {
  const addresses = (spec: string, status = '{}') =>
    service(text(spec, '', status)).addresses.map(({ address }) => address);
  t.same(addresses('{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "FD00:0::1"]}'), ['10.96.0.1', 'fd00::1']);
  t.same(addresses('{clusterIPs: [10.96.0.1]}'), ['10.96.0.1']);
  t.same(addresses('{clusterIP: None, clusterIPs: [None]}'), []);
  t.same(
    addresses(
      '{type: LoadBalancer, clusterIP: 10.96.0.1, externalIPs: [192.0.2.1]}',
      '{loadBalancer: {ingress: [{ip: 203.0.113.1}, {hostname: lb.example}, {ip: 192.0.2.1}]}}',
    ),
    ['10.96.0.1', '192.0.2.1', '203.0.113.1'],
  );
});

t.test('a Service that nobody gave an address', async t => {
  t.same(brief(configured(text('{ports: [{port: 80}]}')).findings), [
    'warning service-without-address 1 spec',
  ]);
  t.same(configured(text('{clusterIP: None}')).findings, [], 'headless is meant to have none');
});

t.test('families', async t => {
  const families = (list: string) => service(text(`{clusterIP: 10.96.0.1, ipFamilies: ${list}}`)).ipFamilies;
  t.equal(families('[]'), 'AUTOMATIC');
  t.equal(families('[IPv4]'), 'IPV4_ONLY');
  t.equal(families('[IPv6]'), 'IPV6_ONLY');
  t.equal(families('[IPv6, IPv4]'), 'DUAL');
});

t.test('ports that are not TCP are left out; a named target is 0 until a pod resolves it', async t => {
  const { ports } = service(
    text(
      '{clusterIP: 10.96.0.1, ports: [{port: 53, protocol: UDP}, {port: 80, targetPort: http}, {port: 9, protocol: SCTP}]}',
    ),
  );
  t.same(ports, [{ servicePort: 80, targetPort: 0, appProtocol: 'UNKNOWN' }]);
  const twice = configured(
    text(
      '{clusterIP: 10.96.0.1, ports: [{name: a, port: 80, targetPort: 1}, {name: b, port: 80, targetPort: 2}]}',
    ),
  );
  t.match(twice.mesh.services, [{ ports: [{ servicePort: 80, targetPort: 1 }] }]);
  t.same(brief(twice.findings), ['warning duplicate-port 1 spec.ports[1].port']);
});

t.test('the protocol of a port: appProtocol, else its name, else its number', async t => {
  const protocol = (port: string) =>
    service(text(`{clusterIP: 10.96.0.1, ports: [{${port}}]}`)).ports[0]?.appProtocol;
  const cases: readonly (readonly [port: string, expected: string])[] = [
    ['port: 80', 'UNKNOWN'],
    ['port: 80, name: http', 'HTTP11'],
    ['port: 80, name: http-web', 'HTTP11'],
    ['port: 80, name: httpweb', 'UNKNOWN'],
    ['port: 80, name: http2', 'HTTP2'],
    ['port: 80, name: grpc', 'GRPC'],
    ['port: 80, name: grpc-web', 'HTTP11'],
    ['port: 80, name: https', 'TLS'],
    ['port: 80, name: tls-db', 'TLS'],
    ['port: 80, name: tcp', 'TCP'],
    ['port: 80, name: http, appProtocol: kubernetes.io/h2c', 'HTTP2'],
    ['port: 80, name: http, appProtocol: GRPC', 'GRPC'],
    ['port: 80, name: http, appProtocol: example.org/own', 'UNKNOWN'],
    ['port: 80, appProtocol: kubernetes.io/wss', 'TLS'],
    ['port: 80, appProtocol: kubernetes.io/ws', 'HTTP11'],
    ['port: 80, name: tcp, appProtocol: ws', 'HTTP11'],
    ['port: 443, name: https, appProtocol: tcp', 'TCP'],
    ['port: 3306', 'TCP'],
    ['port: 25', 'TCP'],
  ];
  for (const [port, expected] of cases) t.equal(protocol(port), expected, port);
});

t.test('how endpoints are chosen', async t => {
  const of = (spec: string, metadata = '', before = '') =>
    service(before + text(`{clusterIP: 10.96.0.1, ${spec}}`, metadata)).loadBalancing;
  const prefer = (...routingPreference: string[]) => ({
    routingPreference,
    mode: 'FAILOVER',
    healthPolicy: 'ONLY_HEALTHY',
  });
  const annotated = 'annotations: {networking.istio.io/traffic-distribution: PreferSameNode}';
  const zone = prefer('NETWORK', 'REGION', 'ZONE');
  const node = prefer('NETWORK', 'REGION', 'ZONE', 'SUBZONE', 'NODE');
  t.equal(of(''), null);
  t.same(of('trafficDistribution: PreferClose'), zone);
  t.same(of('trafficDistribution: PreferSameZone'), zone);
  t.same(of('trafficDistribution: PreferSameNode'), node);
  t.same(of('', annotated), node);
  t.same(of('', '', namespace('{networking.istio.io/traffic-distribution: PreferClose}')), zone);
  t.same(of('', annotated, namespace('{networking.istio.io/traffic-distribution: PreferClose}')), node);
  t.same(of('trafficDistribution: PreferClose', annotated), zone, 'the field goes before the annotation');
  t.equal(of('', 'annotations: {networking.istio.io/traffic-distribution: Any}'), null);
  t.same(of('internalTrafficPolicy: Local, trafficDistribution: PreferClose'), {
    routingPreference: ['NODE'],
    mode: 'STRICT',
    healthPolicy: 'ONLY_HEALTHY',
  });
  t.same(of('publishNotReadyAddresses: true'), {
    routingPreference: [],
    mode: 'UNSPECIFIED',
    healthPolicy: 'ALLOW_ALL',
  });
  t.same(of('publishNotReadyAddresses: true, trafficDistribution: PreferClose'), {
    ...zone,
    healthPolicy: 'ALLOW_ALL',
  });
});

t.test('wishes that are not granted are named', async t => {
  t.same(brief(configured(text('{clusterIP: 10.96.0.1, trafficDistribution: PreferMoon}')).findings), [
    'warning unknown-traffic-distribution 1 spec.trafficDistribution',
  ]);
  const inNamespace = namespace('{networking.istio.io/traffic-distribution: PreferMoon}');
  t.same(
    brief(
      configured(
        inNamespace + text('{clusterIP: 10.96.0.1}') + text('{clusterIP: 10.96.0.2}').replace('web', 'api'),
      ).findings,
    ),
    [
      'warning unknown-traffic-distribution 1 metadata.annotations["networking.istio.io/traffic-distribution"]',
    ],
    'once, at the namespace',
  );
  const alias = configured(text('{type: ExternalName, externalName: example.org}'));
  t.same(alias.mesh.services, []);
  t.same(brief(alias.findings), ['info external-name 1 spec.type']);
});

t.test('clients stay with their endpoint where the Service says so', async t => {
  const affinity = (spec: string) => service(text(`{clusterIP: 10.96.0.1, ${spec}}`)).sessionAffinityMs;
  t.equal(affinity('sessionAffinity: None'), null);
  t.equal(affinity('sessionAffinity: ClientIP'), 10_800_000, 'three hours, as in Kubernetes');
  t.equal(
    affinity('sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 30}}'),
    30_000,
  );
});

t.test('an address that somebody else has', async t => {
  const other = text('{clusterIP: 10.96.0.1}').replace('web', 'api');
  t.match(configured(text('{clusterIP: 10.96.0.1}') + other).findings, [
    { code: 'address-conflict', severity: 'warning' },
  ]);
  const taken = configured(pod({ name: 'a', ip: '10.96.0.1' }) + text('{clusterIP: 10.96.0.1}'));
  t.match(taken.findings, [{ code: 'address-conflict', object: 'Service shop/web', message: /Pod shop\/a/ }]);
});
