/** From the route objects people write to the routes a waypoint follows. */
import t from 'tap';
import { IncrementalBuilder } from '../../control/build-incremental.ts';
import { routeOf } from '../../control/build-routes.ts';
import { findingAt, type Located } from '../../control/located.ts';
import type { Finding } from '../../control/finding.ts';
import { RouteTable } from '../../model/http-match.ts';
import type { HttpRoute } from '../../model/http-route.ts';
import { brief, objectsOf } from '../help/configuration.ts';
import { head } from '../model/http-help.ts';

const services = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.10, ports: [{ name: http, port: 80 }, { name: alt, port: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: alias, namespace: shop }
spec: { type: ExternalName, externalName: example.org, ports: [{ port: 80 }] }
---
`;

/** A route of shop for the Service web, with these lines of its spec. */
function translate(spec: string, kind = 'HTTPRoute'): { route: HttpRoute | null; findings: string[] } {
  const lines = spec.replaceAll(/^/gm, '  ');
  const text = `${services}apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: r, namespace: shop, creationTimestamp: "2026-01-02T03:04:05Z" }
spec:
${lines}
`;
  const objects = objectsOf(text);
  const findings: Finding[] = [];
  const object = objects.find((one): one is Located<'HTTPRoute' | 'GRPCRoute'> => one.kind === kind);
  if (object === undefined) throw new Error('no route');
  const route = routeOf(
    object,
    {
      clusterDomain: 'cluster.local',
      service: (namespace, name) =>
        objects.find(
          (one): one is Located<'Service'> =>
            one.kind === 'Service' && one.namespace === namespace && one.name === name,
        ) ?? null,
      extension: (kind, name) =>
        objects.find(
          (one): one is Located<'RateLimit' | 'FaultInjection'> => one.kind === kind && one.name === name,
        ) ?? null,
    },
    (...finding) => findings.push(findingAt(...finding)),
  );
  return { route, findings: brief(findings).map(line => line.replace(/ \d+ /, ' ')) };
}

const parent = 'parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]';
const web = 'shop/web.shop.svc.cluster.local';

t.test('a canary: parents, matches, weights, filters', async t => {
  const { route, findings } = translate(`${parent}
rules:
- name: beta
  matches:
  - { path: { value: /a/ }, headers: [{ name: X-Canary, value: "yes" }, { name: x-canary, value: "no" }] }
  - { path: { type: Exact, value: /b }, method: POST, queryParams: [{ name: q, type: RegularExpression, value: "[0-9]+" }] }
  filters:
  - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-A, value: "1" }], remove: [X-B] } }
  - { type: URLRewrite, urlRewrite: { hostname: other } }
  backendRefs:
  - { name: web, port: 80, weight: 90 }
  - { name: web, port: 8080, weight: 10, filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { add: [{ name: c, value: d }] } }] }
  timeouts: { request: 10s, backendRequest: 1m500ms }
  retry: { codes: [503], attempts: 2, backoff: 100ms }`);
  t.same(findings, []);
  const value = (name: string, text: string, type = 'exact') => ({ name, type, value: text });
  t.same(route, {
    kind: 'HTTPRoute',
    namespace: 'shop',
    name: 'r',
    createdAt: Date.UTC(2026, 0, 2, 3, 4, 5),
    parents: [{ service: web, port: 80 }],
    rules: [
      {
        name: 'beta',
        matches: [
          {
            path: { type: 'prefix', value: '/a' },
            method: null,
            headers: [value('x-canary', 'yes')],
            query: [],
            precedence: [1, 2, 0, 1, 0],
          },
          {
            path: { type: 'exact', value: '/b' },
            method: 'POST',
            headers: [],
            query: [value('q', '[0-9]+', 'regex')],
            precedence: [2, 2, 1, 0, 1],
          },
        ],
        filters: [
          { type: 'request-headers', change: { set: [['x-a', '1']], add: [], remove: ['x-b'] } },
          { type: 'rewrite', rewrite: { hostname: 'other', path: null } },
        ],
        backends: [
          { service: web, port: 80, subset: null, weight: 90, filters: [], invalid: null },
          {
            service: web,
            port: 8080,
            subset: null,
            weight: 10,
            filters: [{ type: 'request-headers', change: { set: [], add: [['c', 'd']], remove: [] } }],
            invalid: null,
          },
        ],
        timeouts: { requestMs: 10_000, backendRequestMs: 60_500 },
        retry: {
          attempts: 2,
          on: ['connect-failure', 'refused-stream', 'reset', 'timeout'],
          codes: [503],
          backoffMs: 100,
          remoteLocalities: null,
        },
        session: null,
      },
    ],
  });
});

t.test('parents', async t => {
  const parentsOf = (refs: string) => {
    const { route, findings } = translate(`parentRefs: [${refs}]`);
    return { parents: route?.parents ?? null, findings };
  };
  t.same(
    parentsOf('{ name: gateway }'),
    { parents: null, findings: [] },
    'a Gateway is none of our business',
  );
  t.same(parentsOf('{ group: "", kind: Service, name: web }').parents, [{ service: web, port: null }]);
  t.same(parentsOf('{ group: "", kind: Service, name: web, sectionName: alt }').parents, [
    { service: web, port: 8080 },
  ]);
  t.same(parentsOf('{ group: "", kind: Service, name: wbe }'), {
    parents: null,
    findings: ['warning unknown-parent spec.parentRefs[0].name'],
  });
  t.same(parentsOf('{ group: "", kind: Service, name: web, port: 81 }').parents, null);
  t.same(parentsOf('{ group: "", kind: Service, name: web, sectionName: none }').parents, null);
  t.same(parentsOf('{ group: "", kind: Service, name: web, sectionName: alt, port: 80 }').parents, null);
});

t.test('an empty spec sends everything nowhere', async t => {
  const { route } = translate(parent);
  t.match(new RouteTable(route === null ? [] : [route]).find(head('/x')), { rule: { backends: [] } });
});

t.test('backends that can not be', async t => {
  const { route, findings } = translate(`${parent}
