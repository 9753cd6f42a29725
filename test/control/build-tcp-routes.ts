/** From TCPRoutes, TLSRoutes and VirtualServices to the routes of connections a waypoint follows. */
import t from 'tap';
import { IncrementalBuilder } from '../../control/build-incremental.ts';
import { l7Label } from '../../model/l7.ts';
import { brief, configured, objectsOf } from '../help/configuration.ts';

const services = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.10, ports: [{ name: tls, port: 443 }, { name: tcp, port: 9000 }] }
---
apiVersion: v1
kind: Service
metadata: { name: alias, namespace: shop }
spec: { type: ExternalName, externalName: example.org, ports: [{ port: 443 }] }
---
`;
const web = 'shop/web.shop.svc.cluster.local';

/** A route for the Service web. */
function route(kind: string, spec: string, version = 'v1', parent = 'port: 443'): string {
  return `apiVersion: gateway.networking.k8s.io/${version}
kind: ${kind}
metadata: { name: r, namespace: shop, creationTimestamp: "2026-01-02T03:04:05Z" }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, ${parent} }]
${spec.replaceAll(/^/gm, '  ')}
---
`;
}

function virtual(spec: object): string {
  const metadata = { name: 'v', namespace: 'shop' };
  const object = { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata, spec };
  return `${JSON.stringify(object)}\n---\n`;
}

function translate(text: string) {
  const { l7, findings } = configured(services + text);
  const said = brief(findings).filter(line => /route|parent|backend|value|field/.test(line));
  return { routes: l7.tcpRoutes, requests: l7.routes, said: said.map(line => line.replace(/ \d+ /, ' ')) };
}

const valid = { subset: null, invalid: null };

t.test('a TLSRoute: names, weights, backends that can not be', async t => {
  const { routes, said } = translate(
    route(
      'TLSRoute',
      `hostnames: [a.example.org, "*.example.org"]
rules:
- name: split
  backendRefs:
  - { name: web, port: 443, weight: 3 }
  - { name: gone, namespace: bank, port: 443, weight: 0 }
  - { name: alias, port: 443 }
  - { name: web }
  - { group: culvert.dev, kind: Other, name: web, port: 1 }`,
    ),
  );
  const backends = [
    { service: web, port: 443, weight: 3, ...valid },
    { service: 'bank/gone.bank.svc.cluster.local', port: 443, weight: 0, ...valid },
    {
      service: 'shop/alias.shop.svc.cluster.local',
      port: 443,
      weight: 1,
      subset: null,
      invalid: 'Service shop/alias is only another name: it has no endpoints',
    },
    { service: web, port: 0, weight: 1, subset: null, invalid: 'a Service as backend needs a port' },
    { service: web, port: 1, weight: 1, subset: null, invalid: 'a backend is a Service, not Other' },
  ];
  t.same(routes, [
    {
      kind: 'TLSRoute',
      namespace: 'shop',
      name: 'r',
      createdAt: Date.parse('2026-01-02T03:04:05Z'),
      parents: [{ service: web, port: 443 }],
      rules: [{ name: 'split', matches: [{ names: ['a.example.org', '*.example.org'] }], backends }],
    },
  ]);
  t.equal(said.length, 4, said.join('\n'));
  t.ok(said.every(line => /^warning (unknown|invalid)-backend/.test(line)));
});

t.test('a TCPRoute of an older version: the first of its rules', async t => {
  const rules = `rules:
