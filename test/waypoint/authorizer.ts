/** CUSTOM policies: authorizers that are real servers, of gRPC and of HTTP, and what they can say. */
import type http from 'node:http';
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import t from 'tap';
import { loadProtocol } from '../../proto/load.ts';
import { World, type WorldOptions } from './world.ts';
import { authorization, route } from './world-objects.ts';

interface Check {
  readonly attributes: {
    readonly source: { readonly principal: string };
    readonly request: {
      readonly http: Record<string, unknown> & {
        readonly headers: Record<string, string>;
        readonly rawBody: Buffer;
      };
    };
  };
}

const protocol = loadProtocol('ext-authz.proto');

function objectsOf(provider: object, rules = '[{to: [{operation: {notPaths: ["/free"]}}]}]'): string {
  const spec = { extensionProviders: [{ name: 'ext', ...provider }] };
  const config = { apiVersion: 'culvert.dev/v1', kind: 'MeshConfig', metadata: { name: 'default' }, spec };
  return `${JSON.stringify(config)}\n---\n${authorization('ask', 'CUSTOM', rules, { provider: 'ext' })}${route('- backendRefs: [{ name: app, port: 80 }]')}`;
}

const pods = ['app', 'authz'];
const here = { service: 'authz.shop.svc.cluster.local', port: 80, timeout: '5s' };

async function grpcWorld(
  check: (asked: Check) => object | Promise<object>,
  provider: object = {},
  options: WorldOptions = {},
) {
  const world = await World.create({
    pods,
    objects: objectsOf({ envoyExtAuthzGrpc: { ...here, ...provider } }),
    ...options,
  });
  const app = await world.serveHttp('app');
  const server = new Server();
  const { path: _own, ...method } = protocol.method<Check, object>('culvert.authz.Authorization', 'Check');
  const service = { Check: { ...method, path: '/envoy.service.auth.v3.Authorization/Check' } };
  server.addService(service, {
    Check: (call: ServerUnaryCall<Check, object>, answer: sendUnaryData<object>) => {
      void Promise.resolve(check(call.request)).then(said => answer(null, said));
    },
  });
  const port = Number(world.podAuthority('authz').split(':')[1]);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), error =>
      error === null ? resolve() : reject(error),
    );
  });
  return {
    world,
    app,
    server,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      await world[Symbol.asyncDispose]();
    },
  };
}

t.test('gRPC: what it is asked, and what it may change', async t => {
  const asked: Check[] = [];
  await using on = await grpcWorld(check => {
    asked.push(check);
    if (check.attributes.request.http.headers['x-user'] === 'bob')
      return {
        status: { code: 7 },
        deniedResponse: {
          status: { code: 401 },
          body: 'who are you?',
          headers: [
            { header: { key: 'WWW-Authenticate', value: 'Basic' } },
            { header: { key: 'content-length', value: '1' } },
          ],
        },
      };
    return {
      okResponse: {
        headers: [
          { header: { key: 'X-Role', value: 'admin' } },
          { header: { key: 'x-more', value: 'b' }, append: { value: true } },
          { header: { key: 'x-evil', value: 'a\r\nb: c' } },
        ],
        headersToRemove: ['x-secret', 'host'],
        responseHeadersToAdd: [{ header: { key: 'x-checked', value: 'yes' } }],
        queryParametersToSet: [{ key: 'by', value: 'a b' }],
        queryParametersToRemove: ['token'],
      },
    };
  });
  const { world } = on;
  const allowed = await world.request('/a/../b?token=1&x=2', {
    method: 'POST',
    body: 'hello',
    headers: { 'x-user': 'ann', 'x-role': 'forged', X_Role: 'forged', 'x-more': 'a', 'x-secret': 's' },
  });
  t.equal(allowed.status, 200);
  t.equal(allowed.headers['x-checked'], 'yes');
  const got = JSON.parse(allowed.text) as { url: string; headers: Record<string, string>; body: string };
  t.match(got, {
    url: '/b?x=2&by=a+b',
    body: 'hello',
    headers: { 'x-role': 'admin', 'x-more': 'a, b', host: 'web', 'x-user': 'ann' },
  });
  t.same(
    ['x_role', 'x-secret', 'x-evil'].filter(name => name in got.headers),
    [],
  );
  t.match(asked[0]?.attributes, {
    source: {
      principal: 'spiffe://cluster.local/ns/shop/sa/client',
      address: { socketAddress: { address: '127.0.0.1', portValue: 4711 } },
    },
    destination: {
      service: 'web.shop.svc.cluster.local',
      principal: 'spiffe://cluster.local/ns/shop/sa/waypoint',
    },
    request: {
      http: {
        method: 'POST',
        path: '/b?token=1&x=2',
        host: 'web',
        protocol: 'HTTP/1.1',
        body: '',
        headers: { ':method': 'POST', ':path': '/b?token=1&x=2', ':authority': 'web', 'x-secret': 's' },
      },
    },
  });
  const denied = await world.request('/', { headers: { 'x-user': 'bob' } });
  t.match(denied, {
    status: 401,
    text: 'who are you?',
    headers: { 'www-authenticate': 'Basic', 'content-length': '12' },
  });
  t.match(await world.line({ status: 401 }), { code: 'AUTHORIZER_DENIED', policy: 'shop/ask', rule: 0 });
  const { length } = asked;
  t.equal((await world.request('/free')).status, 200);
  t.equal(asked.length, length, 'only what the policy matches is asked about');
  t.match(await world.metrics(), 'culvert_waypoint_policy_total{policy="shop/ask",result="denied"} 1');
});

