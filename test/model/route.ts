import * as fc from 'fast-check';
import t from 'tap';
import { emptyMesh } from '../../model/mesh.ts';
import type { Mesh } from '../../model/mesh.ts';
import { resolve } from '../../model/route.ts';
import type { Route, RouteRequest } from '../../model/route.ts';
import { workloadIdentity } from '../../model/workload.ts';
import type { GatewayAddress, Workload } from '../../model/workload.ts';
import { mesh, port, service, workload } from './objects.ts';

const webKey = 'shop/web.shop.svc.cluster.local';
const vip = '10.96.0.1';
const client = workload('client', { addresses: ['10.0.1.1'] });
const remote = workload('remote', {
  addresses: ['10.0.2.1'],
  node: 'n2',
  services: { [webKey]: [port(80, 8080)] },
});
const near = workload('near', { addresses: ['10.0.1.2', 'fd00::2'] });
const plain = workload('plain', { addresses: ['10.0.2.9'], node: 'n2', tunnelProtocol: 'NONE' });
const web = service('web', { addresses: [{ network: '', address: vip }] });
const base = { workloads: [client, remote, near, plain], services: [web] };
const tunnelPort = 15008;

function route(m: Mesh, address: string, port: number, given: Partial<RouteRequest> = {}): Route {
  return resolve(m, {
    source: client,
    destination: { address, port },
    localNode: 'n1',
    isLocal: uid => uid === client.uid || uid === near.uid,
    hbonePort: tunnelPort,
    agentPorts: new Set([15001, 15006, tunnelPort]),
    random: () => 0,
    exclude: new Set(),
    ...given,
  });
}

t.test('a workload of another node goes through a tunnel to its own address and port', async t => {
  t.strictSame(route(mesh(base), '10.0.2.1', 9999), {
    kind: 'hbone',
    workload: remote,
    address: '10.0.2.1',
    port: 9999,
    hbonePort: tunnelPort,
    expectedIdentities: ['spiffe://cluster.local/ns/shop/sa/remote'],
    authority: '10.0.2.1:9999',
    service: null,
  });
  t.match(route(mesh(base), '::ffff:10.0.2.1', 9999), { kind: 'hbone', address: '10.0.2.1' });
});

t.test('IPv6 is bracketed in the authority', async t => {
  const far = { ...near, node: 'n2' };
  t.match(route(mesh({ workloads: [client, far] }), 'fd00::2', 80), {
    kind: 'hbone',
    authority: '[fd00::2]:80',
  });
});

t.test('a service goes to an endpoint on its target port', async t => {
  t.match(route(mesh(base), vip, 80), {
    kind: 'hbone',
    address: '10.0.2.1',
    port: 8080,
    authority: '10.0.2.1:8080',
    service: web,
  });
  t.match(route(mesh(base), vip, 81), { kind: 'refuse', code: 'UNKNOWN_PORT' });
});

t.test('a service names further identities its endpoints may prove', async t => {
  const subjectAltNames = ['spiffe://cluster.local/ns/shop/sa/other', 'web.shop', workloadIdentity(remote)];
  const m = mesh({ ...base, services: [{ ...web, subjectAltNames }] });
  const result = route(m, vip, 80);
  const identities = result.kind === 'hbone' ? result.expectedIdentities : [];
  t.strictSame(identities, [workloadIdentity(remote), 'spiffe://cluster.local/ns/shop/sa/other']);
});

t.test('an enrolled workload of this node is dialled without a tunnel', async t => {
  t.strictSame(route(mesh(base), '10.0.1.2', 80), {
    kind: 'local',
    workload: near,
    address: '10.0.1.2',
    port: 80,
    service: null,
  });
  const elsewhere = mesh({ workloads: [client, { ...near, node: 'n2' }] });
  t.match(
    route(elsewhere, '10.0.1.2', 80),
    { kind: 'hbone' },
    'not when the pod of that name now runs elsewhere',
  );
  t.match(
    route(mesh(base), '10.0.1.2', 80, { isLocal: () => false }),
    { kind: 'hbone' },
    'nor before it is enrolled',
  );
  t.match(route(mesh(base), '10.0.1.1', 80), { kind: 'local', workload: client }, 'a pod can call itself');
});

