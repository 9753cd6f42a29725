/** From the route objects people write to the routes a waypoint follows. */
import t from 'tap';
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
    'sessionPersistence: { sessionName: s }',
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
