import t from 'tap';
import { admissionNeeds, routeNeeds } from '../../model/route-needs.ts';
import type { GatewayAddress } from '../../model/workload.ts';
import { mesh, service, workload } from './objects.ts';

const client = workload('client', { addresses: ['10.0.0.9'], network: 'n' });
const byName: GatewayAddress = {
  destination: { kind: 'hostname', namespace: 'shop', hostname: 'gate.shop.svc.cluster.local' },
  hboneMtlsPort: 15008,
};
const byAddress: GatewayAddress = {
  destination: { kind: 'address', network: 'n', address: '10.96.0.9' },
  hboneMtlsPort: 15008,
};
const vip = (address: string) => ({ addresses: [{ network: 'n', address }] });

t.test('an address of which nothing is known is asked for by its network', async t => {
  t.same(routeNeeds(mesh({}), client, '10.0.0.1'), ['n/10.0.0.1']);
  t.same(routeNeeds(mesh({}), client, 'fd00::1'), ['n/fd00::1']);
});

t.test('what never leaves the pod is nobody’s business', async t => {
  t.same(routeNeeds(mesh({}), client, '127.0.0.1'), []);
  t.same(routeNeeds(mesh({}), client, '10.0.0.9'), []);
});

t.test('what is known is not asked for', async t => {
  const known = mesh({
    workloads: [workload('web', { addresses: ['10.0.0.1'], network: 'n' })],
    services: [service('web', vip('10.96.0.1'))],
  });
  t.same(routeNeeds(known, client, '10.0.0.1'), []);
  t.same(routeNeeds(known, client, '10.96.0.1'), []);
  t.same(routeNeeds(known, { ...client, network: 'other' }, '10.96.0.1'), ['other/10.96.0.1']);
});

t.test('the waypoint of what is known is asked for, however it is given, and only once', async t => {
  const known = {
    workloads: [workload('web', { addresses: ['10.0.0.1'], network: 'n', waypoint: byAddress })],
    services: [service('web', { ...vip('10.96.0.1'), waypoint: byName })],
  };
  t.same(routeNeeds(mesh(known), client, '10.0.0.1'), ['n/10.96.0.9']);
  t.same(routeNeeds(mesh(known), client, '10.96.0.1'), ['shop/gate.shop.svc.cluster.local']);
  const gate = service('gate', vip('10.96.0.9'));
  const more = mesh({ ...known, services: [...known.services, gate] });
  t.same(routeNeeds(more, client, '10.0.0.1'), []);
  t.same(routeNeeds(more, client, '10.96.0.1'), []);
});

t.test('the waypoints of a service’s pods are asked for', async t => {
  const key = 'shop/web.shop.svc.cluster.local';
  const pods = ['a', 'b'].map((name, at) =>
    workload(name, { addresses: [`10.0.0.${at}`], network: 'n', waypoint: byName, services: { [key]: [] } }),
  );
  const known = { workloads: pods, services: [service('web', vip('10.96.0.1'))] };
  t.same(routeNeeds(mesh(known), client, '10.96.0.1'), ['shop/gate.shop.svc.cluster.local']);
});

t.test('who may connect to a workload depends on its services and waypoints', async t => {
  const key = 'shop/web.shop.svc.cluster.local';
  const web = workload('web', { waypoint: byName, services: { [key]: [] } });
  t.same(admissionNeeds(mesh({}), { ...web, waypoint: null }), []);
  t.same(admissionNeeds(mesh({}), web), [key, 'shop/gate.shop.svc.cluster.local']);
  const gate = service('gate', vip('10.96.0.9'));
  const half = { services: [gate, service('web', { waypoint: byAddress })] };
  t.same(admissionNeeds(mesh(half), web), []);
  const other: GatewayAddress = {
    destination: { kind: 'address', network: 'n', address: '10.96.0.77' },
    hboneMtlsPort: 15008,
  };
  t.same(admissionNeeds(mesh({ services: [gate, service('web', { waypoint: other })] }), web), [
    'n/10.96.0.77',
  ]);
});