- backendRefs: [{ name: web, port: 9000 }]
- backendRefs: [{ name: web, port: 443 }]`;
  const { routes, said } = translate(route('TCPRoute', rules, 'v1alpha2', 'sectionName: tcp'));
  t.same(routes[0]?.parents, [{ service: web, port: 9000 }]);
  t.same(
    routes[0]?.rules.map(({ matches }) => matches),
    [[{ names: null }], []],
  );
  t.match(said, [/^error unsupported-route .*spec.rules\[1\]/]);
});

t.test('what says nothing', async t => {
  const rules = 'rules: [{ backendRefs: [{ name: web, port: 443 }] }]';
  const any = translate(route('TLSRoute', rules, 'v1alpha2'));
  t.same(any.routes[0]?.rules[0]?.matches, [{ names: ['*'] }], 'no names: any');
  const none = translate(route('TCPRoute', 'rules: [{}]'));
  t.match(none.said, [/^warning unused-backend/]);
  t.same(none.routes[0]?.rules, [{ name: null, matches: [{ names: null }], backends: [] }]);
  const unbound = translate(route('TCPRoute', rules, 'v1', 'port: 444'));
  t.same(unbound.routes, []);
  t.match(unbound.said, [/^warning unknown-parent/]);
});

t.test('a port that is said to speak something else', async t => {
  const rules = 'rules: [{ backendRefs: [{ name: web, port: 443 }] }]';
  const requests = (parent: string): { routes: number; said: string[] } => {
    const { requests: found, said } = translate(route('HTTPRoute', rules, 'v1', parent));
    return { routes: found.length, said };
  };
  t.match(requests('port: 9000'), { routes: 0, said: [/^warning unknown-parent spec.parentRefs\[0\].port/] });
  t.match(requests('sectionName: tls'), { routes: 0, said: [/^warning unknown-parent/] });
  const plain = `apiVersion: v1
