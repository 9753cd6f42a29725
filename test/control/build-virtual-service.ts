/** What VirtualServices come to: rules in their order, what can not be done, and for whom they are. */
import t from 'tap';
import { IncrementalBuilder } from '../../control/build-incremental.ts';
import type { HttpHead } from '../../model/http-head.ts';
import { HttpRoutes } from '../../model/http-routes.ts';
import { brief, configured, objectsOf } from '../help/configuration.ts';
import { head } from '../model/http-help.ts';

function virtual(name: string, spec: object, namespace = 'shop', created?: string): string {
  const metadata = { name, namespace, creationTimestamp: created };
  const object = { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata, spec };
  return `${JSON.stringify(object)}\n---\n`;
}

function service(name: string, namespace = 'shop', ports: readonly number[] = [80]): string {
  const spec = { clusterIP: 'None', ports: ports.map(port => ({ name: `http-${port}`, port })) };
  return `${JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec })}\n---\n`;
}

const services = service('web') + service('v1') + service('v2', 'shop', [80, 81]) + service('api', 'bank');
const web = 'shop/web.shop.svc.cluster.local';

function to(host: string): object {
  return { route: [{ destination: { host } }] };
}

/** Service (first label) that a request goes to, or what else becomes of it. */
function goes(text: string, asked: HttpHead, from = 'shop', port = 80): string {
  const routes = new HttpRoutes();
  routes.replace(configured(services + text).l7.routes);
  const table = routes.tableFor(web, port, from);
  if (table === null) return 'direct';
  const hit = table.find(asked, { namespace: from, port });
  if (hit === null) return 'none';
  const [backend] = hit.rule.backends;
  if (backend === undefined) return hit.rule.filters.map(({ type }) => type).join();
  return backend.invalid === null ? (backend.service.split(/[/.]/)[1] ?? '') : '500';
}

function said(text: string): string[] {
  return brief(configured(services + text).findings)
    .map(line => line.split(' ').slice(0, 2).join(' '))
    .filter(line => /route|parent|backend|pattern|value/.test(line));
}

t.test('the first rule that fits, however exact others are', async t => {
  const text = virtual('web', {
    hosts: ['web'],
    http: [
      { match: [{ uri: { prefix: '/a' } }], ...to('v1') },
      { match: [{ uri: { exact: '/abc' } }], ...to('v2') },
      { match: [{ uri: { regex: '/[xy]+' } }], ...to('api.bank') },
    ],
  });
  t.equal(goes(text, head('/abc')), 'v1', 'a prefix is one of text');
  t.equal(goes(text, head('/xyx')), 'api');
  t.equal(goes(text, head('/b')), 'none');
  t.same(said(text), []);
});

t.test('every kind of condition', async t => {
  const fits = (match: object, asked: HttpHead, from = 'shop', port = 80): boolean =>
    goes(virtual('web', { hosts: ['web'], http: [{ match: [match], ...to('v1') }] }), asked, from, port) ===
    'v1';
  const plain = head('/Path', { headers: ['X-A', 'one'] });
  t.ok(fits({ uri: { exact: '/path' }, ignoreUriCase: true }, plain));
  t.ok(fits({ uri: { prefix: '/pa' }, ignoreUriCase: true }, plain));
  t.notOk(fits({ uri: { exact: '/path' } }, plain));
  t.ok(fits({ method: { exact: 'GET' } }, plain));
  t.notOk(fits({ method: { regex: 'P.*' } }, plain));
  t.ok(fits({ scheme: { exact: 'http' }, authority: { prefix: plain.authority.slice(0, 2) } }, plain));
  t.ok(fits({ headers: { 'x-a': { prefix: 'o' } } }, plain));
  t.ok(fits({ headers: { 'x-a': {} } }, plain), 'it is there');
  t.notOk(fits({ headers: { 'x-b': {} } }, plain));
  t.ok(fits({ withoutHeaders: { 'x-b': {} } }, plain));
  t.ok(fits({ withoutHeaders: { 'x-a': { exact: 'two' } } }, plain));
  t.notOk(fits({ withoutHeaders: { 'x-a': {} } }, plain));
  const query = head('/', { query: 'a=1&b=' });
  t.ok(fits({ queryParams: { a: { regex: '\\d' }, b: { exact: '' } } }, query));
  t.notOk(fits({ queryParams: { c: {} } }, query));
  t.ok(fits({ port: 80, sourceNamespace: 'shop' }, plain));
  t.notOk(fits({ port: 81 }, plain));
  t.notOk(fits({ sourceNamespace: 'bank' }, plain));
  t.notOk(fits({ gateways: ['edge'] }, plain), 'not for the mesh');
  t.ok(fits({ gateways: ['edge', 'mesh'] }, plain));
});

