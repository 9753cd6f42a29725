import * as fc from 'fast-check';
import t from 'tap';
import { pickEndpoint } from '../../model/balance.ts';
import type { PickOptions } from '../../model/balance.ts';
import type { Mesh } from '../../model/mesh.ts';
import type { LoadBalancing, Service } from '../../model/service.ts';
import type { Workload } from '../../model/workload.ts';
import { mesh, port, service, workload } from './objects.ts';

const key = 'shop/web.shop.svc.cluster.local';
const services = { [key]: [port(80, 8080), port(81, 0)] };

function endpoint(name: string, given: Partial<Workload> = {}): Workload {
  return workload(name, { addresses: ['10.0.0.1'], services, ...given });
}

const from = workload('client', { node: 'n1', locality: { region: 'r1', zone: 'z1', subzone: 's1' } });

function options(given: Partial<PickOptions> = {}): PickOptions {
  return { from, random: () => 0, exclude: new Set(), family: 4, ...given };
}

function balanced(given: Partial<LoadBalancing>): Service {
  return service('web', {
    loadBalancing: { routingPreference: [], mode: 'UNSPECIFIED', healthPolicy: 'ONLY_HEALTHY', ...given },
  });
}

/** The names of all endpoints that some random number picks. */
function reachable(m: Mesh, service: Service, given: Partial<PickOptions> = {}): string[] {
  const names = new Set<string>();
  for (let i = 0; i < 200; i++) {
    const picked = pickEndpoint(m, service, 80, options({ ...given, random: () => i / 200 }));
    if (picked !== null) names.add(picked.workload.name);
  }
  return [...names].sort();
}

t.test('the endpoint brings its own port and address', async t => {
  const m = mesh({ workloads: [endpoint('a')] });
  t.match(pickEndpoint(m, service('web'), 80, options()), {
    workload: { name: 'a' },
    address: '10.0.0.1',
    targetPort: 8080,
  });
  t.equal(pickEndpoint(m, service('web'), 82, options()), null, 'a port it does not have');
  t.equal(pickEndpoint(m, service('web'), 81, options()), null, 'a port it could not resolve');
  t.equal(pickEndpoint(m, service('db'), 80, options()), null, 'a service without endpoints');
});

t.test('what is unhealthy, excluded, without weight or on another network is not picked', async t => {
  const m = mesh({
    workloads: [
      endpoint('good'),
      endpoint('ill', { status: 'UNHEALTHY' }),
      endpoint('tried'),
      endpoint('weightless', { capacity: 0 }),
      endpoint('far', { network: 'west' }),
      endpoint('nowhere', { addresses: [] }),
    ],
  });
  const exclude = new Set([endpoint('tried').uid]);
  t.strictSame(reachable(m, service('web'), { exclude }), ['good']);
  t.strictSame(reachable(m, balanced({ healthPolicy: 'ALLOW_ALL' }), { exclude }), ['good', 'ill']);
  exclude.add(endpoint('good').uid);
  t.strictSame(reachable(m, service('web'), { exclude }), []);
});

t.test('what failed lately is picked only when there is nothing else', async t => {
  const m = mesh({ workloads: [endpoint('a'), endpoint('b')] });
  const avoid = new Set([endpoint('a').uid]);
  t.strictSame(reachable(m, service('web'), { avoid }), ['b']);
  t.strictSame(reachable(m, service('web'), { avoid, exclude: new Set([endpoint('b').uid]) }), ['a']);
});

t.test('the family asked for is preferred, what the service permits is kept', async t => {
  const dual = mesh({ workloads: [endpoint('a', { addresses: ['10.0.0.1', 'fd00::1'] })] });
  const address = (m: Mesh, ipFamilies: Service['ipFamilies'], family: 4 | 6): string | null =>
    pickEndpoint(m, service('web', { ipFamilies }), 80, options({ family }))?.address ?? null;
  t.equal(address(dual, 'AUTOMATIC', 4), '10.0.0.1');
  t.equal(address(dual, 'AUTOMATIC', 6), 'fd00::1');
  t.equal(address(dual, 'DUAL', 6), 'fd00::1');
  t.equal(address(dual, 'IPV4_ONLY', 6), '10.0.0.1');
  t.equal(address(dual, 'IPV6_ONLY', 4), 'fd00::1');
  const single = mesh({ workloads: [endpoint('a')] });
  t.equal(address(single, 'AUTOMATIC', 6), '10.0.0.1', 'the other family rather than none');
  t.equal(address(single, 'IPV6_ONLY', 6), null);
});