kind: Service
metadata: { name: plain, namespace: shop }
spec: { clusterIP: 10.96.0.11, ports: [{ name: http, port: 80 }] }
---
`;
  for (const kind of ['TCPRoute', 'TLSRoute']) {
    const text = (parent: string): string =>
      plain + route(kind, rules, 'v1alpha2', parent).replace('name: web, ', 'name: plain, ');
    t.match(translate(text('')).said, [/^warning unknown-parent spec.parentRefs\[0\].name/]);
    t.equal(translate(text('port: 80')).routes.length, 1, 'the port is named');
  }
});

t.test('names that no client asks for refuse the route', async t => {
  for (const name of ['10.0.0.1', '*', 'a.*.org', 'A.org', 'a..org', '*.*.org']) {
    const spec = `hostnames: ["${name}"]\nrules: [{ backendRefs: [{ name: web, port: 443 }] }]`;
    t.throws(() => translate(route('TLSRoute', spec)), /refused: spec.hostnames\[0\]/, name);
  }
});

t.test('a VirtualService: rules of tls, then of tcp, beside those of http', async t => {
  const to = (host: string, weight?: number, subset?: string) => ({ destination: { host, subset }, weight });
  const { routes, requests, said } = translate(
    virtual({
      hosts: ['web'],
      exportTo: ['.', 'bank'],
      http: [{ route: [to('web')] }],
      tls: [
        {
          match: [{ sniHosts: ['A.example.org', '*.b.org'], port: 443, sourceNamespace: 'bank' }],
          route: [to('web', 1, 'v1'), to('web', 3)],
        },
      ],
      tcp: [
        { match: [{ destinationSubnets: ['10.96.0.0/16'], gateways: ['mesh'] }], route: [to('web')] },
        { match: [{ gateways: ['edge'] }], route: [to('web')] },
        { route: [to('gone')] },
      ],
    }),
  );
  const base = { service: web, port: 0, weight: 1, ...valid };
  const [found] = routes;
  t.match(found, {
    kind: 'VirtualService',
    clients: ['shop', 'bank'],
    parents: [{ service: web, port: null }],
  });
  t.same(found?.rules, [
    {
      name: null,
      matches: [{ names: ['a.example.org', '*.b.org'], from: 'bank', port: 443 }],
      backends: [
        { ...base, subset: 'v1' },
        { ...base, weight: 3 },
      ],
    },
    { name: null, matches: [{ names: null, subnets: ['10.96.0.0/16'] }], backends: [base] },
    { name: null, matches: [], backends: [base] },
    {
      name: null,
      matches: [{ names: null }],
      backends: [{ ...base, service: 'gone', invalid: 'there is no service gone' }],
    },
  ]);
  t.equal(requests.length, 1);
  t.match(said, [/^warning unknown-backend/]);
});

t.test('what of a VirtualService can not be done is not in force, and said', async t => {
  const route = [{ destination: { host: 'web' } }];
  const cases: readonly [object, RegExp][] = [
    [{ tcp: [{ match: [{ destinationSubnets: ['10.0.0.0/99'] }], route }] }, /destinationSubnets/],
    [{ tcp: [{ match: [{ sniHosts: ['a'] }], route }] }, /sniHosts/],
    [{ tls: [{ match: [{ port: 443 }], route }] }, /sniHosts/],
    [{ tls: [{ match: [{ sniHosts: ['a*'] }], route }] }, /sniHosts/],
    [{ tls: [{ route }] }, /match/],
  ];
  for (const [spec, where] of cases) {
    const { routes, said } = translate(virtual({ hosts: ['web'], ...spec }));
    t.same(
      routes[0]?.rules.flatMap(({ matches }) => matches),
      [],
    );
    t.equal(said.length, 1, said.join());
    t.match(said[0], /^error unsupported-route/);
    t.match(said[0], where);
  }
  const two = [{ destination: { host: 'web' } }, { destination: { host: 'web' } }];
  t.match(translate(virtual({ hosts: ['web'], tcp: [{ route: two }] })).said, [
    /^error unsupported-route spec.tcp\[0\].route/,
  ]);
});

t.test('labels of clients are those of the workloads that have them now', async t => {
  const client = (name: string, labels: object, podIP: string): string => {
    const metadata = { name, namespace: 'bank', uid: name, labels };
    const spec = { nodeName: 'node-a' };
    return `${JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec, status: { podIP } })}\n---\n`;
  };
  const route = [{ destination: { host: 'web' } }];
  const match = [{ sourceLabels: { app: 'front', tier: 'gold' } }];
  const text = virtual({ hosts: ['web'], http: [{ match, route }], tcp: [{ match, route }] });
  const gold = { app: 'front', tier: 'gold' };
  const builder = new IncrementalBuilder();
  const set = (objects: string): ReturnType<typeof builder.apply> =>
    builder.apply({ set: objectsOf(objects), removed: [] });
  const one = objectsOf(client('one', gold, '10.0.0.1'));
  builder.apply({ set: one, removed: [] });
  set(services + text + client('two', { app: 'front' }, '10.0.0.2'));
  const names = (): (readonly string[] | undefined)[] => {
    const { routes, tcpRoutes } = builder.l7();
    return [...routes, ...tcpRoutes].map(({ rules }) =>
      rules[0]?.matches[0]?.workloads?.map(uid => uid.split('/').at(-1) ?? ''),
    );
  };
  t.same(names(), [['one'], ['one']]);
  const { l7 } = set(client('two', gold, '10.0.0.2'));
  t.same(
    l7.map(({ list }) => list),
    ['routes', 'tcpRoutes'],
  );
  t.same(names(), [
    ['one', 'two'],
    ['one', 'two'],
  ]);
  t.same(set(client('three', { app: 'other' }, '10.0.0.3')).l7, [], 'others change nothing');
  builder.apply({ set: [], removed: one });
  t.same(names(), [['two'], ['two']]);
  const [labelled] = builder.l7().routes;
  if (labelled === undefined) throw new Error('no route');
  t.same(l7Label('routes', labelled).needs, ['client-labels'], 'older waypoints must not pass it over');
});

t.test('a change at a time comes to the same as all at once', async t => {
  const text =
    route('TCPRoute', 'rules: [{ backendRefs: [{ name: web, port: 9000 }] }]') +
    virtual({ hosts: ['web'], tcp: [{ route: [{ destination: { host: 'web' } }] }] });
  const objects = objectsOf(services + text);
  const builder = new IncrementalBuilder();
  for (const object of objects.toReversed()) builder.apply({ set: [object], removed: [] });
  t.same(builder.l7().tcpRoutes, configured(services + text).l7.tcpRoutes);
  const gone = objects.filter(({ kind }) => kind === 'TCPRoute' || kind === 'VirtualService');
  const { l7 } = builder.apply({ set: [], removed: gone });
  t.same(
    l7.map(({ list, key, resource }) => [list, key, resource]),
    [
      ['tcpRoutes', 'TCPRoute/shop/r', null],
      ['tcpRoutes', 'VirtualService/shop/v', null],
    ],
  );
  t.same(builder.l7().tcpRoutes, []);
});
