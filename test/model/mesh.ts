import * as fc from 'fast-check';
import t from 'tap';
import { diff, emptyMesh, Mesh } from '../../model/mesh.ts';
import type { MeshDelta } from '../../model/mesh.ts';
import { serviceKey } from '../../model/service.ts';
import { mesh, policy, port, rule, service, workload } from './objects.ts';

const webKey = 'shop/web.shop.svc.cluster.local';
const endpointOfWeb = { services: { [webKey]: [port(80, 8080)] } };

t.test('an empty mesh knows nothing', async t => {
  const m = new Mesh();
  t.equal(m.version, 0);
  t.equal(m.workload('x'), null);
  t.equal(m.workloadByAddress('', '10.0.0.1'), null);
  t.equal(m.service('x/y'), null);
  t.strictSame(m.servicesByAddress('', '10.0.0.1'), []);
  t.equal(m.serviceFor('', '10.0.0.1', 'shop'), null);
  t.strictSame(m.endpoints(webKey), []);
  t.strictSame(m.policiesFor(workload('web')), []);
  t.strictSame(m.snapshot(), emptyMesh);
});

t.test('the version grows with every delta that has something in it', async t => {
  const m = new Mesh();
  m.apply(emptyMesh);
  t.equal(m.version, 0);
  m.apply({ ...emptyMesh, workloads: [workload('web')] });
  t.equal(m.version, 1);
  m.apply({ ...emptyMesh, removedPolicies: ['shop/x'] });
  t.equal(m.version, 2);
});

t.test('workloads are found by uid and by each address of their network', async t => {
  const web = workload('web', { addresses: ['10.0.0.1', 'fd00::1'], network: 'east' });
  const m = mesh({ workloads: [web] });
  t.equal(m.workload(web.uid), web);
  t.equal(m.workloadByAddress('east', '10.0.0.1'), web);
  t.equal(m.workloadByAddress('east', 'fd00::1'), web);
  t.equal(m.workloadByAddress('west', '10.0.0.1'), null);
});

t.test('a workload on the network of its node is an endpoint but has no address of its own', async t => {
  const web = workload('web', { addresses: ['192.168.0.1'], networkMode: 'HOST_NETWORK', ...endpointOfWeb });
  const m = mesh({ workloads: [web] });
  t.equal(m.workloadByAddress('', '192.168.0.1'), null);
  t.strictSame(m.endpoints(webKey), [web]);
});

t.test(
  'of several workloads at one address a pod comes first, then enrolled, then healthy, in any order of arrival',
  async t => {
    const addresses = ['10.0.0.1'];
    const ranked = [
      workload('d', { addresses }),
      workload('e', { addresses }),
      workload('c', { addresses, status: 'UNHEALTHY' }),
      workload('b', { addresses, tunnelProtocol: 'NONE' }),
      workload('a', { addresses, uid: 'Kubernetes/networking.istio.io/WorkloadEntry/shop/a' }),
    ];
    for (const arrival of [ranked, ranked.toReversed()]) {
      const m = mesh({ workloads: arrival });
      for (const expected of ranked) {
        t.equal(m.workloadByAddress('', '10.0.0.1')?.uid, expected.uid);
        m.apply({ ...emptyMesh, removedWorkloads: [expected.uid] });
      }
      t.equal(m.workloadByAddress('', '10.0.0.1'), null);
    }
  },
);

t.test('an address that went to another workload is the other one at once', async t => {
  const old = workload('old', { addresses: ['10.0.0.1'] });
  const young = workload('young', { addresses: ['10.0.0.1'] });
  const m = mesh({ workloads: [old] });
  m.apply({ ...emptyMesh, workloads: [young], removedWorkloads: [old.uid] });
  t.equal(m.workloadByAddress('', '10.0.0.1'), young);
  m.apply({ ...emptyMesh, workloads: [{ ...young, addresses: ['10.0.0.2'] }] });
  t.equal(m.workloadByAddress('', '10.0.0.1'), null, 'a replaced workload leaves its old address');
  t.equal(m.workloadByAddress('', '10.0.0.2')?.uid, young.uid);
});