rules:
- backendRefs:
  - { name: nobody, port: 80 }
  - { name: web, port: 81 }
  - { name: web }
  - { kind: ConfigMap, name: web, port: 80 }
  - { name: alias, port: 80 }`);
  t.same(
    route?.rules[0]?.backends.map(({ invalid }) => invalid),
    [
      null,
      null,
      'a Service as backend needs a port',
      'a backend is a Service, not ConfigMap',
      'Service shop/alias is only another name: it has no endpoints',
    ],
    'what may come to be is seen by the waypoint',
  );
  t.same(
    findings.map(line => line.split(' ').slice(0, 2).join(' ')),
    ['warning unknown-backend', 'warning unknown-backend', ...Array(3).fill('warning invalid-backend')],
  );
});

t.test('what can not be done is answered with 500, by name', async t => {
  for (const part of [
    'filters: [{ type: ExtensionRef, extensionRef: { group: a, kind: B, name: c } }]',
    'filters: [{ type: ExternalAuth, externalAuth: {} }]',
    'filters: [{ type: CORS }]',
    'filters: [{ type: ExtensionRef, extensionRef: { group: culvert.dev, kind: RateLimit, name: none } }]',
    'matches: [{ path: { type: Exact, value: /a } }]\n  filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /b } } }]',
  ]) {
    const { route, findings } = translate(`${parent}
rules:
- backendRefs: [{ name: web, port: 80 }]
  ${part}`);
    t.match(findings, [/^error unsupported-route /], part);
    t.type(route?.rules[0]?.backends[0]?.invalid, 'string');
    t.same(route?.rules[0]?.filters, []);
  }
});

t.test('a match that no engine of linear time could run is not in force', async t => {
  const { route, findings } = translate(`${parent}
rules:
- matches: [{ path: { type: RegularExpression, value: "/(a)\\\\1" } }]
- matches: [{ path: { type: RegularExpression, value: "/[" } }]
- matches: [{ headers: [{ name: a, type: RegularExpression, value: "(?=a)" }] }, { path: { value: /ok } }]`);
  t.same(
    route?.rules.map(({ matches }) => matches.length),
    [0, 0, 1],
  );
  t.same(
    findings.map(line => line.split(' ')[1]),
    Array(3).fill('bad-pattern'),
  );
});

t.test('mirrors', async t => {
  const { route } = translate(`${parent}
rules:
- filters:
  - { type: RequestMirror, requestMirror: { backendRef: { name: web, port: 80 }, percent: 42 } }
  - { type: RequestMirror, requestMirror: { backendRef: { name: web, port: 80 }, fraction: { numerator: 1, denominator: 2 } } }
  - { type: RequestMirror, requestMirror: { backendRef: { kind: ConfigMap, name: web, port: 80 } } }
  backendRefs: [{ name: web, port: 80 }]`);
  t.match(route?.rules[0]?.filters, [
    { type: 'mirror', share: 0.42 },
    { type: 'mirror', share: 0.5 },
  ]);
  t.equal(route?.rules[0]?.filters.length, 2, 'one that leads nowhere is left out');
});

t.test('gRPC', async t => {
  const { route, findings } = translate(
    `${parent}
rules:
- name: method
  matches: [{ method: { method: Echo } }]
- name: service
  matches: [{ method: { service: a.Service } }]
- name: both
  matches: [{ method: { service: a.Service, method: Echo } }]
- name: pattern
  matches: [{ method: { type: RegularExpression, service: "b[.].*" } }]
- name: rest`,
    'GRPCRoute',
  );
  t.same(findings, []);
  const table = new RouteTable(route === null ? [] : [route]);
  const hit = (path: string) => table.find(head(path, { method: 'POST' }))?.rule.name;
  t.equal(hit('/a.Service/Echo'), 'both');
  t.equal(hit('/a.Service/Other'), 'service');
  t.equal(hit('/a.Servic/Echo'), 'method');
  t.equal(hit('/b.S/Other'), 'pattern');
  t.equal(hit('/c.S/Other'), 'rest');
});

t.test('filters that are objects of their own', async t => {
  const text = `${services}apiVersion: culvert.dev/v1
