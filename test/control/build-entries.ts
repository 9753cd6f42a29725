import t from 'tap';
import type { Service } from '../../model/service.ts';
import type { Workload } from '../../model/workload.ts';
import { brief, configured, pod } from '../help/configuration.ts';

const serviceEntry = (spec: string, name = 'ledger', apiVersion = 'networking.istio.io/v1'): string =>
  `{apiVersion: ${apiVersion}, kind: ServiceEntry, metadata: {name: ${name}, namespace: shop}, spec: ${spec}}\n---\n`;
const workloadEntry = (spec: string, metadata = 'labels: {app: ledger}'): string =>
  `{apiVersion: culvert.dev/v1, kind: WorkloadEntry, metadata: {name: one, namespace: shop, ${metadata}}, spec: ${spec}}\n---\n`;

const ports = 'ports: [{number: 5432, name: tcp, targetPort: 5433}]';
const vip = 'hosts: [ledger.example], addresses: [240.0.0.10]';
const key = 'shop/ledger.example';

function services(text: string): readonly Service[] {
  return configured(text).mesh.services;
}

/** The endpoints of shop/ledger.example by address or name, with their ports. */
function endpoints(text: string): Record<string, string> {
  const members: Record<string, string> = {};
  for (const workload of configured(text).mesh.workloads) {
    const mapped = workload.services[key];
    if (mapped === undefined) continue;
    members[workload.addresses.join() || workload.hostname] = mapped
      .map(({ servicePort, targetPort }) => `${servicePort}→${targetPort}`)
      .join();
  }
  return members;
}

function workload(text: string): Workload | undefined {
  return configured(text).mesh.workloads[0];
}

t.test('a host, its addresses and ports; Services own their names', async t => {
  for (const version of ['culvert.dev/v1', 'networking.istio.io/v1', 'networking.istio.io/v1beta1']) {
    t.same(services(serviceEntry(`{${vip}, ${ports}, resolution: STATIC}`, 'ledger', version)), [
      {
        name: 'ledger',
        namespace: 'shop',
        hostname: 'ledger.example',
        addresses: [{ network: '', address: '240.0.0.10' }],
        ports: [{ servicePort: 5432, targetPort: 5433, appProtocol: 'TCP' }],
        subjectAltNames: [],
        waypoint: null,
        loadBalancing: null,
        ipFamilies: 'AUTOMATIC',
        canonical: false,
        visibility: 'PUBLIC',
        sessionAffinityMs: null,
      },
    ]);
  }
});

t.test('each host is a service, in lower case', async t => {
  const found = services(serviceEntry(`{hosts: [A.example, b.example, a.example], ${ports}}`));
  t.same(
    found.map(({ hostname }) => hostname),
    ['a.example', 'b.example'],
  );
});

t.test('who sees it, what it speaks, how its endpoints are found', async t => {
  const of = (spec: string) => services(serviceEntry(`{${vip}, ${spec}}`))[0];
  t.equal(of(`${ports}, exportTo: ["."]`)?.visibility, 'NAMESPACE');
  t.equal(of(`${ports}, exportTo: ["*"]`)?.visibility, 'PUBLIC');
  t.equal(of(`${ports}, resolution: NONE`)?.loadBalancing?.mode, 'PASSTHROUGH');
  t.equal(of(ports)?.loadBalancing?.mode, 'PASSTHROUGH', 'which is the default');
  const protocols = 'HTTP HTTPS GRPC HTTP2 MONGO TCP TLS'.split(' ');
  const list = protocols.map((protocol, n) => `{number: ${n + 1}, name: p${n}, protocol: ${protocol}}`);
  t.same(
    of(`ports: [${list.join()}]`)?.ports.map(({ appProtocol }) => appProtocol),
    ['HTTP11', 'TLS', 'GRPC', 'HTTP2', 'TCP', 'TCP', 'TLS'],
  );
});

t.test('endpoints in place: by address, by name, with their own ports', async t => {
  const found = endpoints(
    serviceEntry(
      `{${vip}, ${ports}, resolution: STATIC, endpoints: [{address: 192.0.2.1}, {address: "2001:DB8::1", ports: {tcp: 9}}]}`,
    ),
  );
  t.same(found, { '192.0.2.1': '5432→5433', '2001:db8::1': '5432→9' });
  t.same(endpoints(serviceEntry(`{${vip}, ${ports}, resolution: DNS}`)), { 'ledger.example': '5432→5433' });
  t.same(endpoints(serviceEntry(`{${vip}, ${ports}, resolution: DNS, endpoints: [{address: DB.example}]}`)), {
    'db.example': '5432→5433',
  });
  t.same(
    endpoints(serviceEntry(`{hosts: ["*.example"], addresses: [240.0.0.10], ${ports}, resolution: DNS}`)),
    {},
  );
});