t.test('endpoints follow their workloads, also before the service is known', async t => {
  const a = workload('a', endpointOfWeb);
  const b = workload('b', endpointOfWeb);
  const m = mesh({ workloads: [a] });
  t.strictSame(m.endpoints(webKey), [a]);
  m.apply({ ...emptyMesh, workloads: [b], services: [service('web')] });
  t.strictSame(m.endpoints(webKey), [a, b]);
  const moved = { ...a, services: { 'shop/db.shop.svc.cluster.local': [port(1, 2)] } };
  m.apply({ ...emptyMesh, workloads: [moved] });
  t.strictSame(m.endpoints(webKey), [b]);
  t.strictSame(m.endpoints('shop/db.shop.svc.cluster.local'), [moved]);
  m.apply({ ...emptyMesh, removedServices: [webKey] });
  t.strictSame(m.endpoints(webKey), [b], 'whose service is gone, but may come back');
  m.apply({ ...emptyMesh, removedWorkloads: [b.uid] });
  t.strictSame(m.endpoints(webKey), []);
});

t.test(
  'a VIP means the service of the own namespace, then a canonical one, and none that is hidden',
  async t => {
    const addresses = [{ network: '', address: '10.96.0.1' }];
    const entry = service('entry', { namespace: 'aaa', addresses, canonical: false });
    const canonical = service('web', { namespace: 'bank', addresses });
    const own = service('own', { addresses, canonical: false });
    const hidden = service('hidden', { namespace: 'cave', addresses, visibility: 'NAMESPACE' });
    const m = mesh({ services: [entry, canonical, own, hidden] });
    t.equal(m.serviceFor('', '10.96.0.1', 'shop'), own);
    t.equal(m.serviceFor('', '10.96.0.1', 'elsewhere'), canonical);
    t.equal(m.serviceFor('', '10.96.0.1', 'cave'), hidden);
    t.equal(m.serviceFor('west', '10.96.0.1', 'shop'), null);
    t.strictSame(m.servicesByAddress('', '10.96.0.1'), [canonical, hidden, entry, own]);
    m.apply({ ...emptyMesh, removedServices: [serviceKey(canonical), serviceKey(own)] });
    t.equal(m.serviceFor('', '10.96.0.1', 'shop'), entry);
    m.apply({ ...emptyMesh, removedServices: [serviceKey(entry)] });
    t.equal(m.serviceFor('', '10.96.0.1', 'shop'), null, 'what is left is hidden from this namespace');
  },
);

t.test('a replaced service leaves its old VIP', async t => {
  const web = service('web', { addresses: [{ network: '', address: '10.96.0.1' }] });
  const m = mesh({ services: [web] });
  const moved = { ...web, addresses: [{ network: '', address: '10.96.0.2' }] };
  m.apply({ ...emptyMesh, services: [moved] });
  t.strictSame(m.servicesByAddress('', '10.96.0.1'), []);
  t.equal(m.service(webKey), moved);
  t.equal(m.serviceFor('', '10.96.0.2', 'shop'), moved);
});

const denyAll = policy('DENY', [rule({ destinationPorts: [1] })], {
  name: 'global',
  namespace: 'root',
  scope: 'GLOBAL',
});
const ofShop = policy('ALLOW', [], { name: 'shop' });
const ofBank = policy('ALLOW', [], { name: 'bank', namespace: 'bank' });
const selected = policy('DENY', [], { name: 'selected', namespace: 'root', scope: 'WORKLOAD_SELECTOR' });
const unselected = policy('DENY', [], { name: 'unselected', scope: 'WORKLOAD_SELECTOR' });
const web = workload('web', { authorizationPolicies: ['root/selected', 'shop/missing'] });

