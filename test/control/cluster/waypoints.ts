/**
 * A control plane and the Gateways of its cluster, against the small API server: what is made for them, and what their
 * status and that of routes says.
 */
import t, { type Test } from 'tap';
import { createLogger } from '../../../base/log.ts';
import { defaultAudiences } from '../../../control/control-config.ts';
import { Control } from '../../../control/control.ts';
import { FakeApi } from './fake-api.ts';
import { until } from './until.ts';

createLogger({ component: 'control', level: 'silent' });
const gatewayApi = 'gateway.networking.k8s.io/v1';
const ownLabel = 'culvert.dev/use-waypoint';

async function cluster(t: Test) {
  const fake = await FakeApi.start();
  for (const [kind, plural, namespaced] of [
    ['GatewayClass', 'gatewayclasses', false],
    ['Gateway', 'gateways', true],
    ['HTTPRoute', 'httproutes', true],
  ] as const)
    fake.serve(gatewayApi, kind, plural, namespaced);
  fake.serve('apps/v1', 'Deployment', 'deployments', true);
  fake.serve('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets', true);
  fake.serve('autoscaling/v2', 'HorizontalPodAutoscaler', 'horizontalpodautoscalers', true);
  fake.put('namespaces', { metadata: { name: 'shop' } });
  const control = new Control({
    kubeconfig: fake.kubeconfig(t.testdir({})),
    namespace: 'culvert-system',
    identity: 'one',
    address: '127.0.0.1',
    port: 0,
    metricsPort: 0,
    readyPort: 0,
    adminPort: 0,
    agents: ['culvert-system/culvert-agent'],
    audiences: defaultAudiences,
    dnsNames: ['localhost'],
    waypoints: {
      image: 'culvert:1',
      pullPolicy: 'IfNotPresent',
      pullSecrets: [],
      control: 'culvert-control.culvert-system.svc:15012',
      logLevel: 'info',
    },
    logLevel: 'silent',
    limits: { noticeMs: 10, drainMs: 500, newPodMs: 10_000 },
  });
  t.teardown(async () => {
    await control.stop();
    await fake[Symbol.asyncDispose]();
  });
  return { fake, control };
}

function gateway(fake: FakeApi, name: string, spec: object = {}): void {
  const before = fake.get('gateways', 'shop', name);
  fake.put('gateways', {
    metadata: { namespace: 'shop', name, generation: 1 },
    spec: {
      gatewayClassName: 'culvert-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      ...spec,
    },
    ...(before?.status === undefined ? {} : { status: before.status }),
  });
}

