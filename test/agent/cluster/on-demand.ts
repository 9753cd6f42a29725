/**
 * An agent that knows of the mesh what its node needs: its source against the control plane's own discovery service, and a
 * shard's share of it, as far as needs no kernel. What a connection is routed by comes whole, or not at all.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { answerInquiry } from '../../../agent/answer-inquiry.ts';
import { ClusterSource } from '../../../agent/cluster/cluster-source.ts';
import { Inquiries } from '../../../agent/inquiries.ts';
import { createLogger } from '../../../base/log.ts';
import { offersOf } from '../../../control/encode.ts';
import { lookupName, nameNeeds } from '../../../model/dns-names.ts';
import { diff, emptyMesh, Mesh, type MeshDelta } from '../../../model/mesh.ts';
import { resolve, type Route } from '../../../model/route.ts';
import { routeNeeds } from '../../../model/route-needs.ts';
import type { GatewayAddress } from '../../../model/workload.ts';
import { partsFeature } from '../../../xds/parts.ts';
import { serveAds, type AdsServing } from '../../control/serving.ts';
import { FakeRuntime } from '../../help/fake-runtime.ts';
import { eventually } from '../../lab/eventually.ts';
import { port, service, workload } from '../../model/objects.ts';
import { settings } from './fixtures.ts';

const client = workload('client', { addresses: ['10.0.1.1'] });
const waypoint: GatewayAddress = {
  destination: { kind: 'hostname', namespace: 'shop', hostname: 'gate.shop.svc.cluster.local' },
  hboneMtlsPort: 15008,
};
const vip = (address: string) => ({ addresses: [{ network: '', address }] });
const member = (name: string) => ({ [`shop/${name}.shop.svc.cluster.local`]: [port(80, 8080)] });
const backends = Array.from({ length: 40 }, (_, index) =>
  workload(`web-${index}`, { addresses: [`10.0.2.${index + 1}`], node: 'n2', services: member('web') }),
);
const whole: MeshDelta = {
  ...emptyMesh,
  workloads: [
    client,
    ...backends,
    workload('gate-1', {
      addresses: ['10.0.3.1'],
      node: 'n2',
      services: { 'shop/gate.shop.svc.cluster.local': [port(15_008, 15_008)] },
    }),
    workload('lonely', { addresses: ['10.0.4.1'], node: 'n2' }),
    workload('outside', {
      addresses: ['192.0.2.7'],
      node: '',
      tunnelProtocol: 'NONE',
      services: { 'shop/api.example.com': [port(443, 443)] },
    }),
  ],
  services: [
    service('web', vip('10.96.0.1')),
    service('guarded', { ...vip('10.96.0.2'), waypoint }),
    service('gate', { ...vip('10.96.0.3'), ports: [port(15_008, 15_008)] }),
    service('api', { ...vip('240.240.0.1'), hostname: 'api.example.com', canonical: false }),
  ],
};

function change(control: AdsServing, before: MeshDelta, after: MeshDelta): void {
  control.store.apply(
    offersOf({
      mesh: diff(before, after),
      l7: [],
      settings: settings({ network: '' }),
      nodePods: { set: [], removed: [] },
    }),
  );
}

interface Node {
  readonly source: ClusterSource;
  /** Of a shard. */
  readonly mesh: Mesh;
  /** Every state that it had with the Service `web` in it. */
  readonly sizes: number[];
  readonly route: (address: string, servicePort?: number) => Promise<Route | string>;
  readonly name: (name: string) => Promise<readonly string[] | null>;
}

