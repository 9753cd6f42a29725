import * as fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { build } from '../../control/build.ts';
import { Mesh } from '../../model/mesh.ts';
import { brief, configured, objectsOf, pod } from '../help/configuration.ts';

const cluster = readFileSync(join(import.meta.dirname, '../model/kinds/kubectl-output.yaml'), 'utf8');

t.test('nothing configured is an empty mesh with the default settings', async t => {
  const { mesh, enrolments, config, findings } = build([]);
  t.same(mesh, {
    workloads: [],
    services: [],
    policies: [],
    removedWorkloads: [],
    removedServices: [],
    removedPolicies: [],
  });
  t.same([enrolments, findings], [[], []]);
  t.equal(config.trustDomain, 'cluster.local');
});

t.test('what kubectl prints becomes a mesh', async t => {
  const { mesh: delta, enrolments, findings } = configured(cluster);
  t.same(findings, []);
  t.equal(enrolments.length, 1);
  const mesh = new Mesh();
  mesh.apply(delta);
  const workload = mesh.workloadByAddress('', 'fd00:10:244:1::7');
  t.match(workload, {
    uid: 'Kubernetes//Pod/shop/web-5d9c7b8f6d-x7k2p',
    serviceAccount: 'web',
    tunnelProtocol: 'HBONE',
    workloadName: 'web',
    workloadType: 'deployment',
    canonicalName: 'web',
    canonicalRevision: 'v1',
    locality: { region: 'eu-1', zone: 'eu-1a', subzone: '' },
    services: {
      'shop/web.shop.svc.cluster.local': [{ servicePort: 80, targetPort: 8080, appProtocol: 'HTTP11' }],
    },
  });
  t.match(mesh.servicesByAddress('', '203.0.113.7'), [{ name: 'web', ipFamilies: 'DUAL' }]);
});

t.test('of two objects of one name the first is in force, and the other is named', async t => {
  const first = pod({ name: 'web', ip: '10.0.0.1' });
  const second = pod({ name: 'web', ip: '10.0.0.2' });
  const { mesh, findings } = configured({ 'b.yaml': second, 'a.yaml': first });
  t.match(mesh.workloads, [{ addresses: ['10.0.0.1'] }]);
  t.match(findings, [
    { code: 'duplicate-object', severity: 'error', file: 'b.yaml', line: 1, message: /a\.yaml:1/ },
  ]);
  const spec = 'metadata: {name: p, namespace: shop}, spec: {}';
  const both = configured(
    `{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, ${spec}}\n---\n{apiVersion: culvert.dev/v1, kind: AuthorizationPolicy, ${spec}}\n---\n${first}`,
  );
  t.equal(both.mesh.policies.length, 1, 'the two spellings of a policy share their names');
  t.same(brief(both.findings), ['error duplicate-object 3 null']);
});

t.test('names of Object.prototype are names like others', async t => {
  const names = ['constructor', 'tostring', 'valueof', 'hasownproperty'];
  const text = names
    .map((name, n) => pod({ name, ip: `10.0.0.${n + 1}`, namespace: name, labels: { [name]: name } }))
    .join('');
  const { mesh, findings } = configured(
    `${text}{apiVersion: v1, kind: Service, metadata: {name: constructor, namespace: constructor}, spec: {clusterIP: None, selector: {constructor: constructor}}}`,
  );
  t.same(findings, []);
  t.match(mesh.workloads[0], { services: { 'constructor/constructor.constructor.svc.cluster.local': [] } });
  t.same(mesh.workloads[1]?.services, {});
});

/** A small world in which everything that can collide does: names, addresses, namespaces, policies. */
const world = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('Pod'),
      name: fc.constantFrom('a', 'b', 'c'),
      namespace: fc.constantFrom('x', 'y'),
      ip: fc.constantFrom('10.0.0.1', '10.0.0.2', '', '10.96.0.1'),
      app: fc.constantFrom('web', 'api'),
      netns: fc.constantFrom('/n/1', '/n/2', 'bad'),
      mode: fc.constantFrom('ambient', 'none', 'odd'),
      leaving: fc.boolean(),
      uid: fc.constantFrom('1', '2', undefined),
    }),
    fc.record({
      kind: fc.constant('Service'),
      name: fc.constantFrom('a', 'b'),
      namespace: fc.constantFrom('x', 'y'),
      app: fc.constantFrom('web', 'api'),
    }),
    fc.record({
      kind: fc.constant('EndpointSlice'),
      name: fc.constantFrom('a', 'b'),
      namespace: fc.constantFrom('x', 'y'),
      ip: fc.constantFrom('10.0.0.1', '192.0.2.1'),
    }),
    fc.record({
      kind: fc.constantFrom('AuthorizationPolicy', 'PeerAuthentication'),
      name: fc.constantFrom('a', 'b'),
      namespace: fc.constantFrom('x', 'culvert-system'),
      app: fc.constantFrom('web', undefined),
    }),
    fc.record({ kind: fc.constant('MeshConfig'), trustDomain: fc.constantFrom('a.org', 'b.org') }),
  ),
  { maxLength: 14 },
);

type Thing = Readonly<Record<string, string | boolean | undefined>>;