t.test('an endpoint in place is a workload without an identity that anyone could prove', async t => {
  const spec = `{${vip}, ${ports}, resolution: STATIC, endpoints: [{address: 192.0.2.1, locality: eu/a, weight: 3, network: west, labels: {version: v2}}]}`;
  t.match(workload(serviceEntry(spec)), {
    uid: 'Kubernetes/networking.istio.io/ServiceEntry/shop/ledger/192.0.2.1',
    name: 'ledger',
    tunnelProtocol: 'NONE',
    status: 'HEALTHY',
    network: 'west',
    capacity: 3,
    locality: { region: 'eu', zone: 'a', subzone: '' },
  });
});

t.test('an address that a pod has is that pod, with its identity', async t => {
  const { mesh } = configured(
    pod({ name: 'a' }) +
      serviceEntry(`{${vip}, ${ports}, resolution: STATIC, endpoints: [{address: 10.0.0.1}]}`),
  );
  t.match(mesh.workloads, [
    { name: 'a', tunnelProtocol: 'HBONE', services: { [key]: [{ targetPort: 5433 }] } },
  ]);
  t.equal(mesh.workloads.length, 1);
});

t.test('a selector chooses pods and WorkloadEntries of the namespace', async t => {
  const select = serviceEntry(
    `{${vip}, ${ports}, resolution: STATIC, workloadSelector: {labels: {app: ledger}}}`,
  );
  const others =
    pod({ name: 'a', labels: { app: 'ledger' } }) +
    pod({ name: 'b', ip: '10.0.0.2', labels: { app: 'web' } }) +
    pod({ name: 'c', namespace: 'bank', ip: '10.0.0.3', labels: { app: 'ledger' } });
  t.same(endpoints(select + others + workloadEntry('{address: 192.0.2.1}')), {
    '10.0.0.1': '5432→5433',
    '192.0.2.1': '5432→5433',
  });
  t.same(
    endpoints(select + workloadEntry('{address: 192.0.2.1, labels: {app: ledger}, ports: {tcp: 7}}', '')),
    { '192.0.2.1': '5432→7' },
    'labels of the spec count too',
  );
  t.same(brief(configured(select).findings), ['info service-without-endpoints 1 spec.workloadSelector']);
});

t.test('a Service chooses WorkloadEntries beside pods', async t => {
  const service =
    '{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.1, selector: {app: ledger}, ports: [{name: sql, port: 80, targetPort: db}]}}\n---\n';
  const members = (entry: string) =>
    configured(service + workloadEntry(entry)).mesh.workloads[0]?.services['shop/web.shop.svc.cluster.local'];
  t.match(members('{address: 192.0.2.1, ports: {db: 5}}'), [{ servicePort: 80, targetPort: 5 }]);
  t.match(members('{address: 192.0.2.1, ports: {sql: 6}}'), [{ servicePort: 80, targetPort: 6 }]);
  t.same(members('{address: 192.0.2.1}'), [], 'no port of it has that name');
});

t.test('a WorkloadEntry is a workload of its own', async t => {
  t.match(workload(workloadEntry('{address: 192.0.2.1, serviceAccount: ledger}')), {
    uid: 'Kubernetes/networking.istio.io/WorkloadEntry/shop/one',
    name: 'one',
    serviceAccount: 'ledger',
    addresses: ['192.0.2.1'],
    tunnelProtocol: 'NONE',
    capacity: 1,
    authorizationPolicies: [],
  });
});

t.test('what is not in force is named', async t => {
  const cases: readonly (readonly [text: string, finding: string])[] = [
    [
      serviceEntry(`{hosts: [a.example], addresses: [10.0.0.0/8], ${ports}}`),
      'warning address-range 1 spec.addresses[0]',
    ],
    [
      serviceEntry(`{${vip}, ports: [{number: 53, name: dns, protocol: UDP}]}`),
      'info udp-port 1 spec.ports[0]',
    ],
    [
      serviceEntry(`{${vip}, ${ports}, resolution: DYNAMIC_DNS}`),
      'warning unsupported-value 1 spec.resolution',
    ],
    [serviceEntry(`{${vip}, ${ports}, exportTo: [bank]}`), 'warning unsupported-value 1 spec.exportTo'],
    [
      serviceEntry(
        `{hosts: ['*.a.example'], ${ports}, resolution: STATIC, endpoints: [{address: 192.0.2.1}]}`,
      ),
      'warning service-without-address 1 spec.addresses',
    ],
    [
      serviceEntry(
        `{${vip}, ${ports}, resolution: STATIC, endpoints: [{network: west}, {address: 192.0.2.1}]}`,
      ),
      'warning endpoint-without-address 1 spec.endpoints[0]',
    ],
    [workloadEntry('{network: west}'), 'warning endpoint-without-address 1 spec.address'],
    [
      serviceEntry(`{${vip}, ${ports}}`) + serviceEntry(`{${vip}, ${ports}}`, 'other'),
      'warning duplicate-host 3 spec.hosts',
    ],
    [
      '{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.1}}\n---\n' +
        serviceEntry(`{hosts: [web.shop.svc.cluster.local], addresses: [240.0.0.1], ${ports}}`),
      'warning duplicate-host 3 spec.hosts',
    ],
  ];
  for (const [text, finding] of cases) t.same(brief(configured(text).findings), [finding], text);
});