async function start(t: Test, control: AdsServing, inquiryMs = 30_000): Promise<Node> {
  // Short: it has a socket in it.
  const directory = mkdtempSync(join(tmpdir(), 'culvert-on-demand-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = (name: string): string => join(directory, name);
  const runtime = new FakeRuntime(path('cri.sock'));
  await runtime.start();
  t.teardown(() => runtime.stop());
  writeFileSync(path('root.pem'), control.rootPem);
  writeFileSync(path('token'), 'agent.n1');
  const endpoint = {
    address: control.address,
    rootPath: path('root.pem'),
    tokenPath: path('token'),
    serverName: null,
    headers: {},
  };
  const source = new ClusterSource({
    endpoint,
    certificates: endpoint,
    node: {
      id: 'n',
      cluster: '',
      metadata: { fields: {} },
      buildVersion: '',
      clientFeatures: [partsFeature],
    },
    criSocket: runtime.path,
    cni: {
      socket: path('cni.sock'),
      enrolledNamespaces: path('namespaces'),
      enrolledNamespacesOnNode: path('namespaces'),
      install: null,
    },
    admission: { enrolMs: 1, unknownMs: 1 },
    onDemand: true,
    log: createLogger({ component: 'test', level: 'silent' }),
  });
  t.teardown(() => source.close());
  const mesh = new Mesh();
  const sizes: number[] = [];
  const apply = (delta: MeshDelta): void => {
    mesh.apply(delta);
    if (mesh.service('shop/web.shop.svc.cluster.local') !== null)
      sizes.push(mesh.endpoints('shop/web.shop.svc.cluster.local').length);
  };
  const inquiries: Inquiries = new Inquiries(
    { inquiryMs, hintMs: inquiryMs, inquiriesPerPod: 100, inquiries: 100 },
    message => {
      if (message.type !== 'inquire') return;
      const { id, names, patient } = message;
      void answerInquiry(source.names, names, { patient, timeoutMs: inquiryMs }).then(answer =>
        inquiries.answered(id, answer.answered, answer.missing),
      );
    },
  );
  if (source.names !== null) source.names.onGivenUp = names => inquiries.forget(names);
  source.onUpdate = ({ delta }) => apply(delta);
  apply((await source.start()).delta);
  const learn = (needs: () => readonly string[], patient: boolean): Promise<string | null> =>
    new Promise(done =>
      inquiries.learn({ pod: 'a', needs, patient, done: error => done(error?.code ?? null) }),
    );
  return {
    source,
    mesh,
    sizes,
    route: async (address, servicePort = 80) => {
      const problem = await learn(() => routeNeeds(mesh, client, address), true);
      if (problem !== null) return problem;
      return resolve(mesh, {
        source: client,
        destination: { address, port: servicePort },
        localNode: 'n1',
        isLocal: () => false,
        hbonePort: 15_008,
        agentPorts: new Set(),
        exclude: new Set(),
        random: Math.random,
      });
    },
    name: async name => {
      const from = { namespace: 'shop', network: '' };
      await learn(() => nameNeeds(mesh, from, name, 'cluster.local'), false);
      return lookupName(mesh, from, name, 'cluster.local')?.addresses ?? null;
    },
  };
}

t.test('the first state is this node, and the hosts of ServiceEntries', async t => {
  const control = await serveAds(t);
  change(control, emptyMesh, whole);
  const { mesh, source } = await start(t, control);
  await eventually(() => mesh.serviceByHost('api.example.com', 'shop'));
  const { workloads, services } = mesh.snapshot();
  t.same(workloads.map(({ name }) => name).sort(), ['client', 'outside']);
  t.same(
    services.map(({ hostname }) => hostname),
    ['api.example.com'],
  );
  t.same(source.clusterState().names, { found: 0, missing: 0, pending: 0 });
});

t.test('a Service is used with all its endpoints, however many responses they take', async t => {
  const control = await serveAds(t, { limits: { partBytes: 200 } });
  change(control, emptyMesh, whole);
  const { route, sizes, mesh } = await start(t, control);
  t.match(await route('10.96.0.1'), { kind: 'hbone', service: { name: 'web' } });
  t.same([...new Set(sizes)], [40], 'never with some of them');
  t.match(await route('10.0.2.3'), { kind: 'hbone', workload: { name: 'web-2' } }, 'and they are known');
  t.equal(mesh.workloadByAddress('', '10.0.4.1'), null, 'nobody asked for that one');
});

t.test('a waypoint is asked for before anything is sent to it', async t => {
  const control = await serveAds(t);
  change(control, emptyMesh, whole);
  const { route } = await start(t, control);
  t.match(await route('10.96.0.2'), { kind: 'waypoint', workload: { name: 'gate-1' } });
});

t.test('what nothing has goes out as it always did, until something has it', async t => {
  const control = await serveAds(t);
  change(control, emptyMesh, whole);
  const { route, source, mesh } = await start(t, control);
  t.match(await route('10.0.5.5'), { kind: 'plain', workload: null });
  const asked = await control.metric('requests_total', { type: 'address' });
  t.match(await route('10.0.5.5'), { kind: 'plain', workload: null });
  t.equal(await control.metric('requests_total', { type: 'address' }), asked, 'it is asked for once');
  t.match(source.clusterState().names, { missing: 1 });
  const late = workload('late', { addresses: ['10.0.5.5'], node: 'n2' });
  const more = { ...whole, workloads: [...whole.workloads, late] };
  change(control, whole, more);
  await eventually(() => mesh.workloadByAddress('', '10.0.5.5'));
  t.match(await route('10.0.5.5'), { kind: 'hbone', workload: { name: 'late' } });
  t.match(source.clusterState().names, { found: 1, missing: 0 });
  change(control, more, whole);
  await eventually(() => mesh.workloadByAddress('', '10.0.5.5') === null);
  t.match(await route('10.0.5.5'), { kind: 'plain', workload: null });
  t.match(source.clusterState().names, { found: 0, missing: 1 }, 'and is known to be nothing again');
});

t.test('names of Services are asked for, hosts of ServiceEntries are there, others are nobody’s', async t => {
  const control = await serveAds(t);
  change(control, emptyMesh, whole);
  const { name, mesh } = await start(t, control);
  t.same(await name('web.shop.svc.cluster.local'), ['10.96.0.1']);
  t.same(await name('guarded'), ['10.96.0.2']);
  await eventually(() => mesh.serviceByHost('api.example.com', 'shop'));
  t.same(await name('api.example.com'), ['240.240.0.1']);
  t.equal(await name('www.example.com'), null);
  t.equal(await name('nobody.shop'), null);
});

t.test(
  'while the control plane is away what is known works, what is not is refused, names are passed on',
  async t => {
    const control = await serveAds(t);
    change(control, emptyMesh, whole);
    const { route, name, source } = await start(t, control, 50);
    t.match(await route('10.96.0.1'), { kind: 'hbone' });
    t.match(await route('10.0.5.5'), { kind: 'plain' });
    await control.server.drain(0);
    await eventually(() => source.names?.reachable === false);
    const alive = setInterval(() => {}, 1_000);
    t.match(await route('10.96.0.1'), { kind: 'hbone' });
    t.match(await route('10.0.5.5'), { kind: 'plain' });
    t.equal(await route('10.0.4.1'), 'INQUIRY_UNANSWERED');
    t.equal(await name('gate.shop'), null);
    clearInterval(alive);
  },
);
