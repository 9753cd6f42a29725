/** Which waypoint services and workloads have. */
import t from 'tap';
import { IncrementalBuilder } from '../../control/build-incremental.ts';
import { brief, configured, objectsOf, pod } from '../help/configuration.ts';

const own = 'culvert.dev/use-waypoint';

function gateway(
  name: string,
  options: { labels?: object; from?: string; gatewayClassName?: string } = {},
): string {
  const { labels = {}, from = 'Same', gatewayClassName = 'culvert-waypoint' } = options;
  const listeners = [
    { name: 'mesh', port: 15008, protocol: 'HBONE', allowedRoutes: { namespaces: { from } } },
  ];
  return object('gateway.networking.k8s.io/v1', 'Gateway', name, { labels }, { gatewayClassName, listeners });
}

function service(name: string, labels: object = {}, namespace = 'shop'): string {
  const spec = { clusterIP: 'None', ports: [{ name: 'http', port: 80 }], selector: { app: name } };
  return object('v1', 'Service', name, { namespace, labels }, spec);
}

function namespace(name: string, labels: object): string {
  return object('v1', 'Namespace', name, { namespace: undefined, labels }, {});
}

function object(apiVersion: string, kind: string, name: string, metadata: object, spec: object): string {
  return `${JSON.stringify({ apiVersion, kind, metadata: { name, namespace: 'shop', ...metadata }, spec })}\n---\n`;
}

/** Hostnames of the waypoints of everything that has one, by name. */
function waypoints(text: string): Record<string, string> {
  const { mesh } = configured(text);
  const named = [...mesh.services, ...mesh.workloads].flatMap(({ name, waypoint }) => {
    if (waypoint === null || waypoint.destination.kind !== 'hostname') return [];
    return [[name, `${waypoint.destination.namespace}/${waypoint.destination.hostname}`]];
  });
  return Object.fromEntries(named) as Record<string, string>;
}

const wp = 'shop/wp.shop.svc.cluster.local';
const usual = gateway('wp') + service('wp');

function said(text: string): string[] {
  return brief(configured(text).findings)
    .filter(line => line.includes('waypoint'))
    .map(line => line.split(' ').slice(0, 2).join(' '));
}

t.test('labels of the object, else of its namespace', async t => {
  t.same(waypoints(usual + service('web', { [own]: 'wp' })), { web: wp });
  t.same(waypoints(usual + service('web', { 'istio.io/use-waypoint': 'wp' })), { web: wp });
  const all = usual + namespace('shop', { [own]: 'wp' });
  t.same(waypoints(all + service('web') + service('free', { [own]: 'none' })), { web: wp });
  t.same(waypoints(all + pod({ name: 'a', labels: { app: 'wp' } })), {}, 'nothing leads to a waypoint twice');
  t.same(said(all + service('web')), []);
});

t.test('which traffic', async t => {
  const of = (kind: string): Record<string, string> =>
    waypoints(
      gateway('wp', { labels: { 'culvert.dev/waypoint-for': kind } }) +
        service('wp') +
        namespace('shop', { [own]: 'wp' }) +
        service('web') +
        pod({ name: 'a', labels: { app: 'web' } }) +
        pod({ name: 'proxy', ip: '10.0.0.2', labels: { app: 'wp' } }),
    );
  t.same(of('service'), { web: wp });
  t.same(of('workload'), { a: wp });
  t.same(of('all'), { web: wp, a: wp });
  t.same(of('none'), {});
  const direct = pod({ name: 'a', labels: { [own]: 'wp' } });
  t.same(said(usual + direct), ['error waypoint-refused'], 'asked for by the pod itself');
});

t.test('of another namespace, where its listener admits that', async t => {
  const labels = { [own]: 'wp', 'culvert.dev/use-waypoint-namespace': 'shop' };
  const user = service('web', labels, 'bank');
  t.same(waypoints(usual + user), {});
  t.same(said(usual + user), ['error waypoint-refused']);
  const open = gateway('wp', { from: 'All' }) + service('wp');
  t.same(waypoints(open + user), { web: wp });
  t.same(said(open + user), []);
});

t.test('what can not be had is an error, whoever asks', async t => {
  const labels = { [own]: 'wp' };
  for (const user of [namespace('shop', labels), service('web', labels), pod({ name: 'a', labels })])
    t.same(said(user), ['error unknown-waypoint']);
  t.same(said(gateway('wp', { gatewayClassName: 'nginx' }) + service('web', labels)), [
    'error unknown-waypoint',
  ]);
  t.same(said(gateway('wp') + service('web', labels)), ['error waypoint-without-service']);
  t.same(waypoints(gateway('wp') + service('web', labels)), { web: wp }, 'refused rather than gone around');
});

t.test('a waypoint that comes or goes is followed', async t => {
  const builder = new IncrementalBuilder();
  const users = service('web', { [own]: 'wp' }) + pod({ name: 'a', labels: { [own]: 'wp' } });
  builder.apply({ set: objectsOf(users), removed: [] });
  const waypoint = (): unknown =>
    builder.mesh().services.find(({ name }) => name === 'web')?.waypoint ?? null;
  t.equal(waypoint(), null);
  const labels = { 'culvert.dev/waypoint-for': 'all' };
  const gatewayObjects = objectsOf({ 'b.yaml': gateway('wp', { labels }) });
  const { mesh } = builder.apply({ set: gatewayObjects, removed: [] });
  t.ok(waypoint());
  t.same(
    mesh.workloads.map(({ name, waypoint }) => [name, waypoint !== null]),
    [['a', true]],
  );
  t.match(brief(builder.findings()).join(), /waypoint-without-service/);
  builder.apply({ set: objectsOf({ 'c.yaml': service('wp') }), removed: [] });
  t.notMatch(brief(builder.findings()).join(), /waypoint/);
  builder.apply({ set: [], removed: gatewayObjects });
  t.equal(waypoint(), null);
  t.match(brief(builder.findings()).join(), /unknown-waypoint/);
});

t.test('routes follow their objects, and the Services they name', async t => {
  const route = object(
    'gateway.networking.k8s.io/v1',
    'HTTPRoute',
    'r',
    {},
    {
      parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
      rules: [{ backendRefs: [{ name: 'v2', port: 80 }] }],
    },
  );
  const builder = new IncrementalBuilder();
  const routeObjects = objectsOf({ 'r.yaml': route });
  builder.apply({ set: routeObjects, removed: [] });
  t.same(builder.l7().routes, [], 'bound to nothing yet');
  t.match(brief(builder.findings()).join(), /unknown-parent/);
  builder.apply({ set: objectsOf({ 's.yaml': service('web') }), removed: [] });
  t.match(builder.l7().routes, [
    { name: 'r', parents: [{ service: 'shop/web.shop.svc.cluster.local', port: null }] },
  ]);
  t.match(brief(builder.findings()).join(), /unknown-backend/);
  builder.apply({ set: objectsOf({ 'v.yaml': service('v2') }), removed: [] });
  t.notMatch(brief(builder.findings()).join(), /unknown/);
  builder.apply({ set: [], removed: routeObjects });
  t.same(builder.l7().routes, []);
});