const ladder = mesh({
  workloads: [
    endpoint('node', { node: 'n1', locality: { region: 'r1', zone: 'z1', subzone: 's1' } }),
    endpoint('zone', { node: 'n2', locality: { region: 'r1', zone: 'z1', subzone: 's2' } }),
    endpoint('region', { node: 'n3', locality: { region: 'r1', zone: 'z2', subzone: 's1' } }),
    endpoint('abroad', { node: 'n4', locality: { region: 'r2', zone: 'z1', subzone: 's1' } }),
    endpoint('unknown', { node: '', locality: null }),
  ],
});
const nearest = ['NETWORK', 'REGION', 'ZONE', 'SUBZONE', 'NODE'] as const;

t.test('FAILOVER takes the best rank that has any', async t => {
  const service = balanced({ mode: 'FAILOVER', routingPreference: nearest });
  const gone = new Set<string>();
  for (const names of [['node'], ['zone'], ['region'], ['abroad', 'unknown']]) {
    t.strictSame(reachable(ladder, service, { exclude: gone }), names);
    for (const name of names) gone.add(endpoint(name).uid);
  }
});

t.test('STRICT takes only what shares every scope', async t => {
  const local = balanced({ mode: 'STRICT', routingPreference: ['NODE'] });
  t.strictSame(reachable(ladder, local), ['node']);
  t.strictSame(reachable(ladder, local, { exclude: new Set([endpoint('node').uid]) }), []);
  t.strictSame(reachable(ladder, local, { from: { ...from, node: '' } }), [], 'no node is nobody’s node');
  t.strictSame(reachable(ladder, local, { from: null }), [], 'a client that is nowhere');
  t.strictSame(reachable(ladder, balanced({ mode: 'STRICT', routingPreference: ['REGION', 'ZONE'] })), [
    'node',
    'zone',
  ]);
  t.strictSame(reachable(ladder, balanced({ mode: 'STRICT', routingPreference: ['CLUSTER'] })).length, 5);
});

t.test('without a mode, or for an unknown client, all are equally near', async t => {
  t.equal(reachable(ladder, balanced({ routingPreference: nearest })).length, 5);
  t.equal(
    reachable(ladder, balanced({ mode: 'FAILOVER', routingPreference: nearest }), { from: null }).length,
    5,
  );
});

t.test('weights are shares', async t => {
  const m = mesh({
    workloads: [
      endpoint('a', { capacity: 1 }),
      endpoint('b', { capacity: 3 }),
      endpoint('c', { capacity: 6 }),
    ],
  });
  const count = new Map<string, number>();
  const rounds = 1000;
  for (let i = 0; i < rounds; i++) {
    const picked = pickEndpoint(m, service('web'), 80, options({ random: () => (i + 0.5) / rounds }));
    const name = picked?.workload.name ?? '';
    count.set(name, (count.get(name) ?? 0) + 1);
  }
  t.strictSame(
    Object.fromEntries(count),
    { a: 100, b: 300, c: 600 },
    'evenly spread numbers give exact shares',
  );
});

t.test('weights count only inside the best rank, and a share ends where the next begins', async t => {
  const far = endpoint('far', { node: 'n2', capacity: 90 });
  const workloads = [far, endpoint('a', { capacity: 1 }), endpoint('b', { capacity: 9 })];
  const service = balanced({ mode: 'FAILOVER', routingPreference: ['NODE'] });
  const at = (random: number): string | undefined =>
    pickEndpoint(mesh({ workloads }), service, 80, options({ random: () => random }))?.workload.name;
  t.equal(at(0), 'a');
  t.equal(at(0.09), 'a');
  t.equal(at(0.1), 'b');
  t.equal(at(0.999), 'b');
});

const candidate = fc.record({
  excluded: fc.boolean(),
  avoided: fc.boolean(),
  given: fc.record({
    status: fc.constantFrom('HEALTHY' as const, 'UNHEALTHY' as const),
    capacity: fc.nat(3),
    node: fc.constantFrom('n1', 'n2', ''),
    network: fc.constantFrom('', 'west'),
    addresses: fc.subarray(['10.0.0.1', 'fd00::1']),
  }),
});