t.test('gRPC: with the body, whole or its beginning', async t => {
  const seen: string[] = [];
  const check = ({ attributes }: Check): object => {
    seen.push(`${attributes.request.http['body'] as string}|${attributes.request.http.rawBody.toString()}`);
    return {};
  };
  const long = 'x'.repeat(200_000);
  const body = { maxRequestBytes: 100_000 };
  await using whole = await grpcWorld(check, { includeRequestBodyInCheck: body });
  const { status, text } = await whole.world.request('/', { method: 'POST', body: 'short' });
  t.match({ status, text }, { status: 200, text: /"body":"short"/ });
  t.same(seen.splice(0), ['short|']);
  t.equal((await whole.world.request('/', { method: 'POST', body: long })).status, 413);
  t.same(seen, []);
  await using part = await grpcWorld(check, {
    includeRequestBodyInCheck: { ...body, allowPartialMessage: true, packAsBytes: true },
  });
  const answered = await part.world.request('/', { method: 'POST', body: long });
  t.equal(answered.status, 200);
  t.equal((JSON.parse(answered.text) as { body: string }).body, long, 'the endpoint gets all of it');
  t.same(seen, [`|${long.slice(0, 100_000)}`]);
});

t.test('gRPC: who can not be asked has not allowed it, unless the provider says so', async t => {
  const never = new Promise<object>(() => {});
  for (const check of [
    () => never,
    () => ({ status: { code: 16 } }),
    () => ({ errorResponse: { status: { code: 200 } } }),
    () => ({ deniedResponse: { status: { code: 200 }, body: 'fine' } }),
  ]) {
    await using on = await grpcWorld(check, { timeout: '200ms' });
    const { status } = await on.world.request('/');
    t.equal(status, 403, String(check));
    t.notMatch(on.app.received(), /GET/);
  }
  await using gone = await grpcWorld(() => ({}), { statusOnError: '503' });
  t.equal((await gone.world.request('/')).status, 200);
  gone.server.forceShutdown();
  t.equal((await gone.world.request('/')).status, 503);
  t.match(await gone.world.line({ status: 503 }), { code: 'AUTHORIZER_UNAVAILABLE', side: 'server' });
  await using open = await grpcWorld(() => never, { timeout: '200ms', failOpen: true });
  t.equal((await open.world.request('/')).status, 200);
  t.match(await open.world.metrics(), 'result="allowed-unasked"} 1');
});

