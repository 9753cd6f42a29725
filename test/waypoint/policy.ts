/** Policies at a waypoint: who is let through to the backend, and what is said of those who are not. */
import { once } from 'node:events';
import http2 from 'node:http2';
import t from 'tap';
import { World } from './world.ts';
import { authorization, route } from './world-objects.ts';

t.test('a path is denied, for HTTP/1.1 and HTTP/2, and the access log says by what', async t => {
  const objects = authorization('no-admin', 'DENY', '[{to: [{operation: {paths: ["/admin*"]}}]}]');
  await using world = await World.create({ objects });
  const backend = await world.serveHttp('web');
  t.equal((await world.request('/')).status, 200);
  const { status, text } = await world.request('/admin/users');
  t.equal(status, 403);
  t.equal(
    text,
    'Forbidden: access is denied by policy (POLICY_DENIED)\n',
    'nothing about which policy it was',
  );
  t.notMatch(backend.received(), /admin/);
  t.match(await world.line({ status: 403 }), {
    policy: 'shop/no-admin',
    rule: 0,
    reason: 'explicitly denied by shop/no-admin rule 0',
    code: 'POLICY_DENIED',
    side: 'client',
    path: '/admin/users',
  });
  t.match(await world.line({ status: 200 }), { reason: /^no deny policy matches/ });
  const metrics = await world.metrics();
  t.match(metrics, /istio_requests_total\{.*response_flags="UAEX".*response_code="403".*\} 1/);
  t.match(metrics, 'culvert_waypoint_policy_total{policy="shop/no-admin",result="denied"} 1');

  const session = http2.connect('http://web', { createConnection: (await socketOf(world)) as never });
  const call = session.request({ ':path': '/admin', 'content-type': 'application/grpc', ':method': 'POST' });
  const [headers] = (await once(call, 'response')) as [http2.IncomingHttpHeaders];
  t.match(headers, { ':status': 200, 'grpc-status': '7' }, 'gRPC has a status of its own for it');
  session.destroy();
});

t.test('by who asks, by route and header; a policy comes before any route', async t => {
  const objects =
    route('- { filters: [{ type: RequestRedirect, requestRedirect: { hostname: elsewhere } }] }') +
    authorization(
      'front-only',
      'ALLOW',
      '[{from: [{source: {serviceAccounts: [client]}}], when: [{key: "request.headers[x-key]", values: ["k*"]}]}]',
    );
  await using world = await World.create({ objects });
  await world.serveHttp('web');
  t.equal((await world.request('/', { headers: { 'x-key': 'k1' } })).status, 302);
  t.equal((await world.request('/')).status, 403);
  t.equal((await world.request('/', { headers: { 'x-key': 'k1', x_key: 'z' } })).status, 403);
  await using bank = await World.create({ objects, client: 'bank' });
  t.equal((await bank.request('/', { headers: { 'x-key': 'k1' } })).status, 403);
});

t.test(
  'what is attached to a service, a waypoint, all waypoints; and the address of a pod is no way around',
  async t => {
    await using world = await World.create({ pods: ['web', 'other'] });
    await world.serveHttp('web');
    await world.serveHttp('other');
    const deny = '[{to: [{operation: {methods: [GET]}}]}]';
    const statuses = async () => [
      (await world.request('/')).status,
      (await world.request('/', { authority: '10.96.1.2:80' })).status,
      (await world.request('/', { authority: world.podAuthority('web') })).status,
    ];
    t.same(await statuses(), [200, 200, 200]);
    await world.routes(authorization('a', 'DENY', deny, { target: 'group: "", kind: Service, name: other' }));
    t.same(await statuses(), [200, 403, 200], 'of all pods of web');
    await world.routes(authorization('a', 'DENY', deny));
    t.same(await statuses(), [403, 200, 403]);
    const target = 'group: gateway.networking.k8s.io, kind: Gateway, name: wp';
    await world.routes(authorization('a', 'DENY', deny, { target }));
    t.same(await statuses(), [403, 403, 403]);
    const all = 'group: gateway.networking.k8s.io, kind: GatewayClass, name: culvert-waypoint';
    await world.routes(authorization('a', 'DENY', deny, { target: all, namespace: 'culvert-system' }));
    t.same(await statuses(), [403, 403, 403]);
    await world.routes(authorization('a', 'DENY', deny, { target: all }));
    t.same(await statuses(), [200, 200, 200], 'only from the root namespace');
    t.match(world.waypoint.source?.findings(), [{ code: 'invalid-value', field: 'spec.targetRefs[0]' }]);
  },
);

