import t from 'tap';
import type { PortMapping } from '../../model/workload.ts';
import { build } from '../../control/build.ts';
import { brief, configured, objectsOf, pod } from '../help/configuration.ts';

const service = (spec: string): string =>
  `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.1, ${spec}}}\n---\n`;
const slice = (members: string, name = 'web-1', labels = '{kubernetes.io/service-name: web}'): string =>
  `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ${name}, namespace: shop, labels: ${labels}}, ${members}}\n---\n`;

/** The endpoints of shop/web: by the name of the workload, `service port → target port`. */
function endpoints(text: string): Record<string, readonly string[]> {
  const found: Record<string, readonly string[]> = {};
  for (const { name, services, addresses } of configured(text).mesh.workloads) {
    const ports: readonly PortMapping[] | undefined = services['shop/web.shop.svc.cluster.local'];
    if (ports !== undefined)
      found[`${name} ${addresses.join()}`] = ports.map(port => `${port.servicePort}→${port.targetPort}`);
  }
  return found;
}

const web = (
  name: string,
  ip: string,
  more: { spec?: Record<string, unknown>; labels?: Record<string, string> } = {},
): string => pod({ name, ip, ...more, labels: { app: 'web', ...more.labels } });

t.test('a selector chooses the pods of its own namespace that carry every label', async t => {
  const pods =
    web('a', '10.0.0.1', { labels: { tier: 'front' } }) +
    web('b', '10.0.0.2') +
    pod({ name: 'c', ip: '10.0.0.3', namespace: 'other', labels: { app: 'web' } }) +
    pod({ name: 'd', ip: '10.0.0.4', labels: { app: 'api' } });
  t.same(endpoints(service('selector: {app: web}, ports: [{port: 80, targetPort: 8080}]') + pods), {
    'a 10.0.0.1': ['80→8080'],
    'b 10.0.0.2': ['80→8080'],
  });
  t.same(endpoints(service('selector: {app: web, tier: front}, ports: [{port: 80}]') + pods), {
    'a 10.0.0.1': ['80→80'],
  });
  t.same(
    endpoints(service('selector: {}, ports: [{port: 80}]') + pods),
    {},
    'an empty selector chooses nobody here',
  );
  t.same(endpoints(service('selector: {constructor: web}, ports: [{port: 80}]') + pods), {});
  const none = configured(service('selector: {app: nobody}, ports: [{port: 80}]') + pods);
  t.same(brief(none.findings), ['info service-without-endpoints 1 spec.selector']);
});

t.test('a named target port is what each pod calls so', async t => {
  const ports = (containers: unknown, initContainers: unknown = []) => ({
    spec: { containers, initContainers },
  });
  const http = (containerPort: number, protocol = 'TCP') => ({
    ports: [{ name: 'http', containerPort, protocol }],
  });
  const text =
    service('selector: {app: web}, ports: [{port: 80, targetPort: http}, {port: 81, targetPort: 9}]') +
    web('a', '10.0.0.1', ports([http(8080)])) +
    web('b', '10.0.0.2', ports([http(53, 'UDP'), http(9090)])) +
    web('c', '10.0.0.3', ports([], [{ ...http(7070), restartPolicy: 'Always' }])) +
    web('d', '10.0.0.4', ports([], [http(7070)]));
  t.same(endpoints(text), {
    'a 10.0.0.1': ['80→8080', '81→9'],
    'b 10.0.0.2': ['80→9090', '81→9'],
    'c 10.0.0.3': ['80→7070', '81→9'],
    'd 10.0.0.4': ['81→9'],
  });
  const { findings } = configured(text);
  t.same(brief(findings), ['warning missing-target-port 1 spec.ports']);
  t.match(findings[0]?.message, /pod d is named http/);
});

t.test('slices say who the endpoints are, and the selector no longer does', async t => {
  const text =
    service('selector: {app: web}, ports: [{name: http, port: 80, targetPort: 1}]') +
    web('a', '10.0.0.1') +
    web('b', '10.0.0.2') +
    pod({ name: 'c', ip: '10.0.0.3' }) +
    slice(
      'addressType: IPv4, ports: [{name: http, port: 8080}, {name: other, port: 5}, {name: http, port: 53, protocol: UDP}], endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: a}}]',
    ) +
    slice(
      'addressType: IPv4, ports: [{name: http, port: 9090}], endpoints: [{addresses: [10.0.0.3], targetRef: {kind: Pod, name: c, namespace: shop}}]',
      'web-2',
    );
  t.same(endpoints(text), { 'a 10.0.0.1': ['80→8080'], 'c 10.0.0.3': ['80→9090'] });
  t.same(configured(text).findings, []);
});

t.test('an only port needs no name', async t => {
  const text =
    service('ports: [{port: 80}]') +
    web('a', '10.0.0.1') +
    slice(
      'addressType: IPv4, ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: a}}]',
    );
  t.same(endpoints(text), { 'a 10.0.0.1': ['80→8080'] });
});

t.test('an address of a slice that a pod has is that pod, whatever the slice says', async t => {
  const text =
    service('ports: [{port: 80}]') +
    web('a', '10.0.0.1') +
    slice('addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: ["::ffff:10.0.0.1"]}]');
  t.same(endpoints(text), { 'a 10.0.0.1': ['80→80'] });
  t.match(configured(text).mesh.workloads, [{ name: 'a', tunnelProtocol: 'HBONE' }]);
});

