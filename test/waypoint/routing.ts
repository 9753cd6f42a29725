/** Requests through a whole waypoint: routes, filters, weights, and what the backend gets. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import { okay, World } from './world.ts';
import { route } from './world-objects.ts';

t.test('without routes a request goes to the service it was for', async t => {
  await using world = await World.create();
  await world.serveHttp('web');
  const { status, text } = await world.request('/a/../b?x=1', {
    method: 'POST',
    body: 'hello',
    headers: { 'X-Mixed': 'Case' },
  });
  t.equal(status, 200);
  const seen = JSON.parse(text);
  t.match(seen, { pod: 'web', method: 'POST', url: '/b?x=1', body: 'hello' });
  t.match(seen.headers, {
    host: 'web',
    'x-mixed': 'Case',
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-client-cert':
      'By=spiffe://cluster.local/ns/shop/sa/waypoint;URI=spiffe://cluster.local/ns/shop/sa/client',
    'x-request-id': /^[0-9a-f-]{36}$/,
    traceparent: /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/,
  });
  t.match(await world.line({ path: '/b?x=1' }), {
    method: 'POST',
    status: 200,
    'dst.service': 'web.shop.svc.cluster.local',
    'dst.workload': 'web',
    'src.addr': '127.0.0.1:4711',
    'src.identity': 'spiffe://cluster.local/ns/shop/sa/client',
    bytes_recv: 5,
    attempts: 1,
    msg: 'request complete',
  });
});

t.test('weights hold over ten thousand requests, and a canary is chosen by header', async t => {
  await using world = await World.create({
    pods: ['v1', 'v2'],
    objects: route(`
- matches: [{ headers: [{ name: x-canary, value: "yes" }] }]
  backendRefs: [{ name: v2, port: 80 }]
- backendRefs: [{ name: v1, port: 80, weight: 90 }, { name: v2, port: 80, weight: 10 }]
`),
  });
  const counts = { v1: 0, v2: 0 };
  const count = (pod: 'v1' | 'v2') => async () =>
    world.serveHttp(pod, (_request, response) => {
      counts[pod] += 1;
      response.end(pod);
    });
  await count('v1')();
  await count('v2')();
  t.equal((await world.request('/', { headers: { 'X-Canary': 'yes' } })).text, 'v2');
  counts.v2 = 0;
  const total = 10_000;
  await pipelined(world, total);
  t.equal(counts.v1 + counts.v2, total, 'none is lost');
  // Four standard deviations of a fair draw: once in 16 000 runs a true one fails.
  t.ok(Math.abs(counts.v2 / total - 0.1) < 0.012, `${counts.v2} of ${total}`);
});

/** Sends requests on one connection, each when the one before has been answered. */
async function pipelined(world: World, total: number): Promise<void> {
  const socket = await world.connect();
  let answered = 0;
  let rest = '';
  socket.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    rest += chunk.toString('latin1');
    const answers = rest.split('HTTP/1.1 200 ').length - 1;
    if (answers === 0 || !/v[12]$/.test(rest)) continue;
    answered += answers;
    rest = '';
    if (answered >= total) break;
    socket.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
  }
  socket.destroy();
}

