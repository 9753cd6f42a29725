/** The client against the control plane's own discovery service, over real gRPC. */
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import type { Test } from 'tap';
import { offersOf } from '../../control/encode.ts';
import { diff, emptyMesh, Mesh } from '../../model/mesh.ts';
import type { MeshDelta } from '../../model/mesh.ts';
import type { NodePod } from '../../model/node-pod.ts';
import { XdsClient } from '../../xds/client.ts';
import type { XdsClientOptions } from '../../xds/client.ts';
import { discoveryNode } from '../../xds/node.ts';
import { serveAds } from '../control/serving.ts';
import type { AdsServing } from '../control/serving.ts';
import { eventually } from '../lab/eventually.ts';
import { policy, rule, service, workload } from '../model/objects.ts';

const settings = {
  trustDomain: 'cluster.local',
  network: '',
  clusterId: 'Kubernetes',
  clusterDomain: 'cluster.local',
  accessLog: true,
  certificateTtlMs: 60_000,
  enrolledNamespaces: ['shop'],
  excludedNamespaces: ['kube-system'],
};

function pod(podUid: string): NodePod {
  return {
    podUid,
    runtimeUid: podUid,
    workloadUid: podUid,
    namespace: 'shop',
    name: podUid,
    serviceAccount: 'web',
    addresses: ['10.0.0.1'],
    wanted: true,
    failMode: 'closed',
    dnsCapture: false,
    probePorts: [],
  };
}

/** Makes `after` of `before` at the server. */
function change(
  { store }: AdsServing,
  before: MeshDelta,
  after: MeshDelta,
  nodePods: readonly { node: string; pod: NodePod }[] = [],
): void {
  store.apply(
    offersOf({ mesh: diff(before, after), l7: [], settings, nodePods: { set: [...nodePods], removed: [] } }),
  );
}

/** A client of node `n1` with the mesh it was told of. */
function connect(t: Test, control: AdsServing, given: Partial<XdsClientOptions> = {}) {
  const mesh = new Mesh();
  const pods = new Map<string, NodePod>();
  const told: string[] = [];
  const directory = t.testdir({ 'root.pem': control.rootPem, token: 'agent.n1' });
  const client = new XdsClient({
    endpoint: {
      address: control.address,
      rootPath: join(directory, 'root.pem'),
      tokenPath: join(directory, 'token'),
      serverName: null,
      headers: {},
    },
    node: discoveryNode({
      nodeName: 'n2',
      podName: 'a',
      podNamespace: 'culvert-system',
      serviceAccount: 'culvert-agent',
      podIp: '10.0.0.9',
      clusterId: 'Kubernetes',
      version: '1',
    }),
    subscriptions: ['settings', 'nodePod', 'authorization', 'address'],
    log: pino({ level: 'silent' }),
    onUpdate: ({ type, delta, nodePods }) => {
      told.push(`${type} ${delta.workloads.length + delta.services.length + delta.policies.length}`);
      mesh.apply(delta);
      for (const pod of nodePods.set) pods.set(pod.podUid, pod);
      for (const uid of nodePods.removed) pods.delete(uid);
    },
    ...given,
  });
  t.teardown(() => client.close());
  client.start();
  return { client, mesh, pods, told };
}

const web = workload('web', { addresses: ['10.0.0.1'], authorizationPolicies: ['shop/p'] });
const shop: MeshDelta = {
  ...emptyMesh,
  workloads: [workload('cart', { addresses: ['10.0.0.2'], node: 'n2' }), web],
  services: [service('web', { addresses: [{ network: '', address: '10.96.0.1' }] })],
  policies: [
    policy('ALLOW', [rule({ destinationPorts: [8080] })], { name: 'p', scope: 'WORKLOAD_SELECTOR' }),
  ],
};

t.test('an agent is told the mesh and its own node’s pods, whatever node it says it is', async t => {
  const control = await serveAds(t);
  change(control, emptyMesh, shop, [
    { node: 'n1', pod: pod('mine') },
    { node: 'n2', pod: pod('theirs') },
  ]);
  const { client, mesh, pods, told } = connect(t, control);
  await eventually(() => client.state().synced);
  t.strictSame(mesh.snapshot(), shop);
  t.strictSame([...pods.keys()], ['mine']);
  t.ok(told.indexOf('authorization 1') < told.indexOf('address 3'), 'policies before who names them');
  t.strictSame(client.counters().nacks, {
    address: 0,
    authorization: 0,
    settings: 0,
    nodePod: 0,
    waypointResource: 0,
    waypointCredential: 0,
  });
});

t.test('changes come as what changed, and the last state holds when the control plane is gone', async t => {
  const control = await serveAds(t);
  change(control, emptyMesh, shop);
  const { client, mesh, told } = connect(t, control);
  await eventually(() => client.state().synced);
  const smaller = { ...shop, workloads: [{ ...web, status: 'UNHEALTHY' as const }] };
  change(control, shop, smaller);
  await eventually(() => mesh.workload(web.uid)?.status === 'UNHEALTHY');
  t.strictSame(mesh.snapshot(), smaller);

  control.ads.close();
  await eventually(() => !client.state().connected);
  t.strictSame(mesh.snapshot(), smaller, 'the last state holds');
  t.equal(told.filter(line => line.startsWith('address')).at(-1), 'address 1');
});

t.test('a connection that is made anew brings nothing twice, and what went meanwhile is gone', async t => {
  const control = await serveAds(t, { server: { maxAgeMs: 100, maxAgeGraceMs: 20 } });
  change(control, emptyMesh, shop);
  const { client, mesh, told } = connect(t, control);
  await eventually(() => client.state().synced && client.counters().connections > 3);
  t.strictSame(
    told.filter(line => !line.endsWith(' 0')),
    ['authorization 1', 'address 3'],
  );
  const less = { ...shop, workloads: [web] };
  change(control, shop, less);
  await eventually(() => mesh.snapshot().workloads.length === 1);
  t.strictSame(mesh.snapshot(), less);
});

t.test('on demand an agent is told of what it asks about', async t => {
  const control = await serveAds(t);
  change(control, emptyMesh, shop);
  const { client, mesh } = connect(t, control, { onDemand: true, subscriptions: ['address'] });
  const { signal } = new AbortController();
  t.equal(await client.want('/10.0.0.1', signal), 'found');
  t.match(mesh.workload(web.uid), web);
  t.strictSame(mesh.snapshot().workloads, [web], 'and not cart, which is on another node');
  t.equal(await client.want('/10.0.0.2', signal), 'found');
  t.equal(await client.want('/10.9.9.9', signal), 'missing');
  t.equal(await client.want('/10.96.0.1', signal), 'found');
  t.equal(mesh.snapshot().services.length, 1);
});

t.test('a token that is not believed is named as the trouble', async t => {
  const control = await serveAds(t, { agents: [] });
  const { client } = connect(t, control);
  const error = await eventually(() => client.state().lastError);
  t.equal(error.code, 'CONTROL_DENIED');
  t.equal(client.state().connected, false);
});