t.test('a host is found as long as somebody describes it', async t => {
  const host = { canonical: false, hostname: 'api.example' };
  const m = mesh({ services: [service('a', { ...host, namespace: 'bank' }), service('b', host)] });
  t.equal(m.serviceByHost('api.example', 'shop')?.name, 'b');
  t.equal(m.serviceByHost('api.example', 'other')?.name, 'a');
  m.apply({ ...emptyMesh, services: [service('b', { ...host, visibility: 'NAMESPACE' })] });
  t.equal(m.serviceByHost('api.example', 'other')?.name, 'a');
  m.apply({ ...emptyMesh, removedServices: ['bank/api.example'] });
  t.equal(m.serviceByHost('api.example', 'other'), null);
  m.apply({ ...emptyMesh, removedServices: ['shop/api.example'] });
  t.equal(m.serviceByHost('api.example', 'shop'), null);
  const canonical = mesh({ services: [service('web')] });
  t.equal(canonical.serviceByHost('web.shop.svc.cluster.local', 'shop'), null, 'those have a key');
});

t.test('a workload has the policies of the mesh, of its namespace and those it names', async t => {
  const m = mesh({ policies: [unselected, selected, ofBank, ofShop, denyAll] });
  t.strictSame(m.policiesFor(web), [denyAll, ofShop, selected]);
  t.strictSame(m.policiesFor(workload('x', { namespace: 'bank' })), [denyAll, ofBank]);
  t.strictSame(m.missingPolicies(web), ['shop/missing']);
  const twice = workload('y', { authorizationPolicies: ['shop/shop', 'shop/shop', 'root/global'] });
  t.strictSame(m.policiesFor(twice), [denyAll, ofShop], 'each once');
});

t.test('the array of policies stays the same until one in it changes', async t => {
  const m = mesh({ policies: [selected, ofBank, ofShop, denyAll] });
  const before = m.policiesFor(web);
  t.equal(
    m.policiesFor({ ...web, addresses: ['10.0.0.9'] }),
    before,
    'shared by workloads with the same policies',
  );
  m.apply({
    ...emptyMesh,
    workloads: [web],
    services: [service('web')],
    policies: [{ ...ofBank }, unselected],
  });
  t.equal(m.policiesFor(web), before, 'others may change');
  const changes: readonly Partial<MeshDelta>[] = [
    { policies: [{ ...denyAll }] },
    { policies: [{ ...ofShop }] },
    { policies: [{ ...selected }] },
    { policies: [{ ...ofShop, namespace: 'root', name: 'more', scope: 'GLOBAL' }] },
    { policies: [{ ...ofShop, name: 'missing', scope: 'WORKLOAD_SELECTOR' }] },
    { removedPolicies: ['shop/missing'] },
    { removedPolicies: ['root/global'] },
    { removedPolicies: ['shop/shop'] },
    { policies: [{ ...selected, name: 'selected', scope: 'GLOBAL' }] },
  ];
  for (const change of changes) {
    const old = m.policiesFor(web);
    m.apply({ ...emptyMesh, ...change });
    t.not(m.policiesFor(web), old, JSON.stringify(change));
    t.strictSame(m.policiesFor(web), mesh(m.snapshot()).policiesFor(web), 'a new store says the same');
  }
});

t.test('a policy that changes its scope is gone from the old one', async t => {
  const m = mesh({ policies: [{ ...denyAll, scope: 'GLOBAL' }] });
  m.apply({ ...emptyMesh, policies: [{ ...denyAll, scope: 'NAMESPACE' }] });
  t.strictSame(m.policiesFor(web), []);
});

t.test('a snapshot is everything, sorted, whatever came first', async t => {
  const a = workload('a');
  const b = workload('b');
  const s = service('s');
  const m = mesh({ workloads: [b, a], services: [s], policies: [ofShop, ofBank] });
  t.strictSame(m.snapshot(), { ...emptyMesh, workloads: [a, b], services: [s], policies: [ofBank, ofShop] });
});