kind: RateLimit
metadata: { name: few, namespace: shop }
spec:
  local: [{ requests: 10, per: 1m, by: [{ type: Header, name: X-User }, { type: Identity }] }]
  global:
    service: { name: counter, port: 8081 }
    domain: shop
    descriptors: [{ entries: [{ key: user, type: Header, name: X-User }, { key: what, type: Constant, value: api }] }]
---
apiVersion: culvert.dev/v1
kind: FaultInjection
metadata: { name: slow, namespace: shop }
spec: { delay: { duration: 1.5s, percentage: 10 }, abort: { grpcStatus: UNAVAILABLE } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: shop }
spec:
  ${parent}
  rules:
  - filters:
    - { type: ExtensionRef, extensionRef: { group: culvert.dev, kind: RateLimit, name: few } }
    - { type: ExtensionRef, extensionRef: { group: culvert.dev, kind: FaultInjection, name: slow } }
    backendRefs: [{ name: web, port: 80 }]
`;
  const builder = new IncrementalBuilder();
  const objects = objectsOf(text);
  builder.apply({ set: objects, removed: [] });
  const [route] = builder.l7().routes;
  t.match(route?.rules[0]?.filters, [
    {
      type: 'rate-limit',
      limit: {
        name: 'RateLimit shop/few',
        local: [
          {
            requests: 10,
            perMs: 60_000,
            burst: 10,
            by: [{ type: 'header', name: 'x-user' }, { type: 'identity' }],
          },
        ],
        global: {
          service: 'shop/counter.shop.svc.cluster.local',
          port: 8081,
          timeoutMs: 100,
          failClosed: false,
          descriptors: [
            [
              { key: 'user', value: { type: 'header', name: 'x-user' } },
              { key: 'what', value: { type: 'constant', value: 'api' } },
            ],
          ],
        },
      },
    },
    {
      type: 'fault',
      fault: { delay: { share: 0.1, ms: 1_500 }, abort: { share: 1, status: 503, grpcStatus: 14 } },
    },
  ]);
  t.ok(
    builder
      .findings()
      .some(({ code, object }) => code === 'unknown-backend' && object === 'RateLimit shop/few'),
  );
  const limit = objects.find(({ kind }) => kind === 'RateLimit');
  if (limit === undefined) throw new Error('no limit');
  const { l7 } = builder.apply({ set: [], removed: [limit] });
  t.match(l7, [
    { list: 'routes', resource: { rules: [{ backends: [{ invalid: /there is no RateLimit/ }] }] } },
  ]);
});

t.test('sessions, in each of their shapes', async t => {
  const session = (spec: string) => {
    const { route, findings } = translate(
      `${parent}\nrules: [{ sessionPersistence: ${spec}, backendRefs: [{ name: web, port: 80 }] }]`,
    );
    t.same(findings, [], spec);
    return route?.rules[0]?.session;
  };
  t.match(session('{}'), {
    type: 'cookie',
    name: /^culvert-session-[0-9a-z]+$/,
    path: '/',
    keepMs: null,
    absoluteMs: null,
  });
  const permanent = { type: 'cookie', name: 's', path: '/', keepMs: 3_600_000, absoluteMs: 3_600_000 };
  t.same(
    session('{ sessionName: s, absoluteTimeout: 1h, cookieConfig: { lifetimeType: Permanent } }'),
    permanent,
  );
  t.same(session('{ absoluteTimeout: 1h, cookie: { name: s, lifetimeType: Permanent } }'), permanent);
  t.match(session('{ type: Header, sessionName: X-S }'), { type: 'header', name: 'x-s' });
  t.match(session('{ header: {} }'), { type: 'header', name: 'x-culvert-session' });
  const { findings } = translate(`${parent}\nrules: [{ sessionPersistence: { idleTimeout: 1m } }]`);
  t.same(findings, ['warning unsupported-value spec.rules[0].sessionPersistence.idleTimeout']);
});

t.test('the limits of Services come and go', async t => {
  const limit = (name: string) =>
    objectsOf(`apiVersion: culvert.dev/v1
kind: RateLimit
metadata: { name: ${name}, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: web }, { kind: Service, name: nobody }], local: [{ requests: 1, per: 1s }] }
`);
  const builder = new IncrementalBuilder();
  builder.apply({ set: objectsOf(services), removed: [] });
  const [first] = builder.apply({ set: limit('a'), removed: [] }).l7.filter(({ key }) => key === web);
  t.match(first, { list: 'limits', resource: { limits: [{ name: 'RateLimit shop/a' }] } });
  builder.apply({ set: limit('b'), removed: [] });
  t.match(builder.l7().limits.find(({ service }) => service === web)?.limits, [
    { name: 'RateLimit shop/a' },
    { name: 'RateLimit shop/b' },
  ]);
  t.equal(builder.findings().filter(({ code }) => code === 'unknown-host').length, 2);
  builder.apply({ set: [], removed: [...limit('a'), ...limit('b')] });
  t.same(builder.l7().limits, []);
  t.same(
    builder.findings().filter(({ code }) => code === 'unknown-host'),
    [],
  );
});