t.test('filters: headers, rewrite, redirect, CORS, mirror', async t => {
  await using world = await World.create({
    pods: ['v1', 'copy'],
    objects: route(`
- matches: [{ path: { value: /moved } }]
  filters: [{ type: RequestRedirect, requestRedirect: { hostname: example.org, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }, statusCode: 308 } }]
- matches: [{ path: { value: /cors } }]
  filters: [{ type: CORS, cors: { allowOrigins: ["https://a.example"], allowMethods: [PUT], allowHeaders: [x-a] } }]
  backendRefs: [{ name: v1, port: 80 }]
- matches: [{ path: { value: /mirror } }]
  filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: copy, port: 80 } } }]
  backendRefs: [{ name: v1, port: 80 }]
- matches: [{ path: { value: /api } }]
  filters:
  - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Set, value: new }, { name: Host, value: other }], add: [{ name: X-Add, value: b }], remove: [X-Gone] } }
  - { type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: / } } }
  - { type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: X-Response, value: ok }], remove: [x-pod] } }
  backendRefs: [{ name: v1, port: 80, filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { add: [{ name: x-backend, value: "1" }] } }] }]
`),
  });
  await world.serveHttp('v1');
  const copy = await world.serve('copy', okay);

  const moved = await world.request('/moved/a?q=1');
  t.match([moved.status, moved.headers.location], [308, 'http://example.org/new/a?q=1']);

  const api = await world.request('/api/x', { headers: { 'x-set': 'old', 'x-add': 'a', 'x-gone': '1' } });
  t.match(JSON.parse(api.text), {
    url: '/x',
    headers: { host: 'other', 'x-set': 'new', 'x-add': 'a,b', 'x-backend': '1' },
  });
  t.notMatch(api.text, 'x-gone');
  t.equal(api.headers['x-response'], 'ok');
  t.equal(api.headers['x-pod'], undefined);

  const origin = { origin: 'https://a.example' };
  const preflight = await world.request('/cors', {
    method: 'OPTIONS',
    headers: { ...origin, 'access-control-request-method': 'PUT' },
  });
  t.match([preflight.status, preflight.headers['access-control-allow-origin']], [204, 'https://a.example']);
  const actual = await world.request('/cors', { headers: origin });
  t.match([actual.status, actual.headers['access-control-allow-origin']], [200, 'https://a.example']);

  const mirrored = await world.request('/mirror/x', { method: 'POST', body: 'twice' });
  t.match(JSON.parse(mirrored.text), { pod: 'v1', body: 'twice' });
  await eventually(() => copy.received().endsWith('twice'), { what: 'the copy' });
  t.match(copy.received(), /^POST \/mirror\/x HTTP\/1\.1\r\n/);
});

t.test('what leads nowhere is said', async t => {
  await using world = await World.create({
    pods: ['web', 'dead'],
    objects: route(`
- { matches: [{ path: { value: /none } }] }
- { matches: [{ path: { value: /zero } }], backendRefs: [{ name: web, port: 80, weight: 0 }] }
- { matches: [{ path: { value: /unknown } }], backendRefs: [{ name: nobody, port: 80 }] }
- { matches: [{ path: { value: /port } }], backendRefs: [{ name: web, port: 81 }] }
- { matches: [{ path: { value: /dead } }], backendRefs: [{ name: dead, port: 80 }] }
- { matches: [{ path: { value: /half } }], backendRefs: [{ name: dead, port: 80, weight: 0 }, { name: web, port: 80 }] }
`),
  });
  await world.serveHttp('web');
  for (const [path, status, code] of [
    ['/none', 500, 'NO_BACKEND'],
    ['/zero', 500, 'NO_BACKEND'],
    ['/unknown', 500, 'INVALID_BACKEND'],
    ['/port', 500, 'INVALID_BACKEND'],
    ['/dead', 503, 'DIAL_REFUSED'],
    ['/elsewhere', 404, 'NO_ROUTE'],
  ] as const) {
    const answer = await world.request(path);
    t.equal(answer.status, status, path);
    t.match(answer.text, code);
    t.match(await world.line({ path }), { code, status });
  }
  const grpc = await world.request('/elsewhere', {
    method: 'POST',
    headers: { 'content-type': 'application/grpc' },
  });
  t.match([grpc.status, grpc.headers['grpc-status']], [200, '12'], 'gRPC is told in its own words');
});