t.test('other addresses are workloads of their own, without identity', async t => {
  const text =
    service('ports: [{port: 80}]') +
    slice('addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [192.0.2.1], nodeName: node-9}]') +
    slice('addressType: IPv6, ports: [{port: 80}], endpoints: [{addresses: ["2001:db8::1"]}]', 'web-2');
  t.same(endpoints(text), { 'web 192.0.2.1': ['80→80'], 'web 2001:db8::1': ['80→80'] });
  t.match(configured(text).mesh.workloads, [
    {
      uid: 'Kubernetes/discovery.k8s.io/EndpointSlice/shop/192.0.2.1',
      serviceAccount: '',
      tunnelProtocol: 'NONE',
      status: 'HEALTHY',
      node: 'node-9',
      authorizationPolicies: [],
    },
    { uid: /2001:db8::1$/ },
  ]);
  t.same(configured(text).enrolments, []);
});

t.test('an address that two services of a namespace share is one workload', async t => {
  const other = service('ports: [{port: 81}]').replace('web', 'api').replace('10.96.0.1', '10.96.0.2');
  const shared = 'addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [192.0.2.1]}]';
  const { mesh } = configured(
    service('ports: [{port: 80}]') +
      other +
      slice(shared) +
      slice(shared, 'api-1', '{kubernetes.io/service-name: api}'),
  );
  t.equal(mesh.workloads.length, 1);
  t.same(Object.keys(mesh.workloads[0]?.services ?? {}), [
    'shop/api.shop.svc.cluster.local',
    'shop/web.shop.svc.cluster.local',
  ]);
});

t.test('endpoints that are not ready are left out, unless the Service wants them', async t => {
  const ready = (value: string): string =>
    slice(
      `addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [192.0.2.1], conditions: ${value}}]`,
    );
  const found = { 'web 192.0.2.1': ['80→80'] };
  t.same(endpoints(service('ports: [{port: 80}]') + ready('{ready: false}')), {});
  t.same(endpoints(service('ports: [{port: 80}]') + ready('{ready: true, serving: true}')), found);
  t.same(endpoints(service('ports: [{port: 80}]') + ready('{ready: null}')), found, 'nobody knows: ready');
  t.same(
    endpoints(service('publishNotReadyAddresses: true, ports: [{port: 80}]') + ready('{ready: false}')),
    found,
  );
});

t.test('what leads nowhere is left out and named', async t => {
  const base = service('ports: [{port: 80}]') + web('a', '10.0.0.1');
  const endpoint = (reference: string): string =>
    slice(
      `addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.0.0.9], targetRef: ${reference}}]`,
    );
  const cases: readonly (readonly [text: string, finding: string])[] = [
    [base + endpoint('{kind: Pod, name: gone}'), 'warning stale-endpoint 5 endpoints[0]'],
    [base + endpoint('{kind: Pod, name: a}'), 'warning stale-endpoint 5 endpoints[0]'],
    [
      base + slice('addressType: FQDN, endpoints: [{addresses: [db.example]}]'),
      'warning fqdn-slice 5 addressType',
    ],
    [base + slice('addressType: IPv4', 'x', '{}'), 'warning slice-without-service 5 metadata.labels'],
    [
      base + slice('addressType: IPv4', 'x', '{kubernetes.io/service-name: api}'),
      'warning slice-without-service 5 metadata.labels',
    ],
  ];
  for (const [text, finding] of cases) {
    t.same(endpoints(text), {}, text);
    t.same(brief(configured(text).findings), [finding]);
  }
});

t.test('endpoints of which none is ready are worth a warning', async t => {
  const unready = { conditions: [{ type: 'Ready', status: 'False' }] };
  const a = pod({ name: 'a', labels: { app: 'web' }, status: unready });
  const select = 'selector: {app: web}, ports: [{port: 80}]';
  t.same(brief(configured(service(select) + a).findings), ['warning service-without-ready-endpoints 1 null']);
  t.same(configured(service(select) + a + web('b', '10.0.0.2')).findings, [], 'one is enough');
  t.same(configured(service(`publishNotReadyAddresses: true, ${select}`) + a).findings, []);
});

t.test('in a cluster the slices that Kubernetes keeps leave the word to the pods', async t => {
  const labels =
    '{kubernetes.io/service-name: web, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}';
  const member = (name: string): string =>
    slice(
      'addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}, targetRef: {kind: Pod, name: a}}]',
      name,
      name === 'kept' ? labels : undefined,
    );
  const built = (name: string) =>
    build(objectsOf(service('ports: [{port: 80}]') + web('a', '10.0.0.1') + member(name)), {
      mode: 'cluster',
    }).mesh.workloads;
  t.match(built('kept'), [{ services: { 'shop/web.shop.svc.cluster.local': [{ targetPort: 80 }] } }]);
  t.match(built('own'), [{ services: {} }]);
  t.equal(Object.keys(built('own')[0]?.services ?? {}).length, 0);
});

t.test('a pod in the network of its node is an endpoint by its name only', async t => {
  const host = pod({
    name: 'h',
    ip: '172.18.0.3',
    metadata: { labels: { app: 'web' } },
    spec: { hostNetwork: true },
  });
  t.same(endpoints(service('selector: {app: web}, ports: [{port: 80}]') + host), {
    'h 172.18.0.3': ['80→80'],
  });
  const byAddress = slice('addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [172.18.0.3]}]');
  t.same(endpoints(service('ports: [{port: 80}]') + host + byAddress), { 'web 172.18.0.3': ['80→80'] });
});
