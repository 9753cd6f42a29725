/** A waypoint in a cluster: what the control plane tells it, and to whom it tells it. */
import t from 'tap';
import { protocols } from '../../proto/load.ts';
import { requestCertificate } from '../../tunnel/certificate-exchange.ts';
import { systemClock } from '../../tunnel/clock.ts';
import { CertificateService } from '../../xds/certificate-service.ts';
import type { XdsClient } from '../../xds/client.ts';
import { resourceTypes } from '../../xds/codec.ts';
import { until } from '../control/cluster/until.ts';
import { ClusterWorld, waypointIdentity } from './cluster-world.ts';
import { vip } from './world-objects.ts';

const prefix = (value: string): object => ({ path: { type: 'PathPrefix', value } });

t.test('routes of the cluster reach the waypoint, and its requests their endpoints', async t => {
  const world = await ClusterWorld.create(t);
  await world.backend('web', '10.0.0.1', vip);
  await world.backend('canary', '10.0.0.2', '10.96.0.11');
  world.route([{ matches: [prefix('/new')], backendRefs: [{ name: 'canary', port: 80 }] }]);
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  const waypoint = world.waypoint(`${uid},wp-1,shop:wp`);
  await until('it is ready', () => waypoint.ready.ready);
  t.match(waypoint.context.self, { name: 'wp-1', serviceAccount: 'wp' });
  const get = await world.client(waypoint);
  t.equal(await get('/new/one'), '200 canary');
  t.match(await get('/old'), /^404 /);

  world.route([{ backendRefs: [{ name: 'web', port: 80 }] }]);
  const service = 'shop/web.shop.svc.cluster.local';
  await until(
    'the route leads to web',
    () => waypoint.context.routes.all()[0]?.rules[0]?.backends[0]?.service === service,
  );
  t.equal(await get('/old'), '200 web');
  world.fake.delete('httproutes', 'shop', 'web');
  await until('no route', () => waypoint.context.routes.all().length === 0);
  t.equal(await get('/anything'), '200 web');
});

t.test('routes of connections reach it too, of the versions that the cluster has', async t => {
  const world = await ClusterWorld.create(t, fake =>
    fake.serve('gateway.networking.k8s.io/v1alpha2', 'TCPRoute', 'tcproutes', true),
  );
  await world.backend('web', '10.0.0.1', vip);
  await world.backend('canary', '10.0.0.2', '10.96.0.11');
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  const waypoint = world.waypoint(`${uid},wp-1,shop:wp`);
  await until('it is ready', () => waypoint.ready.ready);
  const get = await world.client(waypoint);
  t.equal(await get('/'), '200 web');
  world.fake.put('tcproutes', {
    metadata: { namespace: 'shop', name: 'bytes' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'web', port: 80 }],
      rules: [{ backendRefs: [{ name: 'canary', port: 80 }] }],
    },
  });
  await until('the route is there', () => waypoint.context.tcpRoutes.all().length === 1);
  t.equal(await get('/'), '200 canary');
  world.fake.delete('tcproutes', 'shop', 'bytes');
  await until('it is gone', () => waypoint.context.tcpRoutes.all().length === 0);
  t.equal(await get('/'), '200 web');
});

t.test('what a newer control plane says is not passed over', async t => {
  const world = await ClusterWorld.create(t);
  await world.backend('web', '10.0.0.1', vip);
  await world.backend('other', '10.0.0.2', '10.96.0.11');
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  const waypoint = world.waypoint(`${uid},wp-1,shop:wp`);
  await until('it is ready', () => waypoint.ready.ready);
  const get = await world.client(waypoint);
  t.equal(await get('/'), '200 web');

  const service = 'shop/web.shop.svc.cluster.local';
  const offer = (name: string, resource: Parameters<typeof protocols.waypointResource.encode>[0]): void => {
    const set = [{ name, content: protocols.waypointResource.encode(resource) }];
    world.control.resources.apply({ [resourceTypes.waypointResource]: { set, removed: [] } });
  };
  const barred = async (name: string, about: readonly string[], answer: RegExp): Promise<void> => {
    offer(name, { list: name.split('/')[0] ?? '', key: 'x', json: '{}', about: [...about] });
    await until('it is refused', () => waypoint.context.barred.size > 0);
    t.match(await get('/'), answer);
    world.control.resources.apply({ [resourceTypes.waypointResource]: { set: [], removed: [name] } });
    await until('it is gone', () => waypoint.context.barred.size === 0);
    t.equal(await get('/'), '200 web');
  };
  await barred('shields/x', [service], /^503 .*shields\/x: this version has no shields \(L7_UNREADABLE\)/);
  await barred('routes/x', [service], /^503 .*routes\/x: it can not be read/);
  await barred('shields/x', ['*'], /^503 /);
  await barred('shields/x', ['Gateway/shop/wp'], /^503 /);
  await barred('shields/x', ['Gateway/shop/other'], /^200 web/);
  await barred('shields/x', ['shop/other.shop.svc.cluster.local'], /^200 web/);

  const route = {
    kind: 'HTTPRoute',
    namespace: 'shop',
    name: 'web',
    createdAt: 0,
    parents: [{ service, port: null }],
    rules: [],
  };
  const known = { list: 'routes', key: 'HTTPRoute/shop/web', json: JSON.stringify(route), about: [service] };
  offer('routes/HTTPRoute/shop/web', { ...known, needs: ['mind-reading'] });
  await until('it is refused', () => waypoint.context.barred.size > 0);
  t.match(await get('/'), /^503 .*this version does not know mind-reading/);
  t.match(waypoint.source?.state(), { refused: [{ name: 'routes/HTTPRoute/shop/web' }] });
  offer('routes/HTTPRoute/shop/web', known);
  await until('it is read', () => waypoint.context.barred.size === 0);
  t.match(await get('/'), /^404 /, 'a route without rules');
});