t.test('what does not use the waypoint is not served', async t => {
  await using world = await World.create({
    objects: `{"apiVersion":"v1","kind":"Service","metadata":{"name":"free","namespace":"shop","labels":{"culvert.dev/use-waypoint":"none"}},"spec":{"clusterIP":"10.96.2.1","ports":[{"port":80}],"selector":{"app":"web"}}}`,
  });
  await world.serveHttp('web');
  for (const authority of ['10.96.2.1:80', '192.0.2.1:80', 'web.shop.svc.cluster.local:80'])
    await t.rejects(world.connect(authority), /status 503/, authority);
  const { text } = await world.request('/x', { authority: '10.0.1.1:1' }).catch(() => ({ text: 'refused' }));
  t.match(text, /DIAL_REFUSED|refused|200/, 'a pod that uses it is, by its own address');
});

t.test(
  'retries: a failing endpoint is left for another, and the last answer counts when all fail',
  async t => {
    await using world = await World.create({
      pods: ['good', 'bad'],
      objects: route(`
- matches: [{ path: { value: /retry } }]
  retry: { codes: [503], attempts: 3 }
  backendRefs: [{ name: web, port: 80 }]
- matches: [{ path: { value: /bad } }]
  retry: { codes: [503], attempts: 1 }
  backendRefs: [{ name: bad, port: 80 }]
`),
    });
    let failures = 0;
    await world.serveHttp('bad', (request, response) => {
      request.resume();
      failures += 1;
      response.writeHead(503).end('no');
    });
    await world.serveHttp('good');
    for (let n = 0; n < 20; n += 1) {
      const { status, text } = await world.request(`/retry/${n}`, { method: 'POST', body: 'kept' });
      t.equal(status, 200);
      t.match(JSON.parse(text), { pod: 'good', body: 'kept' });
    }
    t.ok(failures > 0, 'some were saved');
    t.match(await world.line({ attempts: 2 }), { status: 200 });
    failures = 0;
    const { status, text } = await world.request('/bad');
    t.same([status, text, failures], [503, 'no', 2]);
  },
);

t.test('timeouts', async t => {
  await using world = await World.create({
    objects: route(`
- { matches: [{ path: { value: /whole } }], timeouts: { request: 100ms }, backendRefs: [{ name: web, port: 80 }] }
- { matches: [{ path: { value: /try } }], timeouts: { backendRequest: 100ms }, retry: { attempts: 2 }, backendRefs: [{ name: web, port: 80 }] }
`),
  });
  let asked = 0;
  await world.serveHttp('web', (request, response) => {
    asked += 1;
    if (request.url === '/try' && asked === 2) response.end('at last');
  });
  t.equal((await world.request('/whole')).status, 504);
  t.match(await world.line({ path: '/whole' }), { code: 'REQUEST_TIMEOUT' });
  asked = 0;
  t.match(await world.request('/try'), { status: 200, text: 'at last' });
  t.match(await world.line({ path: '/try' }), { attempts: 2 });
});

t.test('a waypoint that drains ends what is idle, and lets the rest end', async t => {
  await using world = await World.create();
  const arrived = Promise.withResolvers<ServerResponse>();
  await world.serveHttp('web', (request, response) => {
    if (request.url === '/slow') arrived.resolve(response);
    else response.end('quick');
  });
  const idle = await world.connect();
  idle.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
  await once(idle, 'data');
  const slow = world.raw('GET /slow HTTP/1.1\r\nhost: web\r\n\r\n');
  const response = await arrived.promise;
  const drained = world.waypoint.drain();
  idle.resume();
  await once(idle, 'end');
  idle.end();
  response.end('slow');
  t.match(await slow, /connection: close\r\n(.*\r\n)*\r\nslow$/i);
  await drained;
  t.equal(world.waypoint.tunnels, 0);
});

t.test('a change of routes is in force at once', async t => {
  await using world = await World.create({ pods: ['v1', 'v2'] });
  await world.serveHttp('v1');
  await world.serveHttp('v2');
  for (const pod of ['v1', 'v2', 'v1']) {
    await world.routes(route(`- { backendRefs: [{ name: ${pod}, port: 80 }] }`));
    t.equal((await world.request('/')).headers['x-pod'], pod);
  }
});