/** What the cluster does by itself once the objects are there. */
function live(fake: FakeApi, name: string): void {
  const service = fake.get('services', 'shop', name);
  if (service === undefined) throw new Error('no Service was made');
  const spec = { ...(service.spec as object), clusterIP: '10.96.0.9', clusterIPs: ['10.96.0.9'] };
  fake.put('services', { ...service, spec });
  const deployment = fake.get('deployments', 'shop', name);
  if (deployment === undefined) throw new Error('no Deployment was made');
  const { template } = deployment.spec as { template: { metadata: object; spec: object } };
  fake.put('pods', {
    metadata: { namespace: 'shop', ...template.metadata, name: `${name}-1` },
    spec: { ...template.spec, nodeName: 'node-a' },
    status: {
      phase: 'Running',
      podIP: '10.0.0.9',
      podIPs: [{ ip: '10.0.0.9' }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  });
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** `Type=Status Reason`, by what has conditions. */
function said(holder: unknown): string[] {
  const { conditions = [] } = (holder ?? {}) as { conditions?: Condition[] };
  return conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`);
}

function statusOf(fake: FakeApi, plural: string, name: string, namespace?: string): Record<string, unknown> {
  return (fake.get(plural, namespace, name)?.status ?? {}) as Record<string, unknown>;
}

const shop = 'shop';

t.test('a Gateway becomes a waypoint, and says so', async t => {
  const { fake, control } = await cluster(t);
  gateway(fake, 'wp', { infrastructure: { labels: { team: 'blue' }, annotations: { note: 'n' } } });
  await control.start();
  await until(
    'the class is there',
    () => fake.get('gatewayclasses', undefined, 'culvert-waypoint') !== undefined,
  );
  await until('its pods are asked for', () => fake.get('deployments', shop, 'wp') !== undefined);
  const deployment = fake.get('deployments', shop, 'wp');
  const owner = { kind: 'Gateway', name: 'wp', uid: fake.get('gateways', shop, 'wp')?.metadata.uid };
  t.match(deployment?.metadata, {
    ownerReferences: [owner],
    labels: { team: 'blue' },
    annotations: { note: 'n' },
  });
  t.match(deployment?.spec, {
    replicas: 2,
    template: {
      metadata: { labels: { team: 'blue', 'culvert.dev/dataplane-mode': 'none' } },
      spec: {
        serviceAccountName: 'wp',
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true },
        containers: [
          {
            image: 'culvert:1',
            args: ['waypoint', 'run', '--control=culvert-control.culvert-system.svc:15012', '--name=shop/wp'],
          },
        ],
      },
    },
  });
  for (const plural of ['serviceaccounts', 'services', 'poddisruptionbudgets'])
    t.match(fake.get(plural, shop, 'wp')?.metadata.ownerReferences, [owner], plural);
  const roots = fake.get('configmaps', shop, 'culvert-root');
  t.match(roots, { data: { 'root.pem': /BEGIN CERTIFICATE/ }, metadata: { ownerReferences: [owner] } });
  const status = () => statusOf(fake, 'gateways', 'wp', shop);
  await until('it waits', () => said(status()).includes('Programmed=False Pending'));
  live(fake, 'wp');
  await until('it is programmed', () => said(status()).includes('Programmed=True Programmed'));
  t.strictSame(said(status())[0], 'Accepted=True Accepted');
  t.strictSame(status()['addresses'], [
    { type: 'Hostname', value: 'wp.shop.svc.cluster.local' },
    { type: 'IPAddress', value: '10.96.0.9' },
  ]);
  const [listener] = status()['listeners'] as { name: string; attachedRoutes: number }[];
  t.match(listener, { name: 'mesh', attachedRoutes: 0 });
  t.strictSame(said(listener), [
    'Accepted=True Accepted',
    'Programmed=True Programmed',
    'ResolvedRefs=True ResolvedRefs',
    'Conflicted=False NoConflicts',
  ]);
  await until(
    'the class is accepted',
    () => said(statusOf(fake, 'gatewayclasses', 'culvert-waypoint')).join() === 'Accepted=True Accepted',
  );
  fake.delete('services', shop, 'wp');
  await until('what somebody removed is made again', () => fake.get('services', shop, 'wp') !== undefined);
});

t.test('what is there under its name and is of somebody else is never taken', async t => {
  const { fake, control } = await cluster(t);
  fake.put('serviceaccounts', { metadata: { namespace: shop, name: 'admin' } });
  gateway(fake, 'admin');
  await control.start();
  const status = () => statusOf(fake, 'gateways', 'admin', shop);
  const message = (): string =>
    (status()['conditions'] as Condition[] | undefined)?.find(({ type }) => type === 'Programmed')?.message ??
    '';
  await until('it says why', () => message().includes('ServiceAccount shop/admin'));
  t.equal(fake.get('deployments', shop, 'admin'), undefined);
  t.equal(fake.get('serviceaccounts', shop, 'admin')?.metadata.labels, undefined);
});

t.test('options from a ConfigMap, and what is wrong with them', async t => {
  const { fake, control } = await cluster(t);
  const infrastructure = { parametersRef: { group: '', kind: 'ConfigMap', name: 'sizes' } };
  const sizes = (data: Record<string, string>): void => {
    fake.put('configmaps', { metadata: { namespace: shop, name: 'sizes' }, data });
  };
  sizes({ replica: '3' });
  gateway(fake, 'wp', { infrastructure });
  await control.start();
  const status = () => statusOf(fake, 'gateways', 'wp', shop);
  await until('it is refused', () => said(status()).includes('Accepted=False InvalidParameters'));
  t.equal(fake.get('deployments', shop, 'wp'), undefined);
  sizes({
    autoscaling: 'maxReplicas: 5',
    resources: 'limits: { memory: 300Mi }',
    args: '[--log-level=debug]',
  });
  gateway(fake, 'wp', { infrastructure: { ...infrastructure, labels: { a: 'b' } } });
  await until('it scales by itself', () => fake.get('horizontalpodautoscalers', shop, 'wp') !== undefined);
  t.match(fake.get('horizontalpodautoscalers', shop, 'wp')?.spec, { minReplicas: 2, maxReplicas: 5 });
  const spec = (fake.get('deployments', shop, 'wp') ?? { spec: null }).spec as {
    replicas?: number;
    template: { spec: { containers: { args: string[]; resources: unknown }[] } };
  };
  t.equal(spec.replicas, undefined);
  const [container] = spec.template.spec.containers;
  t.equal(container?.args.at(-1), '--log-level=debug');
  t.match(container?.resources, { limits: { memory: '300Mi' } });
  sizes({ replicas: '3' });
  gateway(fake, 'wp', { infrastructure });
  await until('it does so no more', () => fake.get('horizontalpodautoscalers', shop, 'wp') === undefined);
});

t.test('Gateways of other classes are left alone', async t => {
  const { fake, control } = await cluster(t);
  const controllerName = 'istio.io/mesh-controller';
  fake.put('gatewayclasses', { metadata: { name: 'istio-waypoint' }, spec: { controllerName } });
  gateway(fake, 'theirs', { gatewayClassName: 'istio-waypoint' });
  gateway(fake, 'wp');
  await control.start();
  await until('ours is made', () => fake.get('deployments', shop, 'wp') !== undefined);
  await until('ours has a status', () => fake.get('gateways', shop, 'wp')?.status !== undefined);
  t.equal(fake.get('deployments', shop, 'theirs'), undefined);
  t.equal(fake.get('gateways', shop, 'theirs')?.status, undefined);
});

t.test('a route says where it is in force, and leaves the words of others', async t => {
  const { fake, control } = await cluster(t);
  gateway(fake, 'wp');
  const service = (name: string, labels: object): void => {
    fake.put('services', {
      metadata: { namespace: shop, name, labels },
      spec: { clusterIP: '10.96.0.1', selector: { app: name }, ports: [{ name: 'http', port: 80 }] },
    });
  };
  service('web', { [ownLabel]: 'wp' });
  service('plain', {});
  const theirs = {
    parentRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'edge' },
    controllerName: 'example.org/edge',
    conditions: [],
  };
  const route = (parentRefs: object[], backend = 'web'): void => {
    const before = fake.get('httproutes', shop, 'r')?.status ?? { parents: [theirs] };
    fake.put('httproutes', {
      metadata: { namespace: shop, name: 'r', generation: 1 },
      spec: { parentRefs, rules: [{ backendRefs: [{ name: backend, port: 80 }] }] },
      status: before,
    });
  };
  const of = (name: string): object => ({ group: '', kind: 'Service', name });
  route([theirs.parentRef, of('web'), of('plain'), of('nobody')]);
  await control.start();
  const parents = () =>
    statusOf(fake, 'httproutes', 'r', shop)['parents'] as { parentRef: { name: string } }[];
  await until('it is written', () => parents().length === 4);
  t.strictSame(
    parents().map(parent => [parent.parentRef.name, ...said(parent)]),
    [
      ['edge'],
      ['web', 'Accepted=True Accepted', 'ResolvedRefs=True ResolvedRefs'],
      ['plain', 'Accepted=False NoWaypoint', 'ResolvedRefs=True ResolvedRefs'],
      ['nobody', 'Accepted=False NoMatchingParent', 'ResolvedRefs=True ResolvedRefs'],
    ],
  );
  route([theirs.parentRef, of('web')], 'gone');
  await until('the others are gone', () => parents().length === 2);
  t.strictSame(said(parents()[1]), ['Accepted=True Accepted', 'ResolvedRefs=False BackendNotFound']);
  route([theirs.parentRef]);
  await until('none of ours is left', () => parents().length === 1);
  t.strictSame(parents(), [theirs]);
});

t.test('routes of connections have the same status', async t => {
  const { fake, control } = await cluster(t);
  fake.serve(gatewayApi, 'TLSRoute', 'tlsroutes', true);
  fake.serve('gateway.networking.k8s.io/v1alpha2', 'TCPRoute', 'tcproutes', true);
  gateway(fake, 'wp');
  fake.put('services', {
    metadata: { namespace: shop, name: 'db', labels: { [ownLabel]: 'wp' } },
    spec: {
      clusterIP: '10.96.0.1',
      selector: { app: 'db' },
      ports: [
        { name: 'tcp', port: 5432 },
        { name: 'tls', port: 5433 },
      ],
    },
  });
  const bound = (sectionName: string): object[] => [{ group: '', kind: 'Service', name: 'db', sectionName }];
  const rule = (name: string): object => ({ backendRefs: [{ name, port: 5432 }] });
  const put = (plural: string, spec: object): void => {
    fake.put(plural, { metadata: { namespace: shop, name: 'r', generation: 1 }, spec });
  };
  put('tcproutes', { parentRefs: bound('tcp'), rules: [rule('db'), rule('db')] });
  put('tlsroutes', { parentRefs: bound('tls'), hostnames: ['*.example.org'], rules: [rule('gone')] });
  await control.start();
  const conditions = (plural: string): string[] =>
    ((statusOf(fake, plural, 'r', shop)['parents'] ?? []) as object[]).flatMap(said);
  await until('both are written', () => ['tcproutes', 'tlsroutes'].every(of => conditions(of).length > 0));
  t.strictSame(conditions('tcproutes'), [
    'Accepted=True Accepted',
    'PartiallyInvalid=True UnsupportedValue',
    'ResolvedRefs=True ResolvedRefs',
  ]);
  t.strictSame(conditions('tlsroutes'), ['Accepted=True Accepted', 'ResolvedRefs=False BackendNotFound']);
  put('tlsroutes', { parentRefs: bound('tcp'), hostnames: ['*.example.org'], rules: [rule('db')] });
  await until('it displaces the other', () => conditions('tcproutes')[0] === 'Accepted=False Conflicted');
  put('tlsroutes', { parentRefs: bound('tls'), hostnames: ['10.0.0.1'], rules: [rule('db')] });
  await until('it is refused', () => conditions('tlsroutes')[0] === 'Accepted=False UnsupportedValue');
});