t.test('a service whose endpoint is the client itself', async t => {
  const self = { ...client, services: { [webKey]: [port(80, 8080)] } };
  const m = mesh({ workloads: [self], services: [web] });
  t.match(route(m, vip, 80, { source: self }), {
    kind: 'local',
    workload: self,
    address: '10.0.1.1',
    port: 8080,
    service: web,
  });
});

t.test('what is not enrolled or not known is plain', async t => {
  t.match(route(mesh(base), '10.0.2.9', 80), {
    kind: 'plain',
    address: '10.0.2.9',
    port: 80,
    workload: plain,
    service: null,
  });
  t.strictSame(route(mesh(base), '203.0.113.1', 443), {
    kind: 'plain',
    address: '203.0.113.1',
    port: 443,
    workload: null,
    service: null,
  });
  const endpoint = { ...plain, services: { [webKey]: [port(80, 8080)] } };
  t.match(route(mesh({ workloads: [client, endpoint], services: [web] }), vip, 80), {
    kind: 'plain',
    address: '10.0.2.9',
    port: 8080,
    service: web,
  });
});

t.test('PASSTHROUGH keeps the destination', async t => {
  const loadBalancing = { routingPreference: [], mode: 'PASSTHROUGH', healthPolicy: 'ONLY_HEALTHY' } as const;
  const m = mesh({ ...base, services: [{ ...web, loadBalancing }] });
  t.match(route(m, vip, 7777), {
    kind: 'plain',
    address: vip,
    port: 7777,
    workload: null,
    service: { name: 'web' },
  });
});

t.test('a workload’s address wins over a VIP, and namespaces only see their services', async t => {
  const shared = service('shared', { addresses: [{ network: '', address: '10.0.2.1' }] });
  t.match(route(mesh({ ...base, services: [shared] }), '10.0.2.1', 80), { kind: 'hbone', service: null });
  const hidden = { ...web, namespace: 'bank', visibility: 'NAMESPACE' } as const;
  t.match(route(mesh({ ...base, services: [hidden] }), vip, 80), { kind: 'plain', service: null });
});

t.test('health: a service skips what is ill, a direct address does not', async t => {
  const ill = { ...remote, status: 'UNHEALTHY' } as const;
  const m = mesh({ ...base, workloads: [client, ill] });
  t.match(route(m, vip, 80), {
    kind: 'refuse',
    code: 'NO_HEALTHY_ENDPOINT',
    reason: /none of the 1 endpoints/,
  });
  t.match(route(m, '10.0.2.1', 80), { kind: 'hbone' });
  m.apply({ ...emptyMesh, removedWorkloads: [ill.uid] });
  t.match(route(m, vip, 80), { kind: 'refuse', code: 'NO_HEALTHY_ENDPOINT', reason: /has no endpoints/ });
});

t.test('after a failed dial another endpoint is tried, but a direct address has no other', async t => {
  const second = workload('second', { ...remote, name: 'second', uid: 'second', addresses: ['10.0.2.2'] });
  const m = mesh({ ...base, workloads: [client, remote, second] });
  const exclude = new Set([remote.uid]);
  t.match(route(m, vip, 80, { exclude }), { kind: 'hbone', address: '10.0.2.2' });
  t.match(route(m, vip, 80, { avoid: exclude }), { kind: 'hbone', address: '10.0.2.2' });
  t.match(route(m, '10.0.2.1', 80, { exclude }), { kind: 'refuse', code: 'NO_HEALTHY_ENDPOINT' });
  t.match(
    route(m, '10.0.2.1', 80, { avoid: exclude }),
    { kind: 'hbone' },
    'others’ failures do not forbid it',
  );
});