const state = fc
  .record({
    workloads: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c', 'd'),
        ip: fc.nat(3),
        policy: fc.nat(2),
        endpoint: fc.boolean(),
      }),
      { selector: w => w.name },
    ),
    services: fc.uniqueArray(fc.record({ name: fc.constantFrom('web', 'db'), vip: fc.nat(2) }), {
      selector: s => s.name,
    }),
    policies: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('p0', 'p1', 'p2'),
        action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
        scope: fc.constantFrom('GLOBAL' as const, 'NAMESPACE' as const, 'WORKLOAD_SELECTOR' as const),
        ports: fc.array(fc.nat(2), { maxLength: 2 }),
      }),
      { selector: p => p.name },
    ),
  })
  .map(({ workloads, services, policies }): MeshDelta => ({
    ...emptyMesh,
    workloads: workloads.map(({ name, ip, policy, endpoint }) =>
      workload(name, {
        addresses: [`10.0.0.${ip}`],
        authorizationPolicies: [`shop/p${policy}`],
        ...(endpoint ? endpointOfWeb : {}),
      }),
    ),
    services: services.map(({ name, vip }) =>
      service(name, { addresses: [{ network: '', address: `10.96.0.${vip}` }] }),
    ),
    policies: policies.map(({ name, action, scope, ports }) =>
      policy(action, [rule({ destinationPorts: ports })], { name, scope }),
    ),
  }));

/** Everything one can ask, as text; endpoints have no order. */
function answers(m: Mesh): string {
  const ips = [0, 1, 2, 3].map(i => m.workloadByAddress('', `10.0.0.${i}`));
  const vips = [0, 1, 2].map(i => m.servicesByAddress('', `10.96.0.${i}`));
  const endpoints = m
    .endpoints(webKey)
    .map(w => w.uid)
    .sort();
  const policies = m.snapshot().workloads.map(w => m.policiesFor(w));
  return JSON.stringify([m.snapshot(), ips, vips, endpoints, policies]);
}

t.test('the difference of two states, applied to the first, gives the second in every answer', async () => {
  fc.assert(
    fc.property(state, state, state, (first, second, third) => {
      const m = mesh(first);
      answers(m);
      for (const [from, to] of [
        [first, second],
        [second, third],
      ] as const) {
        const delta = diff(from, structuredClone(to));
        m.apply(delta);
        if (answers(m) !== answers(mesh(to))) return false;
        const named = delta.workloads.length + delta.services.length + delta.policies.length;
        if (JSON.stringify(from) === JSON.stringify(to) && named > 0) return false;
      }
      return true;
    }),
    { numRuns: 1500 },
  );
});

t.test('a difference names only what differs in depth', async t => {
  const before = {
    ...emptyMesh,
    workloads: [workload('a'), workload('b', endpointOfWeb), workload('c')],
    policies: [ofShop],
  };
  const { uid, ...rest } = workload('a');
  const after = {
    ...emptyMesh,
    workloads: [{ ...rest, uid }, workload('b', { services: { [webKey]: [port(80, 8081)] } }), workload('d')],
    policies: [ofShop],
  };
  const delta = diff(before, after);
  t.strictSame(
    delta.workloads.map(w => w.name),
    ['b', 'd'],
    'the order of fields does not count',
  );
  t.strictSame(delta.removedWorkloads, [workload('c').uid]);
  t.strictSame(delta.policies, []);
});

t.test('thirty thousand workloads are found in a moment and indexed in little memory', async t => {
  const workloads = Array.from({ length: 30_000 }, (_, i) =>
    workload(`w${i}`, {
      addresses: [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`],
      ...(i % 300 === 0 ? endpointOfWeb : {}),
    }),
  );
  const before = process.memoryUsage().heapUsed;
  const m = mesh({ workloads });
  const bytes = process.memoryUsage().heapUsed - before;
  t.ok(bytes < 30_000 * 1000, `${Math.round(bytes / 30_000)} bytes of index for each`);
  t.equal(m.workloadByAddress('', '10.0.117.47')?.name, 'w29999');
  t.equal(m.endpoints(webKey).length, 100);
});
