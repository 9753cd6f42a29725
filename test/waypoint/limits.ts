/** Rate limits and injected faults through a whole waypoint. */
import grpc from '@grpc/grpc-js';
import t from 'tap';
import { loadProtocol } from '../../proto/load.ts';
import { eventually } from '../lab/eventually.ts';
import { World } from './world.ts';
import { route } from './world-objects.ts';

function limit(spec: string, name = 'l'): string {
  return `apiVersion: culvert.dev/v1
kind: RateLimit
metadata: { name: ${name}, namespace: shop }
spec:
${spec.trim().replaceAll(/^/gm, '  ')}
---
`;
}

const extension = (kind: string, name: string): string =>
  `{ type: ExtensionRef, extensionRef: { group: culvert.dev, kind: ${kind}, name: ${name} } }`;

t.test('a limit of a service, by header, with what clients are told', async t => {
  let now = Date.now();
  await using world = await World.create({
    now: () => now,
    objects: limit(`
targetRefs: [{ kind: Service, name: web }]
local: [{ requests: 2, per: 10s, by: [{ type: Header, name: x-user }] }]
`),
  });
  await world.serveHttp('web');
  const ask = (user?: string) =>
    world.request('/', { headers: user === undefined ? {} : { 'x-user': user } });
  const first = await ask('ann');
  t.match(first.headers, {
    'x-ratelimit-limit': '2',
    'x-ratelimit-remaining': '1',
    'x-ratelimit-reset': '5',
  });
  t.equal((await ask('ann')).status, 200);
  const third = await ask('ann');
  t.match([third.status, third.text], [429, /RATE_LIMITED/]);
  t.match(third.headers, { 'x-ratelimit-remaining': '0', 'retry-after': '5' });
  t.equal((await ask('bob')).status, 200, 'others are counted apart');
  t.equal((await ask()).status, 200);
  t.equal((await ask()).headers['x-ratelimit-limit'], undefined, 'without the header it is not counted');
  const call = await world.request('/', {
    method: 'POST',
    headers: { 'x-user': 'ann', 'content-type': 'application/grpc' },
  });
  t.match([call.status, call.headers['grpc-status']], [200, '8'], 'RESOURCE_EXHAUSTED');
  now += 5_000;
  t.equal((await ask('ann')).status, 200);
  t.equal((await ask('ann')).status, 429);
  t.equal(await world.metric('culvert_waypoint_rate_limit_total', '{by="local",result="refused"}'), 3);
  t.match(await world.line({ status: 429 }), { code: 'RATE_LIMITED' });
});

t.test('a limit of one rule, and faults', async t => {
  await using world = await World.create({
    objects:
      limit('local: [{ requests: 1, per: 1h }]') +
      `apiVersion: culvert.dev/v1
kind: FaultInjection
metadata: { name: broken, namespace: shop }
spec: { delay: { duration: 50ms }, abort: { httpStatus: 418 } }
---
apiVersion: culvert.dev/v1
kind: FaultInjection
metadata: { name: slow, namespace: shop }
spec: { delay: { duration: 50ms } }
---
apiVersion: culvert.dev/v1
kind: FaultInjection
metadata: { name: never, namespace: shop }
spec: { abort: { grpcStatus: UNAVAILABLE, percentage: 0 } }
---
` +
      route(`
- matches: [{ path: { value: /limited } }]
  filters: [${extension('RateLimit', 'l')}]
  backendRefs: [{ name: web, port: 80 }]
- matches: [{ path: { value: /broken } }]
  filters: [${extension('FaultInjection', 'broken')}]
  backendRefs: [{ name: web, port: 80 }]
- matches: [{ path: { value: /slow } }]
  filters: [${extension('FaultInjection', 'slow')}]
  backendRefs: [{ name: web, port: 80 }]
- matches: [{ path: { value: /never } }]
  filters: [${extension('FaultInjection', 'never')}]
  backendRefs: [{ name: web, port: 80 }]
- matches: [{ path: { value: /unknown } }]
  filters: [${extension('FaultInjection', 'nobody')}]
  backendRefs: [{ name: web, port: 80 }]
- backendRefs: [{ name: web, port: 80 }]
`),
  });
  const asked: string[] = [];
  await world.serveHttp('web', (request, response) => {
    asked.push(request.url ?? '');
    request.pipe(response);
  });
  t.equal((await world.request('/limited')).status, 200);
  t.equal((await world.request('/limited')).status, 429);
  t.equal((await world.request('/else')).status, 200);
  const broken = await world.request('/broken');
  t.match([broken.status, broken.text], [418, /FAULT_INJECTED/]);
  const body = await world.request('/slow', { method: 'POST', body: 'kept' });
  t.equal(body.text, 'kept');
  t.equal((await world.request('/never')).status, 200);
  t.equal((await world.request('/unknown')).status, 500);
  t.same(asked, ['/limited', '/else', '/slow', '/never']);
  for (const [fault, count] of [
    ['delay', 2],
    ['abort', 1],
  ] as const)
    t.equal(await world.metric('culvert_waypoint_faults_total', `{fault="${fault}"}`), count);
  for (const path of ['/broken', '/slow'])
    t.ok(Number.parseFloat(String((await world.line({ path }))['duration'])) >= 49, path);
});

