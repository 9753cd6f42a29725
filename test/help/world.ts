/**
 * A small world for property tests of the builder, in which everything that can collide does: names, addresses, hosts,
 * network namespaces, uids, policies.
 */
import * as fc from 'fast-check';
import type { KindName } from '../../model/kinds/registry.ts';

/** What a test knows of an object before it is written. */
export interface Thing {
  readonly kind: KindName;
  readonly group?: 'culvert.dev' | 'istio' | undefined;
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly body: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

const namespaceName = fc.constantFrom('x', 'y', 'culvert-system');
const shortName = fc.constantFrom('a', 'b');
const app = fc.constantFrom('web', 'api');
const address = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.96.0.1');
const mode = fc.constantFrom('ambient', 'none', 'odd', undefined);
const account = fc.constantFrom('web', 'api', undefined);

const named = { name: shortName, namespace: namespaceName };

const pod = fc
  .record({
    ...named,
    name: fc.constantFrom('a', 'b', 'c'),
    ip: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', ''),
    second: fc.constantFrom('fd00::1', undefined),
    app,
    netns: fc.constantFrom('/n/1', '/n/2', 'bad'),
    mode,
    leaving: fc.boolean(),
    created: fc.constantFrom('2026-11-21T08:00:00Z', '2026-11-21T09:00:00Z'),
    uid: fc.constantFrom('1', '2', '3', undefined),
    ready: fc.constantFrom('True', 'False', undefined),
    changed: fc.constantFrom('2026-11-21T08:00:00Z', '2026-11-21T08:30:00Z'),
    redirected: fc.boolean(),
    node: fc.constantFrom('n1', 'n2', undefined),
    hostNetwork: fc.boolean(),
    phase: fc.constantFrom('Running', 'Succeeded'),
    account,
    port: fc.constantFrom(8080, 9090),
  })
  .map((pod): Thing => ({
    kind: 'Pod',
    name: pod.name,
    namespace: pod.namespace,
    labels: { app: pod.app, ...(pod.mode === undefined ? {} : { 'culvert.dev/dataplane-mode': pod.mode }) },
    metadata: {
      uid: pod.uid,
      creationTimestamp: pod.created,
      annotations: {
        'culvert.dev/netns': pod.netns,
        ...(pod.redirected ? { 'culvert.dev/redirection': 'enabled' } : {}),
      },
      ...(pod.leaving ? { deletionTimestamp: '2026-11-21T08:00:00Z' } : {}),
    },
    body: {
      spec: {
        nodeName: pod.node,
        hostNetwork: pod.hostNetwork,
        serviceAccountName: pod.account,
        containers: [{ ports: [{ name: 'http', containerPort: pod.port }] }],
      },
      status: {
        phase: pod.phase,
        podIP: pod.ip,
        podIPs: pod.ip === '' || pod.second === undefined ? [] : [{ ip: pod.ip }, { ip: pod.second }],
        startTime: '2026-11-21T08:00:00Z',
        ...(pod.ready === undefined
          ? {}
          : { conditions: [{ type: 'Ready', status: pod.ready, lastTransitionTime: pod.changed }] }),
      },
    },
  }));

const service = fc
  .record({
    ...named,
    app: fc.option(app, { nil: undefined }),
    ip: fc.constantFrom('10.96.0.1', '10.96.0.2', 'None', '10.0.0.1'),
    target: fc.constantFrom('http', 'admin', 80),
    type: fc.constantFrom('ClusterIP', 'ExternalName'),
    unready: fc.boolean(),
    distribution: fc.constantFrom('PreferClose', 'PreferMoon', undefined),
    affinity: fc.constantFrom('ClientIP', 'None'),
  })
  .map((service): Thing => ({
    kind: 'Service',
    name: service.name,
    namespace: service.namespace,
    body: {
      spec: {
        type: service.type,
        clusterIP: service.ip,
        selector: service.app === undefined ? {} : { app: service.app },
        ports: [{ port: 80, targetPort: service.target }],
        publishNotReadyAddresses: service.unready,
        trafficDistribution: service.distribution,
        sessionAffinity: service.affinity,
      },
    },
  }));

const slice = fc
  .record({
    ...named,
    name: fc.constantFrom('s1', 's2', 's3'),
    service: fc.constantFrom('a', 'b', undefined),
    type: fc.constantFrom('IPv4', 'FQDN'),
    kept: fc.boolean(),
    endpoints: fc.array(
      fc.record({
        ip: address,
        pod: fc.constantFrom('a', 'b', undefined),
        ready: fc.constantFrom(true, false, undefined),
        node: fc.constantFrom('n1', undefined),
      }),
      { maxLength: 3 },
    ),
    port: fc.constantFrom(8080, 9090),
  })
  .map((slice): Thing => ({
    kind: 'EndpointSlice',
    name: slice.name,
    namespace: slice.namespace,
    labels: {
      ...(slice.service === undefined ? {} : { 'kubernetes.io/service-name': slice.service }),
      ...(slice.kept ? { 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' } : {}),
    },
    body: {
      addressType: slice.type,
      ports: [{ port: slice.port }],
      endpoints: slice.endpoints.map(({ ip, pod, ready, node }) => ({
        addresses: [ip],
        conditions: { ready },
        nodeName: node,
        ...(pod === undefined ? {} : { targetRef: { kind: 'Pod', name: pod } }),
      })),
    },
  }));

const policy = fc
  .record({
    ...named,
    group: fc.constantFrom('culvert.dev' as const, 'istio' as const),
    app: fc.option(app, { nil: undefined }),
    action: fc.constantFrom('ALLOW', 'AUDIT'),
    from: fc.constantFrom('x', 'yy', 'z'),
    account: fc.constantFrom('web', 'y/api', 'wbe'),
  })
  .map((policy): Thing => ({
    kind: 'AuthorizationPolicy',
    group: policy.group,
    name: policy.name,
    namespace: policy.namespace,
    body: {
      spec: {
        ...(policy.app === undefined ? {} : { selector: { matchLabels: { app: policy.app } } }),
        action: policy.action,
        rules: [
          { from: [{ source: { namespaces: [policy.from] } }] },
          { from: [{ source: { serviceAccounts: [policy.account] } }] },
        ],
      },
    },
  }));

const peer = fc
  .record({
    ...named,
    group: fc.constantFrom('culvert.dev' as const, 'istio' as const),
    app: fc.option(app, { nil: undefined }),
    mode: fc.constantFrom('STRICT', 'PERMISSIVE', 'DISABLE'),
    port: fc.constantFrom('STRICT', 'PERMISSIVE', undefined),
    created: fc.constantFrom('2026-11-21T08:00:00Z', '2026-11-21T09:00:00Z'),
  })
  .map((peer): Thing => ({
    kind: 'PeerAuthentication',
    group: peer.group,
    name: peer.name,
    namespace: peer.namespace,
    metadata: { creationTimestamp: peer.created },
    body: {
      spec: {
        mtls: { mode: peer.mode },
        ...(peer.app === undefined ? {} : { selector: { matchLabels: { app: peer.app } } }),
        ...(peer.app === undefined || peer.port === undefined
          ? {}
          : { portLevelMtls: { '8080': { mode: peer.port } } }),
      },
    },
  }));

const serviceEntry = fc
  .record({
    ...named,
    hosts: fc.constantFrom(
      ['db.example'],
      ['db.example', 'api.example'],
      ['a.x.svc.cluster.local', 'api.example'],
      ['*.example'],
    ),
    addresses: fc.constantFrom(['240.0.0.1'], ['10.0.0.0/8'], undefined),
    how: fc.oneof(
      fc.record({ resolution: fc.constantFrom('NONE', 'DNS', 'STATIC', 'DYNAMIC_DNS') }),
      fc.record({
        resolution: fc.constantFrom('STATIC', 'DNS'),
        endpoints: fc.array(
          fc.record({
            address: fc.constantFrom('10.0.0.1', '192.0.2.1', 'db.example.org'),
            ports: fc.constantFrom({ tcp: 5 }, {}),
          }),
          { maxLength: 2 },
        ),
      }),
      fc.record({
        resolution: fc.constant('STATIC'),
        workloadSelector: fc.record({ labels: fc.record({ app }) }),
      }),
    ),
    exportTo: fc.constantFrom(['.'], ['z'], undefined),
  })
  .map((entry): Thing => ({
    kind: 'ServiceEntry',
    name: entry.name,
    namespace: entry.namespace,
    body: {
      spec: {
        hosts: entry.hosts,
        addresses: entry.addresses,
        ports: [{ number: 5432, name: 'tcp' }],
        exportTo: entry.exportTo,
        ...entry.how,
      },
    },
  }));

const workloadEntry = fc
  .record({
    ...named,
    address: fc.constantFrom('192.0.2.1', 'db.example.org', undefined),
    app,
    weight: fc.constantFrom(0, 3),
  })
  .map((entry): Thing => ({
    kind: 'WorkloadEntry',
    name: entry.name,
    namespace: entry.namespace,
    labels: { app: entry.app },
    body: { spec: { address: entry.address, network: 'n', weight: entry.weight, ports: { http: 7 } } },
  }));

const others = fc.oneof(
  fc
    .record({ name: namespaceName, mode, distribution: fc.constantFrom('PreferClose', 'Odd', undefined) })
    .map(({ name, mode: label, distribution }): Thing => ({
      kind: 'Namespace',
      name,
      labels: label === undefined ? {} : { 'culvert.dev/dataplane-mode': label },
      metadata: {
        annotations:
          distribution === undefined ? {} : { 'networking.istio.io/traffic-distribution': distribution },
      },
      body: {},
    })),
  fc
    .record({ name: fc.constantFrom('n1', 'n2'), zone: fc.constantFrom('z1', 'z2') })
    .map(({ name, zone }): Thing => ({
      kind: 'Node',
      name,
      labels: { 'topology.kubernetes.io/zone': zone },
      body: {},
    })),
  fc
    .record({ ...named, name: fc.constantFrom('web', 'wbe') })
    .map(({ name, namespace }): Thing => ({ kind: 'ServiceAccount', name, namespace, body: {} })),
  fc
    .record({
      trustDomain: fc.constantFrom('a.org', 'b.org'),
      rootNamespace: fc.constantFrom('x', 'culvert-system'),
    })
    .map((spec): Thing => ({ kind: 'MeshConfig', name: 'default', body: { spec } })),
);

/** Any object of the world. Pods come most often, as they do. */
export const thing: fc.Arbitrary<Thing> = fc.oneof(
  { arbitrary: pod, weight: 5 },
  { arbitrary: service, weight: 2 },
  { arbitrary: slice, weight: 2 },
  { arbitrary: policy, weight: 2 },
  { arbitrary: peer, weight: 2 },
  { arbitrary: serviceEntry, weight: 2 },
  { arbitrary: workloadEntry, weight: 1 },
  { arbitrary: others, weight: 2 },
);

const versions: Partial<Record<KindName, string>> = {
  EndpointSlice: 'discovery.k8s.io/v1',
  AuthorizationPolicy: 'culvert.dev/v1',
  PeerAuthentication: 'culvert.dev/v1',
  ServiceEntry: 'networking.istio.io/v1',
  WorkloadEntry: 'culvert.dev/v1',
  MeshConfig: 'culvert.dev/v1',
};

/** The object as YAML reads it, which is what JSON is. */
export function textOf({ kind, group, name, namespace, labels, metadata, body }: Thing): string {
  const apiVersion = group === 'istio' ? 'security.istio.io/v1' : (versions[kind] ?? 'v1');
  return JSON.stringify({ apiVersion, kind, metadata: { name, namespace, labels, ...metadata }, ...body });
}