function yamlOf(thing: Thing): object {
  const { kind, name, namespace } = thing;
  const metadata = { name, namespace };
  const matchLabels = { app: thing['app'] };
  const selector = thing['app'] === undefined ? {} : { selector: { matchLabels } };
  switch (kind) {
    case 'Pod':
      return {
        apiVersion: 'v1',
        kind,
        metadata: {
          ...metadata,
          uid: thing['uid'],
          labels: { ...matchLabels, 'culvert.dev/dataplane-mode': thing['mode'] },
          annotations: { 'culvert.dev/netns': thing['netns'] },
          ...(thing['leaving'] === true ? { deletionTimestamp: '2026-11-21T08:00:00Z' } : {}),
        },
        spec: { nodeName: 'node-1' },
        status: { podIP: thing['ip'] },
      };
    case 'Service':
      return {
        apiVersion: 'v1',
        kind,
        metadata,
        spec: { clusterIP: '10.96.0.1', selector: matchLabels, ports: [{ port: 80 }] },
      };
    case 'EndpointSlice':
      return {
        apiVersion: 'discovery.k8s.io/v1',
        kind,
        metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'a' } },
        addressType: 'IPv4',
        ports: [{ port: 8080 }],
        endpoints: [{ addresses: [thing['ip']] }],
      };
    case 'MeshConfig':
      return {
        apiVersion: 'culvert.dev/v1',
        kind,
        metadata: { name: 'default' },
        spec: { trustDomain: thing['trustDomain'] },
      };
    default:
      return {
        apiVersion: 'culvert.dev/v1',
        kind,
        metadata,
        spec: { ...selector, ...(kind === 'PeerAuthentication' ? { mtls: { mode: 'STRICT' } } : {}) },
      };
  }
}

t.test('the order of the objects does not matter, and no address or namespace has two owners', async t => {
  const files = world.map(things =>
    Object.fromEntries(
      things.map((thing, n) => [
        `${String(n).padStart(2, '0')}.yaml`,
        JSON.stringify(yamlOf(thing as Thing)),
      ]),
    ),
  );
  const shuffled = files.chain(named => {
    const objects = objectsOf(named);
    return fc.record({
      objects: fc.constant(objects),
      other: fc.shuffledSubarray(objects, { minLength: objects.length }),
    });
  });
  fc.assert(
    fc.property(shuffled, ({ objects, other }) => {
      const result = build(objects);
      t.same(build(other), result);

      const uids = result.mesh.workloads.map(({ uid }) => uid);
      t.same(uids, [...new Set(uids)].toSorted(), 'sorted, each once');
      const owned = result.mesh.workloads
        .filter(({ uid, networkMode }) => uid.includes('//Pod/') && networkMode === 'STANDARD')
        .flatMap(({ addresses }) => addresses);
      t.equal(new Set(owned).size, owned.length, 'an address has one pod');
      const places = result.enrolments.map(({ netns }) => netns);
      t.equal(new Set(places).size, places.length, 'a namespace has one pod');
      const podUids = result.enrolments.map(({ podUid }) => podUid);
      t.equal(new Set(podUids).size, podUids.length);
      const tunnelled = result.mesh.workloads
        .filter(({ tunnelProtocol }) => tunnelProtocol === 'HBONE')
        .map(({ uid }) => uid);
      t.same(
        tunnelled,
        result.enrolments.map(({ workloadUid }) => workloadUid),
        'who is enrolled is who has the tunnel',
      );
      const known = new Set(result.mesh.policies.map(({ namespace, name }) => `${namespace}/${name}`));
      for (const { authorizationPolicies } of result.mesh.workloads) {
        for (const key of authorizationPolicies) t.ok(known.has(key));
      }
    }),
    { numRuns: 300 },
  );
});

t.test('objects are not changed by being built', async t => {
  const objects = objectsOf(cluster);
  const before = structuredClone(objects.map(({ value }) => value));
  build(objects);
  t.same(
    objects.map(({ value }) => value),
    before,
  );
});

t.test('a large mesh is built in a moment', async t => {
  const pods = Array.from({ length: 5_000 }, (_, n) =>
    pod({
      name: `web-${n}`,
      namespace: `ns-${n % 50}`,
      ip: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`,
      labels: { app: `app-${n % 500}` },
      spec: { containers: [{ ports: [{ name: 'http', containerPort: 8080 }] }] },
    }),
  );
  const services = Array.from(
    { length: 500 },
    (_, n) =>
      `{apiVersion: v1, kind: Service, metadata: {name: app-${n}, namespace: ns-${n % 50}}, spec: {clusterIP: 10.96.${n >> 8}.${n & 255}, selector: {app: app-${n}}, ports: [{port: 80, targetPort: http}]}}\n---\n`,
  );
  const objects = objectsOf(pods.join('') + services.join(''));
  const took: number[] = [];
  for (let run = 0; run < 5; run++) {
    // CPU time: other tests run beside this one.
    const began = process.cpuUsage();
    const { mesh, enrolments, findings } = build(objects);
    const { user, system } = process.cpuUsage(began);
    took.push((user + system) / 1_000);
    t.same(
      [mesh.workloads.length, mesh.services.length, enrolments.length, findings.length],
      [5_000, 500, 5_000, 0],
    );
    t.ok(mesh.workloads.every(({ services }) => Object.keys(services).length === 1));
  }
  const best = Math.min(...took);
  t.comment(
    `5 000 pods and 500 services: ${best.toFixed(0)} ms at best, ${Math.max(...took).toFixed(0)} ms at worst`,
  );
  // Several times what it takes: this is about quadratic work, not about this machine.
  t.ok(best < 1_000);
});
