import * as fc from 'fast-check';
import t from 'tap';
import { lookupName, nameNeeds } from '../../model/dns-names.ts';
import { mesh, port, service, workload } from './objects.ts';

const vip = (address: string, network = ''): { network: string; address: string } => ({ network, address });
const member = (key: string): Record<string, ReturnType<typeof port>[]> => ({ [key]: [port(80, 8080)] });
const db = 'shop/db.shop.svc.cluster.local';

const given = mesh({
  services: [
    service('web', { addresses: [vip('10.96.0.5'), vip('fd00::5')] }),
    service('cache', { namespace: 'other', addresses: [vip('10.96.0.6')] }),
    service('secret', { namespace: 'other', addresses: [vip('10.96.0.7')], visibility: 'NAMESPACE' }),
    service('far', { addresses: [vip('10.1.1.1', 'elsewhere')] }),
    service('db'),
    service('all', {
      loadBalancing: { routingPreference: [], mode: 'UNSPECIFIED', healthPolicy: 'ALLOW_ALL' },
    }),
    service('empty'),
  ],
  workloads: [
    workload('db-0', { addresses: ['10.0.0.1', 'fd00::1'], hostname: 'db-0', services: member(db) }),
    workload('db-1', {
      addresses: ['10.0.0.2'],
      hostname: 'db-1.db.shop.svc.cluster.local',
      services: member(db),
    }),
    workload('db-2', {
      addresses: ['10.0.0.3'],
      hostname: 'db-2',
      status: 'UNHEALTHY',
      services: member(db),
    }),
    workload('db-3', { addresses: ['10.0.0.4'], services: member(db) }),
    workload('db-4', { addresses: ['10.9.9.9'], network: 'elsewhere', services: member(db) }),
    workload('all-0', {
      addresses: ['10.0.1.1'],
      status: 'UNHEALTHY',
      services: member('shop/all.shop.svc.cluster.local'),
    }),
  ],
});
const client = { namespace: 'shop', network: '' };

function addresses(name: string, namespace = 'shop'): readonly string[] | null {
  return lookupName(given, { ...client, namespace }, name, 'cluster.local')?.addresses ?? null;
}

t.test('a Service answers to every form of its name', async t => {
  const vips = ['10.96.0.5', 'fd00::5'];
  for (const name of ['web', 'web.shop', 'web.shop.svc', 'web.shop.svc.cluster.local']) {
    const host = { hostname: 'web.shop.svc.cluster.local', alias: false, addresses: vips };
    t.strictSame(lookupName(given, client, name, 'cluster.local'), host, name);
  }
  t.strictSame(addresses('cache.other'), ['10.96.0.6']);
  t.equal(addresses('cache'), null, 'a single label is of the own namespace');
  t.strictSame(addresses('cache', 'other'), ['10.96.0.6']);
});

t.test('a search domain behind a name that is complete makes an alias', async t => {
  for (const name of [
    'web.shop.shop.svc.cluster.local',
    'web.shop.svc.shop.svc.cluster.local',
    'web.shop.svc.svc.cluster.local',
    'web.shop.cluster.local',
  ]) {
    t.match(
      lookupName(given, client, name, 'cluster.local'),
      { hostname: 'web.shop.svc.cluster.local', alias: true },
      name,
    );
  }
  t.equal(addresses('web.shop.other.svc.cluster.local'), null, 'of another namespace it is none of ours');
});

t.test('names that are not of the mesh are left alone', async t => {
  for (const name of [
    '',
    'example.com',
    'www.example.com',
    'nosuch',
    'nosuch.shop',
    'nosuch.shop.svc.cluster.local',
    'svc.cluster.local',
    'shop.svc.cluster.local',
    'cluster.local',
    'web.shop.svc.cluster.local.example.com',
    'web.shop.svc.cluster.localx',
    'xweb.shop.svc.cluster.local',
    '_http._tcp.web.shop.svc.cluster.local',
    'a.b.web.shop.svc.cluster.local',
    'web.shop.pod.cluster.local',
    'example.com.shop.svc.cluster.local',
  ]) {
    t.equal(addresses(name), null, name);
  }
});

t.test('a headless Service is its healthy endpoints on the network of the client', async t => {
  t.strictSame(addresses('db'), ['10.0.0.1', 'fd00::1', '10.0.0.2', '10.0.0.4']);
  t.strictSame(addresses('all'), ['10.0.1.1'], 'unhealthy too, where the service wants so');
  t.strictSame(addresses('empty'), [], 'a name without addresses still exists');
  t.strictSame(addresses('far'), [], 'so does one whose VIP is on another network');
});

t.test('pods with a host name answer below their headless Service', async t => {
  t.strictSame(addresses('db-0.db.shop.svc.cluster.local'), ['10.0.0.1', 'fd00::1']);
  t.strictSame(addresses('db-1.db.shop.svc.cluster.local'), ['10.0.0.2']);
  t.match(lookupName(given, client, 'db-0.db.shop.svc', 'cluster.local'), {
    hostname: 'db-0.db.shop.svc.cluster.local',
    alias: false,
  });
  t.equal(addresses('db-2.db.shop.svc.cluster.local'), null, 'an unhealthy one is left to the resolver');
  t.equal(addresses('db-3.db.shop.svc.cluster.local'), null, 'so is one without a host name');
  t.equal(addresses('db-0.web.shop.svc.cluster.local'), null, 'and one of another service');
});