t.test('a match that can not be evaluated is for nothing', async t => {
  for (const match of [
    { uri: { regex: '(' } },
    { uri: { exact: '/', prefix: '/' } },
    { headers: { a: { regex: '(?=x)' } } },
  ]) {
    const text = virtual('web', { hosts: ['web'], http: [{ match: [match], ...to('v1') }, to('v2')] });
    t.equal(goes(text, head('/')), 'v2');
    t.equal(said(text).length, 1, JSON.stringify(match));
  }
});

t.test('hosts: short, with a namespace, whole, and of a ServiceEntry', async t => {
  for (const host of ['web', 'web.shop', 'web.shop.svc', 'web.shop.svc.cluster.local'])
    t.equal(goes(virtual('w', { hosts: [host], http: [to('v1')] }), head('/')), 'v1', host);
  t.same(said(virtual('w', { hosts: ['nobody'], http: [to('v1')] })), ['warning unknown-parent']);
  const entry = JSON.stringify({
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name: 'out', namespace: 'shop' },
    spec: { hosts: ['api.example.org'], ports: [{ number: 443, name: 'https' }], resolution: 'DNS' },
  });
  t.equal(
    goes(`${entry}\n---\n${virtual('w', { hosts: ['web'], http: [to('api.example.org')] })}`, head('/')),
    'api',
  );
});

t.test('for whom', async t => {
  const own = (exportTo?: string[]): string => virtual('own', { hosts: ['web'], exportTo, http: [to('v1')] });
  t.equal(goes(own(), head('/'), 'bank'), 'v1', 'of the service: for all');
  t.equal(goes(own(['.']), head('/'), 'bank'), 'direct');
  t.equal(goes(own(['.']), head('/'), 'shop'), 'v1');
  t.equal(goes(own(['bank']), head('/'), 'bank'), 'v1');
  const consumer = virtual('bank', { hosts: ['web.shop'], http: [to('v2.shop')] }, 'bank');
  t.equal(goes(own() + consumer, head('/'), 'bank'), 'v2', 'its own clients');
  t.equal(goes(own() + consumer, head('/'), 'shop'), 'v1');
  t.equal(goes(virtual('g', { hosts: ['web'], gateways: ['edge'], http: [to('v1')] }), head('/')), 'direct');
});

t.test(
  'several of one host follow one another, the older first; routes of Gateway API come before all',
  async t => {
    const of = (name: string, created: string, host: string): string =>
      virtual(
        name,
        { hosts: ['web'], http: [{ match: [{ uri: { prefix: '/' } }], ...to(host) }] },
        'shop',
        created,
      );
    t.equal(
      goes(of('a', '2026-02-01T00:00:00Z', 'v1') + of('b', '2026-01-01T00:00:00Z', 'v2'), head('/')),
      'v2',
    );
    const route = JSON.stringify({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'r', namespace: 'shop' },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
        rules: [{ backendRefs: [{ name: 'v2', port: 80 }] }],
      },
    });
    t.equal(goes(`${of('a', '2026-01-01T00:00:00Z', 'v1')}${route}\n---\n`, head('/')), 'v2');
  },
);