t.test('only waypoints are told, and only for themselves they get certificates', async t => {
  const world = await ClusterWorld.create(t);
  await world.backend('web', '10.0.0.1', vip);
  world.route([{ backendRefs: [{ name: 'web', port: 80 }] }]);
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  const web = world.fake.get('pods', 'shop', 'web-1')?.metadata.uid ?? '';
  await until('the pods are known', () => world.control.pods.size === 2);
  const discover = (token: string): XdsClient =>
    world.discover(token, ['settings', 'nodePod', 'waypointResource']);
  const waypoint = discover(`${uid},wp-1,shop:wp`);
  await until('a waypoint is told', () => (waypoint.state().types.waypointResource?.resources ?? 0) > 0);
  await until('of no node’s pods', () => waypoint.state().types.nodePod?.synced === true);
  t.equal(waypoint.state().types.nodePod?.resources, 0);
  const agent = discover('any,agent,culvert-system:culvert-agent');
  await until('an agent is told', () => agent.state().types.nodePod?.resources === 2);
  await until('but not all', () => agent.state().types.waypointResource?.synced === true);
  t.equal(agent.state().types.waypointResource?.resources, 0);
  for (const [what, token] of [
    ['another pod', `${web},web-1,shop:web`],
    ['another account of the pod', `${uid},wp-1,shop:web`],
    ['another name', `${uid},wp-2,shop:wp`],
    ['a pod that is not', 'gone,wp-1,shop:wp'],
  ] as const) {
    const client = discover(token);
    await until(what, () => client.state().lastError !== null);
    t.equal(client.state().lastError?.code, 'CONTROL_DENIED', what);
  }

  const ask = async (token: string, identity: string, forOthers: boolean): Promise<string> => {
    const endpoint = world.endpoint(token);
    const signer = new CertificateService({ endpoint, ttlMs: () => 3_600_000, forOthers });
    t.teardown(() => signer.close());
    const { signal } = new AbortController();
    return requestCertificate(signer, identity, systemClock, signal).then(
      issued => issued.identity,
      (error: Error) => error.message,
    );
  };
  const own = `${uid},wp-1,shop:wp`;
  t.equal(await ask(own, waypointIdentity, false), waypointIdentity);
  const other = 'spiffe://cluster.local/ns/shop/sa/web';
  t.match(await ask(own, other, false), /CERTIFICATE_IDENTITY_MISMATCH/, 'the token says who it is');
  t.match(await ask(own, other, true), /CERTIFICATE_NOT_AN_AGENT/, 'though it runs on its node');
});

t.test('without its control plane a waypoint goes on with what it knows', async t => {
  const world = await ClusterWorld.create(t);
  await world.backend('web', '10.0.0.1', vip);
  const uid = world.pod('wp-1', 'wp', '10.0.0.9', 15_008);
  const waypoint = world.waypoint(`${uid},wp-1,shop:wp`);
  await until('it is ready', () => waypoint.ready.ready);
  const get = await world.client(waypoint);
  await world.control.stop();
  await until('it is gone', () => waypoint.source?.state()['connected'] === false);
  t.equal(await get('/'), '200 web');
  t.ok(waypoint.ready.ready);
});

t.test('a waypoint that is no pod of the mesh says so and serves nobody', async t => {
  const world = await ClusterWorld.create(t);
  const uid = world.pod('wp-9', 'wp', '10.0.0.9', 15_008);
  const waypoint = world.waypoint(`${uid},wp-9,shop:wp`);
  await until('it has heard of the mesh', () => waypoint.ready.pending().length === 1);
  t.match(waypoint.ready.pending(), ['certificate (Kubernetes//Pod/shop/wp-1 is not in the mesh)']);
});