t.test('audit and dry run change nothing, and are counted', async t => {
  const objects =
    authorization('seen', 'AUDIT', '[{to: [{operation: {methods: [GET]}}]}]') +
    authorization('tried', 'DENY', '[{}]', { metadata: 'annotations: {culvert.dev/dry-run: "true"}' });
  await using world = await World.create({ objects });
  await world.serveHttp('web');
  t.equal((await world.request('/')).status, 200);
  t.match(await world.line({ status: 200 }), {
    reason: /; dry run: explicitly denied by shop\/tried rule 0$/,
  });
  const metrics = await world.metrics();
  t.match(metrics, 'culvert_waypoint_policy_total{policy="shop/seen",result="audited"} 1');
  t.match(metrics, 'culvert_waypoint_policy_total{policy="shop/tried",result="would-deny"} 1');
});

t.test('a provider that nobody knows allows nothing', async t => {
  const objects = authorization('ask', 'CUSTOM', '[{to: [{operation: {paths: ["/x"]}}]}]', {
    provider: 'nobody',
  });
  await using world = await World.create({ objects });
  await world.serveHttp('web');
  t.equal((await world.request('/x')).status, 403);
  t.equal((await world.request('/')).status, 200);
});

t.test('what is no HTTP: the part that is not about requests, also of connections that are open', async t => {
  await using world = await World.create({ appProtocol: 'tcp' });
  await world.serve('web', socket => socket.pipe(socket));
  const allowed = authorization('a', 'ALLOW', '[{from: [{source: {namespaces: [shop]}}]}]');
  await world.routes(allowed);
  const open = await world.connect();
  open.write('hello');
  t.equal(String(((await once(open, 'data')) as [Buffer])[0]), 'hello');
  const ended = new Promise(resolve => open.once('close', resolve));
  await world.routes(authorization('a', 'ALLOW', '[{to: [{operation: {methods: [GET]}}]}]'));
  await ended;
  t.match(await world.line({ code: 'POLICY_CHANGED' }), { protocol: 'TCP', reason: /allowed by shop\/a/ });
  await t.rejects(world.connect(), { message: 'status 401' });
  t.match(await world.line({ code: 'POLICY_DENIED' }), { reason: 'no allow policy matches (1 considered)' });
  await world.routes(authorization('a', 'DENY', '[{to: [{operation: {methods: [GET], ports: ["80"]}}]}]'));
  await t.rejects(world.connect(), { message: 'status 401' });
  await world.routes(authorization('a', 'DENY', '[{to: [{operation: {methods: [GET], ports: ["81"]}}]}]'));
  (await world.connect()).destroy();
});

t.test(
  'a client that is silent first and then speaks HTTP is judged as HTTP, one that speaks otherwise is not',
  async t => {
    const objects = authorization('post-only', 'ALLOW', '[{to: [{operation: {methods: [POST]}}]}]');
    await using world = await World.create({ objects, limits: { detectMs: 10 } });
    const backend = await world.serveHttp('web');
    const speak = async (bytes: string): Promise<string> => {
      const socket = await world.connect();
      await new Promise(resolve => setTimeout(resolve, 50));
      socket.write(bytes);
      let answer = '';
      for await (const chunk of socket as AsyncIterable<Buffer>) answer += String(chunk);
      return answer;
    };
    const rest = ' / HTTP/1.1\r\nhost: web\r\nconnection: close\r\ncontent-length: 0\r\n\r\n';
    t.match(await speak(`POST${rest}`), /^HTTP\/1.1 200/);
    t.match(await speak(`DELETE${rest}`), /^HTTP\/1.1 403/);
    t.equal(await speak('EHLO web\r\n').catch(() => ''), '');
    t.match(await world.line({ protocol: 'TCP' }), { code: 'POLICY_DENIED' });
    t.notMatch(backend.received(), /EHLO|DELETE/);
  },
);

async function socketOf(world: World): Promise<() => unknown> {
  const socket = await world.connect();
  return () => socket;
}