t.test('delegates', async t => {
  const root = (match: object[], name = 'inner'): string =>
    virtual('root', { hosts: ['web'], http: [{ match, delegate: { name } }, to('v2')] });
  const inner = virtual('inner', {
    http: [{ match: [{ uri: { prefix: '/a/b' }, headers: { x: {} } }], ...to('v1') }],
  });
  const asked = head('/a/b/c', { headers: ['x', '1', 'y', '1'] });
  t.equal(goes(root([{ uri: { prefix: '/a' }, headers: { y: {} } }]) + inner, asked), 'v1', 'both');
  t.equal(goes(root([{ uri: { prefix: '/a' }, headers: { z: {} } }]) + inner, asked), 'v2');
  t.equal(goes(root([{ uri: { prefix: '/q' } }]) + inner, head('/q')), 'v2', 'contrary paths');
  t.equal(goes(root([{ uri: { prefix: '/a' } }], 'nobody'), asked), '500');
  const builder = new IncrementalBuilder();
  builder.apply({ set: objectsOf(services + root([])), removed: [] });
  const change = builder.apply({ set: objectsOf(inner), removed: [] });
  t.match(change.l7, [{ list: 'routes', key: 'VirtualService/shop/root' }], 'the root follows its delegate');
});

t.test('what a rule does', async t => {
  const text = virtual('web', {
    hosts: ['web'],
    http: [
      {
        name: 'main',
        timeout: '2s',
        retries: { attempts: 3, perTryTimeout: '500ms', retryOn: '503,5xx,unheard-of' },
        headers: { request: { set: { 'X-R': '1' } }, response: { remove: ['Server'] } },
        rewrite: { uriRegexRewrite: { match: '^/a/(.*)$', rewrite: '/b/\\1$' } },
        mirror: { host: 'v2' },
        mirrorPercentage: { value: 25 },
        route: [
          { destination: { host: 'v1', subset: 'blue' }, weight: 9 },
          {
            destination: { host: 'v2', port: { number: 81 } },
            weight: 1,
            headers: { request: { add: { a: 'b' } } },
          },
        ],
      },
    ],
  });
  const [route] = configured(services + text).l7.routes;
  t.match(route?.rules[0], {
    name: 'main',
    timeouts: { requestMs: 2_000, backendRequestMs: 500 },
    retry: { attempts: 3, on: ['5xx', 'timeout'], codes: [503], backoffMs: 25 },
    filters: [
      { type: 'request-headers', change: { set: [['x-r', '1']] } },
      { type: 'response-headers', change: { remove: ['server'] } },
      { type: 'rewrite', rewrite: { path: { type: 'pattern', pattern: '^/a/(.*)$', value: '/b/$1$$' } } },
      { type: 'mirror', backend: { port: 0 }, share: 0.25 },
    ],
    backends: [
      { port: 80, subset: 'blue', weight: 9 },
      { port: 81, weight: 1, filters: [{ change: { add: [['a', 'b']] } }] },
    ],
  });
  t.same(said(text), ['warning unsupported-value'], 'a condition that is not known');
});

t.test('what can not be done answers with 500', async t => {
  for (const rule of [
    {},
    { ...to('v1'), redirect: { uri: '/' } },
    { ...to('v1'), fault: { abort: {} } },
    { ...to('v1'), fault: { abort: { grpcStatus: 'NONSENSE' } } },
    { ...to('v1'), rewrite: { uriRegexRewrite: { match: '(', rewrite: '' } } },
    to('nobody'),
  ]) {
    const text = virtual('web', { hosts: ['web'], http: [rule] });
    t.equal(goes(text, head('/')), '500', JSON.stringify(rule));
    t.equal(said(text).length, 1);
  }
  t.same(said(virtual('web', { hosts: ['web'], tcp: [{ route: [] }] })), ['error unsupported-route']);
});