t.test('a client that leaves while somebody is asked', async t => {
  let asked: () => void = () => {};
  const isAsked = new Promise<void>(resolve => (asked = resolve));
  let answer: (said: object) => void = () => {};
  await using on = await grpcWorld(() => {
    asked();
    return new Promise<object>(resolve => (answer = resolve));
  });
  const socket = await on.world.connect();
  socket.write('GET /left HTTP/1.1\r\nhost: web\r\n\r\n');
  await isAsked;
  socket.destroy();
  t.match(await on.world.line({ path: '/left' }), { code: 'CLIENT_GONE' });
  answer({});
  t.equal((await on.world.request('/free')).status, 200);
  t.notMatch(on.app.received(), /left/);
});

t.test('HTTP', async t => {
  const asked: http.IncomingMessage[] = [];
  const bodies: string[] = [];
  const world = await World.create({
    pods,
    objects: objectsOf({
      envoyExtAuthzHttp: {
        ...here,
        pathPrefix: '/check/',
        includeRequestHeadersInCheck: ['x-u*', 'cookie'],
        includeAdditionalHeadersInCheck: { 'x-user-agent': 'mesh' },
        includeRequestBodyInCheck: { maxRequestBytes: 10 },
        headersToUpstreamOnAllow: ['x-auth-*'],
        headersToDownstreamOnAllow: ['set-cookie'],
        headersToDownstreamOnDeny: ['location'],
      },
    }),
  });
  await using _ = world;
  const app = await world.serveHttp('app');
  await world.serveHttp('authz', (request, response) => {
    asked.push(request);
    let body = '';
    request.on('data', chunk => (body += String(chunk)));
    request.on('end', () => {
      bodies.push(body);
      const user = request.headers['x-user'];
      if (user === 'error') response.writeHead(500).end();
      else if (user === 'ann')
        response
          .writeHead(200, { 'x-auth-user': 'ann', 'x-other': 'a', 'set-cookie': ['a=1', 'b=2'] })
          .end('ignored');
      else response.writeHead(302, { location: 'http://login/', 'x-other': 'a' }).end('see there');
    });
  });
  const allowed = await world.request('/x?y=1', {
    method: 'PUT',
    body: 'hello',
    headers: {
      'x-user': 'ann',
      'x-user-agent': 'forged',
      'x-auth-user': 'forged',
      'x-private': 'p',
      authorization: 'Basic YTpi',
    },
  });
  t.equal(allowed.status, 200);
  t.same(allowed.headers['set-cookie'], ['a=1', 'b=2']);
  const got = JSON.parse(allowed.text) as { headers: Record<string, string>; body: string };
  t.match(got, { body: 'hello', headers: { 'x-auth-user': 'ann' } });
  t.notOk('x-other' in got.headers);
  t.match(asked[0], {
    method: 'PUT',
    url: '/check/x?y=1',
    headers: { host: 'web', 'x-user': 'ann', 'x-user-agent': 'mesh', authorization: 'Basic YTpi' },
  });
  t.notOk('x-private' in (asked[0]?.headers ?? {}));
  t.same(bodies, ['hello']);
  const denied = await world.request('/', { headers: { 'x-user': 'bob' } });
  t.match(denied, { status: 302, text: 'see there', headers: { location: 'http://login/' } });
  t.notOk('x-other' in denied.headers);
  t.equal((await world.request('/', { headers: { 'x-user': 'error' } })).status, 403);
  t.notMatch(app.received(), /bob|error/);
});

t.test('what is no HTTP is not asked about, and does not pass', async t => {
  await using on = await grpcWorld(() => ({}), {}, { appProtocol: 'tcp' });
  await t.rejects(on.world.connect(), { message: 'status 401' });
});

t.test('before tokens are read, and before other policies', async t => {
  const asked: Check[] = [];
  const deny = authorization(
    'role',
    'ALLOW',
    '[{when: [{key: "request.headers[x-role]", values: [admin]}]}]',
  );
  await using on = await grpcWorld(
    check => {
      asked.push(check);
      return { okResponse: { headers: [{ header: { key: 'x-role', value: 'admin' } }] } };
    },
    {},
    { objects: objectsOf({ envoyExtAuthzGrpc: here }) + deny },
  );
  t.equal((await on.world.request('/')).status, 200);
  t.equal((await on.world.request('/free', { headers: { 'x-role': 'guest' } })).status, 403);
  t.equal(asked.length, 1);
});