t.test('what is picked is always fit, and something is picked whenever anything is', async () => {
  const modes = fc.constantFrom<LoadBalancing['mode']>('UNSPECIFIED', 'FAILOVER', 'STRICT');
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(candidate, { maxLength: 8 }),
      modes,
      fc.boolean(),
      random,
      (all, mode, allowAll, number) => {
        const workloads = all.map(({ given }, i) => endpoint(`w${i}`, given));
        const uids = (flag: 'excluded' | 'avoided') =>
          new Set(workloads.flatMap((w, i) => (all[i]?.[flag] === true ? [w.uid] : [])));
        const exclude = uids('excluded');
        const avoid = uids('avoided');
        const healthPolicy = allowAll ? 'ALLOW_ALL' : 'ONLY_HEALTHY';
        const service = balanced({ mode, healthPolicy, routingPreference: ['NODE'] });
        const fit = workloads.filter(
          w =>
            w.capacity > 0 &&
            w.network === '' &&
            w.addresses.length > 0 &&
            !exclude.has(w.uid) &&
            (allowAll || w.status === 'HEALTHY') &&
            (mode !== 'STRICT' || w.node === 'n1'),
        );
        const picked = pickEndpoint(
          mesh({ workloads }),
          service,
          80,
          options({ exclude, avoid, random: () => number }),
        );
        if (picked === null) return fit.length === 0;
        const liked = fit.filter(w => !avoid.has(w.uid));
        const pool = liked.length > 0 ? liked : fit;
        const near = pool.filter(w => w.node === 'n1');
        return (mode === 'FAILOVER' && near.length > 0 ? near : pool).includes(picked.workload);
      },
    ),
    { numRuns: 5000 },
  );
});

t.test('a service that keeps clients gives each always the same endpoint', async t => {
  const names = ['a', 'b', 'c', 'd'];
  const sticky = service('web', { sessionAffinityMs: 10_800_000 });
  const clients = Array.from({ length: 400 }, (_, n) => workload(`client-${n}`));
  const choices = (m: Mesh): (string | undefined)[] =>
    clients.map(
      client => pickEndpoint(m, sticky, 80, options({ from: client, random: Math.random }))?.workload.name,
    );
  const all = mesh({ workloads: names.map(name => endpoint(name)) });
  const before = choices(all);
  t.same(choices(all), before, 'whatever random says');
  t.same(choices(mesh({ workloads: names.toReversed().map(name => endpoint(name)) })), before, 'everywhere');
  for (const name of names) {
    const share = before.filter(chosen => chosen === name).length;
    t.ok(share > 60 && share < 140, `${name} has ${share} of 400`);
  }
  const without = choices(mesh({ workloads: names.slice(1).map(name => endpoint(name)) }));
  t.ok(
    before.every((chosen, n) => chosen === 'a' || chosen === without[n]),
    'only the clients of the one that is gone go elsewhere',
  );
});

t.test('clients that are kept follow weight, health, nearness and what failed', async t => {
  const sticky = service('web', { sessionAffinityMs: 1 });
  const clients = Array.from({ length: 400 }, (_, n) => workload(`client-${n}`, { node: 'n1' }));
  const shares = (m: Mesh, kept: Service, given: Partial<PickOptions> = {}): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const client of clients) {
      const name = pickEndpoint(m, kept, 80, options({ ...given, from: client }))?.workload.name ?? 'none';
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  };
  const weighted = shares(mesh({ workloads: [endpoint('a', { capacity: 3 }), endpoint('b')] }), sticky);
  t.ok(
    (weighted['a'] ?? 0) > 260 && (weighted['a'] ?? 0) < 340,
    `${weighted['a']} of 400 for three quarters`,
  );
  const two = mesh({ workloads: [endpoint('a', { status: 'UNHEALTHY' }), endpoint('b', { node: 'n2' })] });
  t.same(shares(two, sticky), { b: 400 });
  const near = service('web', {
    sessionAffinityMs: 1,
    loadBalancing: { routingPreference: ['NODE'], mode: 'FAILOVER', healthPolicy: 'ALLOW_ALL' },
  });
  t.same(shares(two, near), { a: 400 });
  t.same(shares(two, near, { avoid: new Set(['Kubernetes//Pod/shop/a']) }), { b: 400 });
});

t.test('an endpoint outside the cluster that has only a name is dialled by it', async t => {
  const uid = 'Kubernetes/networking.istio.io/ServiceEntry/shop/db/db.example';
  const outside = endpoint('db', { uid, addresses: [], hostname: 'db.example', tunnelProtocol: 'NONE' });
  t.match(pickEndpoint(mesh({ workloads: [outside] }), service('web'), 80, options()), {
    address: 'db.example',
    targetPort: 8080,
  });
  const pod = endpoint('web-0', { addresses: [], hostname: 'web-0.web.shop.svc.cluster.local' });
  t.equal(
    pickEndpoint(mesh({ workloads: [pod] }), service('web'), 80, options()),
    null,
    'the name of a pod is for DNS only',
  );
});