t.test('nothing reaches the ports of an agent', async t => {
  t.match(route(mesh(base), '127.0.0.1', 15001), { kind: 'refuse', code: 'SELF_CALL' });
  t.match(route(mesh(base), '::1', 15008), { kind: 'refuse', code: 'SELF_CALL' });
  t.match(route(mesh(base), '10.0.1.1', 15006), { kind: 'refuse', code: 'SELF_CALL' });
  t.match(route(mesh(base), '::ffff:10.0.1.1', 15006), { kind: 'refuse', code: 'SELF_CALL' });
  const guarded = { ...client, waypoint: byName };
  const own = route(mesh({ ...base, workloads: [guarded] }), '10.0.1.1', 15006, { source: guarded });
  t.match(own, { kind: 'refuse', code: 'SELF_CALL' }, 'also behind a waypoint');
  t.match(route(mesh(base), '10.0.1.2', 15008), { kind: 'refuse', code: 'SELF_CALL' }, 'of a neighbour');
  t.match(route(mesh(base), '10.0.2.1', 15008), { kind: 'refuse', code: 'SELF_CALL' }, 'of another node');
  const trick = { ...remote, services: { [webKey]: [port(80, 15008)] } };
  t.match(
    route(mesh({ ...base, workloads: [client, trick] }), vip, 80),
    { kind: 'refuse', code: 'SELF_CALL' },
    'by way of a service',
  );
  t.match(route(mesh(base), '203.0.113.1', 15008), { kind: 'plain' }, 'outside, it is a port like any');
  t.match(route(mesh(base), 'nonsense', 80), { kind: 'refuse', code: 'INVALID_ADDRESS' });
});

const gatewayKey = 'shop/gate.shop.svc.cluster.local';
const gate = workload('gate', {
  addresses: ['10.0.2.50'],
  node: 'n2',
  services: { [gatewayKey]: [port(15008, 15088)] },
});
const gateService = service('gate', {
  addresses: [{ network: '', address: '10.96.0.50' }],
  ports: [port(15008, 15088)],
  subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/gates'],
});
const byName: GatewayAddress = {
  destination: { kind: 'hostname', namespace: 'shop', hostname: 'gate.shop.svc.cluster.local' },
  hboneMtlsPort: 15008,
};
const byVip: GatewayAddress = {
  destination: { kind: 'address', network: '', address: '10.96.0.50' },
  hboneMtlsPort: 15008,
};
const byPod: GatewayAddress = {
  destination: { kind: 'address', network: '', address: '10.0.2.50' },
  hboneMtlsPort: 15007,
};

function withWaypoint(waypoint: GatewayAddress, ...more: Workload[]): Mesh {
  const workloads = [client, { ...remote, waypoint }, gate, ...more];
  return mesh({ workloads, services: [{ ...web, waypoint }, gateService] });
}

t.test('a waypoint gets the tunnel, with the destination as it was asked for', async t => {
  for (const waypoint of [byName, byVip]) {
    const m = withWaypoint(waypoint);
    t.strictSame(route(m, vip, 80), {
      kind: 'waypoint',
      workload: gate,
      address: '10.0.2.50',
      hbonePort: 15088,
      expectedIdentities: [workloadIdentity(gate), 'spiffe://cluster.local/ns/shop/sa/gates'],
      authority: '10.96.0.1:80',
      service: { ...web, waypoint },
      destination: null,
    });
    t.match(route(m, '10.0.2.1', 9999), {
      kind: 'waypoint',
      authority: '10.0.2.1:9999',
      service: null,
      destination: { name: 'remote' },
    });
    t.match(route(m, vip, 4711), { kind: 'waypoint', authority: '10.96.0.1:4711' }, 'ports are its affair');
  }
  t.match(route(withWaypoint(byPod), vip, 80), {
    kind: 'waypoint',
    hbonePort: 15007,
    expectedIdentities: [workloadIdentity(gate)],
  });
});