t.test('visibility NAMESPACE hides a name from other namespaces', async t => {
  t.equal(addresses('secret.other.svc.cluster.local'), null);
  t.equal(addresses('secret.other'), null);
  t.strictSame(addresses('secret.other.svc.cluster.local', 'other'), ['10.96.0.7']);
});

t.test('the domain may have any number of labels', async t => {
  const domain = 'k8s.corp.example.com';
  const hostname = `web.shop.svc.${domain}`;
  const elsewhere = mesh({ services: [service('web', { hostname, addresses: [vip('10.96.0.5')] })] });
  for (const name of ['web', 'web.shop', 'web.shop.svc', hostname]) {
    t.match(lookupName(elsewhere, client, name, domain), { hostname }, name);
  }
  t.equal(lookupName(elsewhere, client, 'web.shop.svc.cluster.local', domain), null);
});

t.test('no name throws, and nothing that ends in a public domain is answered', async t => {
  const label = fc.constantFrom('web', 'shop', 'svc', 'cluster', 'local', 'db', 'db-0', 'a', '');
  fc.assert(
    fc.property(fc.array(label, { maxLength: 8 }), labels => {
      const name = labels.join('.');
      lookupName(given, client, name, 'cluster.local');
      return lookupName(given, client, `${name}.example.com`, 'cluster.local') === null;
    }),
    { numRuns: 2_000 },
  );
  t.pass('in any combination');
});

t.test('a host of a ServiceEntry is ours where it has virtual addresses', async t => {
  const entry = (name: string, more: Parameters<typeof service>[1]) =>
    service(name, { canonical: false, hostname: 'api.example', ...more });
  const m = mesh({
    services: [
      entry('a', { namespace: 'bank', addresses: [vip('240.0.0.1')] }),
      entry('b', { namespace: 'shop', addresses: [vip('240.0.0.2'), vip('240.0.0.3', 'elsewhere')] }),
      entry('c', {
        namespace: 'bank',
        hostname: 'own.example',
        addresses: [vip('240.0.0.4')],
        visibility: 'NAMESPACE',
      }),
      entry('d', { hostname: 'none.example' }),
      entry('e', {
        namespace: 'bank',
        hostname: 'web.shop.svc.cluster.local',
        addresses: [vip('240.0.0.5')],
      }),
      service('web', { addresses: [vip('10.96.0.5')] }),
    ],
  });
  const found = (name: string, namespace: string): unknown =>
    lookupName(m, { namespace, network: '' }, name, 'cluster.local')?.addresses ?? null;
  t.same(found('api.example', 'shop'), ['240.0.0.2'], 'of the own namespace first');
  t.same(found('api.example', 'elsewhere'), ['240.0.0.1']);
  t.same(found('own.example', 'bank'), ['240.0.0.4']);
  t.equal(found('own.example', 'shop'), null, 'its namespace only');
  t.equal(found('none.example', 'shop'), null, 'whoever else knows it');
  t.equal(found('other.example', 'shop'), null);
  t.same(found('web.shop.svc.cluster.local', 'bank'), ['10.96.0.5'], 'nobody takes the name of a Service');
  t.match(
    lookupName(m, { namespace: 'shop', network: '' }, 'api.example.shop.svc.cluster.local', 'cluster.local'),
    {
      alias: true,
      hostname: 'api.example',
    },
  );
});

t.test('pods of a StatefulSet have the names their Service gives them, and no other', async t => {
  const m = mesh({
    services: [service('db'), service('other')],
    workloads: [
      workload('db-0', {
        addresses: ['10.0.0.1'],
        hostname: 'db-0.db.shop.svc.cluster.local',
        services: { ...member(db), ...member('shop/other.shop.svc.cluster.local') },
      }),
    ],
  });
  const found = (name: string) => lookupName(m, client, name, 'cluster.local')?.addresses ?? null;
  t.same(found('db-0.db.shop.svc.cluster.local'), ['10.0.0.1']);
  t.equal(found('db-0.other.shop.svc.cluster.local'), null);
});

t.test('whoever does not know everything may ask about the Services that a name could mean', t => {
  const from = { namespace: 'shop', network: '' };
  const needs = (name: string, of = given): readonly string[] => nameNeeds(of, from, name, 'cluster.local');
  const nothing = mesh({});
  t.same(needs('web.shop.svc.cluster.local'), []);
  t.same(needs('web.shop.svc.cluster.local', nothing), ['shop/web.shop.svc.cluster.local']);
  t.same(needs('db-0.db.shop.svc.cluster.local', nothing), [
    'shop/db.shop.svc.cluster.local',
    'db/db-0.db.svc.cluster.local',
  ]);
  t.same(needs('web', nothing), ['shop/web.shop.svc.cluster.local']);
  t.same(needs('example.com', nothing), ['com/example.com.svc.cluster.local']);
  t.same(needs('www.example.com', nothing), [], 'no Service is called like that');
  t.same(needs('www.example.com.shop.svc.cluster.local', nothing), []);
  t.same(needs('web.bank.shop.svc.cluster.local', nothing), [
    'shop/bank.shop.svc.cluster.local',
    'bank/web.bank.svc.cluster.local',
  ]);
  t.end();
});