t.test('a service that counts for all is asked, and decides', async t => {
  await using world = await World.create({
    pods: ['web', 'counter'],
    objects: limits('Allow'),
  });
  await world.serveHttp('web');
  const asked: unknown[] = [];
  let answer: object = {};
  const { server, port } = await counting(request => {
    asked.push(request);
    return answer;
  });
  t.teardown(() => server.forceShutdown());
  await world.forward('counter', port);

  answer = {
    overallCode: 1,
    responseHeadersToAdd: [
      { key: 'X-Rest', value: '7' },
      { key: 'bad name', value: 'x' },
    ],
  };
  const passed = await world.request('/', { headers: { 'x-user': 'ann' } });
  t.match([passed.status, passed.headers['x-rest'], passed.headers['bad name']], [200, '7', undefined]);
  t.match(asked, [
    {
      domain: 'shop',
      descriptors: [
        {
          entries: [
            { key: 'user', value: 'ann' },
            { key: 'identity', value: 'spiffe://cluster.local/ns/shop/sa/client' },
          ],
        },
      ],
    },
  ]);
  answer = { overallCode: 2, statuses: [{ code: 2, currentLimit: { name: 'per-user' } }] };
  const refused = await world.request('/', { headers: { 'x-user': 'ann' } });
  t.match([refused.status, refused.text], [429, /per-user.*RATE_LIMITED/]);
  t.equal((await world.request('/')).status, 200, 'what has none of it is not asked about');
  t.equal(asked.length, 2);

  server.forceShutdown();
  t.equal((await world.request('/', { headers: { 'x-user': 'ann' } })).status, 200, 'not asked, allowed');
  await world.routes(limits('Deny'));
  const denied = await world.request('/', { headers: { 'x-user': 'ann' } });
  t.match([denied.status, denied.text], [500, /RATE_LIMIT_UNAVAILABLE/]);
  t.equal(
    await world.metric('culvert_waypoint_rate_limit_total', '{by="global",result="refused-unasked"}'),
    1,
  );
});

function limits(failureMode: string): string {
  return limit(`
targetRefs: [{ kind: Service, name: web }]
global:
  service: { name: counter, port: 80 }
  domain: shop
  timeout: 5s
  failureMode: ${failureMode}
  descriptors:
  - entries: [{ key: user, type: Header, name: x-user }, { key: identity, type: Identity }]
`);
}

/** A server of the protocol, by the library that others use. */
async function counting(
  decide: (request: unknown) => object,
): Promise<{ server: grpc.Server; port: number }> {
  const protocol = loadProtocol('ratelimit.proto');
  const request = protocol.message<object>('culvert.ratelimit.RateLimitRequest');
  const response = protocol.message<object>('culvert.ratelimit.RateLimitResponse');
  const server = new grpc.Server();
  server.addService(
    {
      shouldRateLimit: {
        path: '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit',
        requestStream: false,
        responseStream: false,
        requestSerialize: message => request.encode(message as object),
        requestDeserialize: bytes => JSON.parse(JSON.stringify(request.decode(bytes))) as unknown,
        responseSerialize: message => response.encode(message as object),
        responseDeserialize: bytes => response.decode(bytes),
      },
    },
    {
      shouldRateLimit: (call: grpc.ServerUnaryCall<unknown, object>, done: grpc.sendUnaryData<object>) =>
        done(null, decide(call.request)),
    },
  );
  let port = 0;
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) => {
    if (error === null) port = bound;
  });
  await eventually(() => port > 0, { what: 'the counting server' });
  return { server, port };
}
