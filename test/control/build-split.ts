/** From the TrafficSplits people write to the routes waypoints follow. */
import t from 'tap';
import { HttpRoutes } from '../../model/http-routes.ts';
import type { HttpHead } from '../../model/http-head.ts';
import type { HttpRoute } from '../../model/http-route.ts';
import { brief, configured } from '../help/configuration.ts';

const key = (name: string): string => `shop/${name}.shop.svc.cluster.local`;

function service(name: string, ...ports: number[]): string {
  return `
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { ports: [${ports.map(port => `{ name: p${port}, port: ${port} }`).join()}] }
`;
}

const mesh = service('web', 80) + service('v1', 80) + service('v2', 80);

function split(spec: string, { version = 'v1alpha4', name = 's' } = {}): string {
  return `
---
apiVersion: split.smi-spec.io/${version}
kind: TrafficSplit
metadata: { name: ${name}, namespace: shop }
spec: ${spec}
`;
}

function group(matches: string): string {
  return `
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: { name: g, namespace: shop }
spec: { matches: ${matches} }
`;
}

function built(objects: string): {
  routes: readonly HttpRoute[];
  connections: number;
  /** The backends, with weights, that a request would go to. */
  to: (method: string, path: string, headers?: string[], port?: number) => string[] | null;
  findings: string[];
} {
  const { l7, findings } = configured(objects);
  const all = new HttpRoutes();
  all.replace(l7.routes);
  const about = findings.filter(({ object }) => object?.startsWith('TrafficSplit ') === true);
  return {
    routes: l7.routes,
    connections: l7.tcpRoutes.length,
    to: (method, path, headers = [], port = 80) => {
      const head: HttpHead = { method, scheme: 'http', authority: 'web', path, query: null, headers };
      const hit = all.tableFor(key('web'), port, 'shop')?.find(head, { namespace: 'shop', port });
      if (hit === undefined || hit === null) return null;
      return hit.rule.backends.map(
        ({ service: to, weight, port: at }) => `${to.split('.')[0]}:${at} ${weight}`,
      );
    },
    findings: brief(about).map(line => line.replace(/ \d+ /, ' ')),
  };
}

const both = '{ service: web, backends: [{ service: v1, weight: 90 }, { service: v2, weight: 10 }] }';

t.test('every version, with its weights', async t => {
  for (const version of ['v1alpha2', 'v1alpha3', 'v1alpha4']) {
    const { to, findings, connections } = built(mesh + split(both, { version }));
    t.same(to('GET', '/'), ['shop/v1:0 90', 'shop/v2:0 10'], version);
    t.same(findings, []);
    t.equal(connections, 1, 'connections are split as well');
  }
  const quantities =
    '{ service: web.shop, backends: [{ service: v1, weight: 900m }, { service: v2, weight: "1" }] }';
  t.same(built(mesh + split(quantities, { version: 'v1alpha1' })).to('GET', '/'), [
    'shop/v1:0 900',
    'shop/v2:0 1000',
  ]);
  const whole = both.replace('service: web,', 'service: web.shop.svc.cluster.local,');
  t.same(built(mesh + split(whole)).to('GET', '/'), ['shop/v1:0 90', 'shop/v2:0 10']);
});

t.test('what matches is split, the rest goes to the service', async t => {
  const matched =
    '{ service: web, matches: [{ kind: HTTPRouteGroup, name: g }], backends: [{ service: v2, weight: 1 }] }';
  const matches = `[
    { name: api, pathRegex: "/api/v[0-9]+", methods: [GET, HEAD] },
    { name: beta, methods: ["*"], headers: [{ x-beta: "y.*" }] },
    { name: agent, headers: { user-agent: ".*Firefox.*", x-a: b } }]`;
  const { to, findings, connections } = built(mesh + split(matched) + group(matches));
  t.same(findings, []);
  t.equal(connections, 0, 'what is no request can not be matched');
  const root = ['shop/web:0 1'];
  const other = ['shop/v2:0 1'];
  t.same(to('GET', '/api/v1/carts'), other);
  t.same(to('HEAD', '/api/v1'), other);
  t.same(to('POST', '/api/v1'), root);
  t.same(to('GET', '/x/api/v1'), root);
  t.same(to('POST', '/', ['X-Beta', 'yes']), other);
  t.same(to('POST', '/', ['x-beta', 'ny']), root);
  t.same(to('GET', '/', ['user-agent', 'Mozilla Firefox 1', 'x-a', 'b']), other);
  t.same(to('GET', '/', ['user-agent', 'Mozilla Firefox 1']), root);
  const gone = built(mesh + split(matched));
  t.same(gone.findings, ['error unknown-match spec.matches[0]']);
  t.same(gone.to('GET', '/api/v1'), root);
});

t.test('a backend takes part in the ports it has', async t => {
  const objects = service('web', 80, 81) + service('v1', 80, 81) + service('v2', 80) + split(both);
  const { to, findings } = built(objects);
  t.same(to('GET', '/', [], 80), ['shop/v1:0 90', 'shop/v2:0 10']);
  t.same(to('GET', '/', [], 81), ['shop/v1:0 90']);
  t.same(findings, ['warning split-without-port spec.backends[1].service']);
});

t.test('what is not there is said', async t => {
  t.same(built(service('v1', 80) + split(both)).findings, ['warning unknown-parent spec.service']);
  const missing = built(service('web', 80) + service('v1', 80) + split(both));
  t.same(missing.findings, ['warning unknown-backend spec.backends[1].service']);
  t.same(missing.to('GET', '/'), ['shop/v1:0 90', 'shop/v2:0 10'], 'its share is answered with 500');
  const zero = '{ service: web, backends: [{ service: v1, weight: 1 }, { service: gone, weight: 0 }] }';
  t.same(built(mesh + split(zero)).findings, [], 'one without a weight may be missing');
});

t.test('Gateway API and VirtualService come before it', async t => {
  const route = `
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: shop }
spec: { parentRefs: [{ group: "", kind: Service, name: web }], rules: [{ backendRefs: [{ name: v1, port: 80 }] }] }
`;
  const virtual = `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: v, namespace: shop }
spec: { hosts: [web], http: [{ route: [{ destination: { host: v1 } }] }] }
`;
  for (const other of [route, virtual]) {
    const { to, findings } = built(mesh + split(both) + other);
    t.same(
      to('GET', '/')?.map(each => each.split(':')[0]),
      ['shop/v1'],
    );
    t.same(findings, ['error route-conflict spec.service']);
  }
  const two = built(mesh + split(both, { name: 'b' }) + split(both.replace('90', '50'), { name: 'a' }));
  t.same(two.to('GET', '/'), ['shop/v1:0 50', 'shop/v2:0 10'], 'of two the first by age and name');
  t.same(two.findings, ['error shadowed-split spec.service']);
});
