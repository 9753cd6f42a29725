import * as fc from 'fast-check';
import t from 'tap';
import type { Mesh } from '../../model/mesh.ts';
import { resolve, type Route } from '../../model/route.ts';
import { serviceChoices } from '../../model/service-choices.ts';
import type { Service } from '../../model/service.ts';
import type { GatewayAddress, Workload } from '../../model/workload.ts';
import { mesh, port, service, workload } from './objects.ts';

const key = 'shop/web.shop.svc.cluster.local';
const vip = '10.96.0.1';
const services = { [key]: [port(80, 8080)] };
const client = workload('client', { addresses: ['10.0.0.1'] });
const one = workload('one', { addresses: ['10.0.0.2'], services });
const two = workload('two', { addresses: ['10.0.0.3', 'fd00::3'], services, node: 'n2', capacity: 3 });
const waypoint: GatewayAddress = {
  destination: { kind: 'hostname', namespace: 'shop', hostname: 'waypoint' },
  hboneMtlsPort: 15008,
};

function web(given: Partial<Service> = {}): Service {
  return service('web', { addresses: [{ network: '', address: vip }], ports: [port(80, 8080)], ...given });
}

function withWeb(given: Partial<Service> = {}, ...others: readonly Workload[]): Mesh {
  return mesh({ workloads: [client, one, two, ...others], services: [web(given)] });
}

const names = (m: Mesh, destination = { address: vip, port: 80 }): unknown =>
  serviceChoices(m, client, destination)?.endpoints.map(({ workload: { name } }) => name) ?? null;

function route(m: Mesh, random: number, chosen?: { address: string; port: number }): Route {
  return resolve(m, {
    source: client,
    destination: { address: vip, port: 80 },
    localNode: 'n1',
    isLocal: uid => uid === one.uid,
    hbonePort: 15008,
    agentPorts: new Set([15008]),
    random: () => random,
    exclude: new Set(),
    ...(chosen === undefined ? {} : { chosen }),
  });
}

t.test('all that may be dialled, each where it is dialled', async t => {
  const found = serviceChoices(withWeb(), client, { address: vip, port: 80 });
  t.equal(found?.service.name, 'web');
  t.match(found?.endpoints, [
    { workload: { name: 'one' }, address: '10.0.0.2', targetPort: 8080 },
    { workload: { name: 'two', capacity: 3 }, address: '10.0.0.3', targetPort: 8080 },
  ]);
});

t.test('only those that are ready, and of them the nearest', async t => {
  t.same(names(withWeb({}, { ...one, status: 'UNHEALTHY' })), ['two']);
  const loadBalancing = {
    routingPreference: ['NODE'],
    mode: 'STRICT',
    healthPolicy: 'ONLY_HEALTHY',
  } as const;
  t.same(names(withWeb({ loadBalancing })), ['one']);
  t.same(names(withWeb({ loadBalancing: { ...loadBalancing, mode: 'FAILOVER' } })), ['one']);
});

t.test('what takes more than a draw has none', async t => {
  t.equal(names(withWeb({ sessionAffinityMs: 1000 })), null, 'clients are kept');
  t.equal(names(withWeb({ waypoint })), null, 'a waypoint');
  const loadBalancing = {
    routingPreference: [],
    mode: 'PASSTHROUGH',
    healthPolicy: 'ONLY_HEALTHY',
  } as const;
  t.equal(names(withWeb({ loadBalancing })), null, 'passed through');
  t.equal(names(withWeb(), { address: vip, port: 81 }), null, 'refused: no such port');
  t.equal(names(mesh({ workloads: [client], services: [web()] })), null, 'refused: no endpoint');
  t.equal(names(withWeb(), { address: '10.0.0.2', port: 8080 }), null, 'a pod');
  t.equal(names(withWeb(), { address: '192.0.2.1', port: 80 }), null, 'nothing that is known');
  const uid = 'Kubernetes/networking.istio.io/ServiceEntry/shop/db/db.example';
  const named = workload('named', { uid, hostname: 'db.example', services });
  t.equal(names(withWeb({}, named)), null, 'an endpoint that is known by name only');
  const hidden = web({ visibility: 'NAMESPACE', namespace: 'bank' });
  t.equal(names(mesh({ workloads: [client, one], services: [hidden] })), null, 'not its to see');
});

t.test('what has been chosen is taken, if it may be', async t => {
  for (const random of [0, 0.5, 0.999]) {
    t.match(route(withWeb(), random, { address: '10.0.0.2', port: 8080 }), { workload: { name: 'one' } });
    t.match(route(withWeb(), random, { address: '10.0.0.3', port: 8080 }), { workload: { name: 'two' } });
  }
  const ill = withWeb({}, { ...two, status: 'UNHEALTHY' });
  t.match(
    route(ill, 0, { address: '10.0.0.3', port: 8080 }),
    { workload: { name: 'one' } },
    'not ready any more',
  );
  t.match(
    route(withWeb(), 0, { address: '10.0.0.3', port: 81 }),
    { workload: { name: 'one' } },
    'another port',
  );
  t.match(
    route(withWeb(), 0, { address: '10.0.0.9', port: 8080 }),
    { workload: { name: 'one' } },
    'a pod that is gone',
  );
});

t.test('the chances are those of resolve()', async t => {
  const member = fc.record({
    capacity: fc.integer({ min: 0, max: 4 }),
    status: fc.constantFrom('HEALTHY', 'UNHEALTHY'),
    node: fc.constantFrom('n1', 'n2', 'n3'),
  });
  const loadBalancing = fc.record({
    routingPreference: fc.constantFrom([], ['NODE'] as const),
    mode: fc.constantFrom('UNSPECIFIED', 'STRICT', 'FAILOVER'),
    healthPolicy: fc.constantFrom('ONLY_HEALTHY', 'ALLOW_ALL'),
  });
  fc.assert(
    fc.property(fc.array(member, { maxLength: 6 }), loadBalancing, (members, loadBalancing) => {
      const workloads = members.map((given, at) =>
        workload(`w${at}`, { ...given, addresses: [`10.0.1.${at}`], services }),
      );
      const m = mesh({ workloads: [client, ...workloads], services: [web({ loadBalancing })] });
      const found = serviceChoices(m, client, { address: vip, port: 80 });
      const total = found?.endpoints.reduce((sum, { workload: { capacity } }) => sum + capacity, 0) ?? 1;
      const chances = new Map<string, number>();
      for (let at = 0; at < total; at += 1) {
        const drawn = route(m, (at + 0.5) / total);
        if (drawn.kind === 'refuse') return found === null;
        const name = drawn.workload?.name ?? '';
        chances.set(name, (chances.get(name) ?? 0) + 1);
      }
      return (
        found?.endpoints.every(({ workload: { name, capacity } }) => chances.get(name) === capacity) === true
      );
    }),
  );
  t.pass();
});