t.test('what leaves a waypoint goes on to the destination', async t => {
  for (const waypoint of [byName, byVip, byPod]) {
    const m = withWaypoint(waypoint);
    t.match(route(m, vip, 80, { source: gate }), { kind: 'hbone', address: '10.0.2.1', port: 8080 });
    t.match(route(m, '10.0.2.1', 80, { source: gate }), { kind: 'hbone', address: '10.0.2.1' });
  }
  const other = workload('other-gate', { addresses: ['10.0.2.51'], node: 'n2' });
  t.match(
    route(withWaypoint(byName, other), vip, 80, { source: other }),
    { kind: 'waypoint' },
    'another waypoint is a client',
  );
});

t.test('a service without a waypoint leads through that of the pod which was chosen', async t => {
  for (const waypoint of [byName, byVip, byPod]) {
    const m = mesh({ workloads: [client, { ...remote, waypoint }, gate], services: [web, gateService] });
    t.match(route(m, vip, 80), {
      kind: 'waypoint',
      workload: gate,
      authority: '10.0.2.1:8080',
      service: web,
      destination: { uid: remote.uid },
    });
    t.match(route(m, vip, 80, { source: gate }), { kind: 'hbone', address: '10.0.2.1' });
  }
});

t.test('a waypoint that is missing or ill is never passed by', async t => {
  const unknown: GatewayAddress = {
    ...byName,
    destination: { kind: 'hostname', namespace: 'shop', hostname: 'no' },
  };
  t.match(route(withWaypoint(unknown), vip, 80), { kind: 'refuse', code: 'UNKNOWN_WAYPOINT' });
  const abroad: GatewayAddress = {
    ...byPod,
    destination: { kind: 'address', network: 'west', address: '10.0.2.50' },
  };
  t.match(route(withWaypoint(abroad), vip, 80), { kind: 'refuse', code: 'UNKNOWN_WAYPOINT' });
  const m = withWaypoint(byName);
  m.apply({ ...emptyMesh, workloads: [{ ...gate, status: 'UNHEALTHY' }] });
  t.match(route(m, vip, 80), { kind: 'refuse', code: 'NO_HEALTHY_ENDPOINT' });
  const exclude = new Set([gate.uid]);
  t.match(route(withWaypoint(byName), vip, 80, { exclude }), { kind: 'refuse', code: 'NO_HEALTHY_ENDPOINT' });
  t.match(route(withWaypoint(byPod), vip, 80, { exclude }), { kind: 'refuse', code: 'NO_HEALTHY_ENDPOINT' });
});

t.test('an enrolled workload is never reached in the clear, whatever the mesh looks like', async () => {
  const flags = fc.record({
    enrolled: fc.boolean(),
    healthy: fc.boolean(),
    here: fc.boolean(),
    isLocal: fc.boolean(),
    waypoint: fc.constantFrom(null, byName, byVip, byPod),
    excluded: fc.boolean(),
    address: fc.constantFrom(vip, '10.0.2.1'),
  });
  fc.assert(
    fc.property(flags, f => {
      const target = {
        ...remote,
        tunnelProtocol: f.enrolled ? ('HBONE' as const) : ('NONE' as const),
        status: f.healthy ? ('HEALTHY' as const) : ('UNHEALTHY' as const),
        node: f.here ? 'n1' : 'n2',
        waypoint: f.waypoint,
      };
      const m = mesh({
        workloads: [client, target, gate],
        services: [{ ...web, waypoint: f.waypoint }, gateService],
      });
      const exclude = new Set(f.excluded ? [target.uid] : []);
      const result = route(m, f.address, 80, { exclude, isLocal: () => f.isLocal });
      if (f.waypoint !== null && result.kind !== 'refuse') return result.kind === 'waypoint';
      if (result.kind === 'plain') return !f.enrolled && result.workload === target;
      return result.kind !== 'local' || (f.here && f.isLocal && f.enrolled);
    }),
    { numRuns: 1000 },
  );
});
