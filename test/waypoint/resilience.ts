/** Traffic policies through a whole waypoint: who is left out, what is too much, where requests that are alike go. */
import { once } from 'node:events';
import http from 'node:http';
import type { Duplex } from 'node:stream';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import { World } from './world.ts';
import { destination, route } from './world-objects.ts';

/** The pods that answered so many requests, with how many each. */
async function spread(
  world: World,
  total: number,
  options: (n: number) => Parameters<World['request']>[1] = () => ({}),
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let n = 0; n < total; n += 1) {
    const { headers, status } = await world.request(`/${n}`, options(n));
    const pod = String(headers['x-pod'] ?? status);
    counts[pod] = (counts[pod] ?? 0) + 1;
  }
  return counts;
}

/** However it ends. */
async function ended(socket: Duplex): Promise<void> {
  socket.resume();
  await new Promise(resolve => socket.once('close', resolve));
}

t.test('an endpoint that dies while requests run fails none that may be repeated', async t => {
  await using world = await World.create({ pods: ['a', 'b', 'c'] });
  for (const pod of ['a', 'b', 'c']) await world.serveHttp(pod);
  const statuses: number[] = [];
  let halfway = false;
  const client = async (): Promise<void> => {
    for (let n = 0; n < 60; n += 1) {
      statuses.push((await world.request(`/${n}`)).status);
      if (n === 20 && !halfway) {
        halfway = true;
        world.stopServing('b');
      }
    }
  };
  await Promise.all([client(), client(), client(), client()]);
  t.same([...new Set(statuses)], [200]);
  t.equal(statuses.length, 240);
});

t.test('an endpoint with errors is left out, and comes back when its time is over', async t => {
  let now = Date.now();
  await using world = await World.create({
    pods: ['good', 'bad'],
    now: () => now,
    objects: destination(
      '{ loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: { consecutive5xxErrors: 3, baseEjectionTime: 1m } }',
    ),
  });
  let broken = true;
  await world.serveHttp('good');
  await world.serveHttp('bad', (_request, response) => {
    response.writeHead(broken ? 500 : 200, { 'x-pod': 'bad' }).end();
  });
  t.same(await spread(world, 20), { good: 17, bad: 3 });
  t.equal(await world.metric('culvert_waypoint_ejections_total'), 1);
  broken = false;
  now += 59_000;
  t.same(await spread(world, 4), { good: 4 });
  now += 1_000;
  t.same(await spread(world, 20), { good: 10, bad: 10 });
});

t.test(
  'where all are left out requests are refused at once, unless too few are healthy for that',
  async t => {
    const policy = (health: number): string =>
      destination(
        `{ outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 100, minHealthPercent: ${health} } }`,
      );
    await using world = await World.create({ pods: ['a', 'b'], objects: policy(0) });
    for (const pod of ['a', 'b'])
      await world.serveHttp(pod, (_request, response) => response.writeHead(500, { 'x-pod': pod }).end());
    await spread(world, 2);
    const refused = await world.request('/');
    t.match([refused.status, refused.text], [503, /NO_HEALTHY_ENDPOINT.*|2 of 2 are left out/]);
    await world.routes(policy(60));
    t.equal((await world.request('/')).status, 500, 'panic: any is better than none');
  },
);

t.test('more requests than the policy permits are answered 503 and counted by reason', async t => {
  await using world = await World.create({
    objects: destination(
      '{ connectionPool: { tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: 1 } } }',
    ),
  });
  const held: http.ServerResponse[] = [];
  await world.serveHttp('web', (_request, response) => held.push(response));
  const first = world.request('/1');
  await eventually(() => held.length === 1, { what: 'the first' });
  const second = world.request('/2');
  const [upstream] = world.waypoint.context.upstreams.all();
  await eventually(() => upstream?.load.pending === 1, { what: 'one that waits' });
  const third = await world.request('/3');
  t.match([third.status, third.text], [503, /UPSTREAM_OVERFLOW/]);
  t.equal(await world.metric('culvert_waypoint_overflow_total', '{limit="pending"}'), 1);
  t.equal(held.length, 1, 'who waits is not sent');
  held[0]?.end('one');
  t.equal((await first).text, 'one');
  await eventually(() => held.length === 2, { what: 'the second' });
  held[1]?.end('two');
  t.equal((await second).text, 'two');
  await world.routes(destination('{ connectionPool: { http: { http2MaxRequests: 1 } } }'));
  const running = world.request('/4');
  await eventually(() => held.length === 3, { what: 'one that runs' });
  t.equal((await world.request('/5')).status, 503);
  t.equal(await world.metric('culvert_waypoint_overflow_total', '{limit="requests"}'), 1);
  held[2]?.end();
  t.equal((await running).status, 200);
});

t.test('further tries have a limit and a budget', async t => {
  await using world = await World.create({
    pods: ['a', 'b'],
    objects:
      route('- { retry: { codes: [503], attempts: 5 }, backendRefs: [{ name: web, port: 80 }] }') +
      destination('{ retryBudget: { percent: 0, minRetryConcurrency: 0 } }'),
  });
  let asked = 0;
  for (const pod of ['a', 'b'])
    await world.serveHttp(pod, (_request, response) => {
      asked += 1;
      response.writeHead(503).end();
    });
  t.equal((await world.request('/')).status, 503);
  t.equal(asked, 1);
  t.equal(await world.metric('culvert_waypoint_overflow_total', '{limit="budget"}'), 1);
  await world.routes(
    route('- { retry: { codes: [503], attempts: 5 }, backendRefs: [{ name: web, port: 80 }] }'),
  );
  asked = 0;
  t.equal((await world.request('/')).status, 503);
  t.equal(asked, 6);
});

t.test('requests that are alike go to one endpoint: by header, cookie, parameter, client', async t => {
  const pods = ['a', 'b', 'c', 'd'];
  const hash = (key: string): string => destination(`{ loadBalancer: { consistentHash: { ${key} } } }`);
  await using world = await World.create({ pods, objects: hash('httpHeaderName: X-User') });
  for (const pod of pods) await world.serveHttp(pod);
  const one = await spread(world, 10, () => ({ headers: { 'x-user': 'ann' } }));
  t.equal(Object.keys(one).length, 1);
  const many = await spread(world, 40, n => ({ headers: { 'x-user': `user-${n}` } }));
  t.ok(Object.keys(many).length > 2, JSON.stringify(many));

  await world.routes(hash('httpQueryParameterName: u'));
  const { headers } = await world.request('/?u=1');
  for (let n = 0; n < 5; n += 1) t.equal((await world.request('/?u=1')).headers['x-pod'], headers['x-pod']);

  await world.routes(hash('useSourceIp: true'));
  t.equal(Object.keys(await spread(world, 10)).length, 1);

  await world.routes(
    hash('httpCookie: { name: tie, ttl: 1h, attributes: [{ name: SameSite, value: Lax }] }'),
  );
  const given = await world.request('/');
  const [line = ''] = given.headers['set-cookie'] ?? [];
  t.match(line, /^tie=[0-9a-f-]{36}; Max-Age=3600; Path=\/; HttpOnly; SameSite=Lax$/);
  const [cookie = ''] = line.split(';');
  for (let n = 0; n < 8; n += 1) {
    const again = await world.request('/', { headers: { cookie: `a=b; ${cookie}` } });
    t.equal(again.headers['x-pod'], given.headers['x-pod']);
    t.equal(again.headers['set-cookie'], undefined);
  }
});

t.test('sessionAffinity of a Service keeps a client at an endpoint, not all clients', async t => {
  const pods = ['a', 'b', 'c', 'd'];
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'sticky', namespace: 'shop' },
    spec: {
      clusterIP: '10.96.3.1',
      sessionAffinity: 'ClientIP',
      selector: { web: 'yes' },
      ports: [{ name: 'http', port: 80, targetPort: 'port' }],
    },
  };
  await using world = await World.create({ pods, objects: JSON.stringify(service) });
  for (const pod of pods) await world.serveHttp(pod);
  t.equal(Object.keys(await spread(world, 12, () => ({ authority: '10.96.3.1:80' }))).length, 1);
});

t.test(
  'a subset has its endpoints and its policy; a policy for which nothing can be done refuses',
  async t => {
    await using world = await World.create({
      pods: ['a', 'b'],
      objects: destination('{ tls: { mode: MUTUAL } }'),
    });
    for (const pod of ['a', 'b']) await world.serveHttp(pod);
    const refused = await world.request('/');
    t.match([refused.status, refused.text], [503, /TRAFFIC_REFUSED/]);
    await world.routes(destination('{ tls: { mode: ISTIO_MUTUAL } }'));
    const plain = await world.request('/');
    t.match([plain.status, plain.text], [503, /NO_HEALTHY_ENDPOINT/], 'no endpoint here has a tunnel');
  },
);

t.test('connections end as the policy says', async t => {
  await using world = await World.create({
    objects: destination('{ connectionPool: { http: { maxRequestsPerConnection: 2 } } }'),
  });
  let connections = 0;
  const server = http.createServer((_request, response) => response.end('ok'));
  await world.serve('web', socket => {
    connections += 1;
    server.emit('connection', socket);
  });
  for (let n = 0; n < 6; n += 1) await world.request('/');
  t.equal(connections, 3);
});

t.test('the version of HTTP to endpoints is the one that the policy says', async t => {
  const policy = destination(
    '{ connectionPool: { http: { h2UpgradePolicy: UPGRADE, maxRequestsPerConnection: 2 } } }',
  );
  await using world = await World.create({ objects: policy, limits: { prefaceMs: 200 } });
  const first: string[] = [];
  await world.serve('web', socket => {
    socket.once('data', (chunk: Buffer) => {
      first.push(chunk.toString('latin1', 0, 14));
      socket.destroy();
    });
  });
  t.equal((await world.request('/')).status, 503);
  t.match(first[0], /^PRI \* HTTP\/2\.0/);
});

t.test('a request on which nothing moves, and a carried connection, are given up', async t => {
  await using world = await World.create({ limits: { streamIdleMs: 60 } });
  await world.serveHttp('web', (request, response) => {
    if (request.url === '/upgrade') return;
    response.write('some');
  });
  const socket = await world.connect();
  socket.write('GET /half HTTP/1.1\r\nhost: web\r\n\r\n');
  await ended(socket);
  t.match(await world.line({ path: '/half' }), { code: 'STREAM_IDLE', status: 200 });
  t.equal((await world.request('/upgrade')).status, 504);
});

t.test('an idle WebSocket is closed as the policy says', async t => {
  await using world = await World.create({
    objects: destination('{ connectionPool: { tcp: { idleTimeout: 60ms } } }'),
  });
  const server = http.createServer();
  server.on('upgrade', (_request, socket: Duplex) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n');
    socket.on('data', (chunk: Buffer) => socket.write(chunk));
  });
  await world.serve('web', socket => server.emit('connection', socket));
  const socket = await world.connect();
  socket.write('GET /ws HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
  await ended(socket);
  t.match(await world.line({ path: '/ws' }), { status: 101, code: 'STREAM_IDLE' });
});

t.test('TCP: connections beyond the limit are refused', async t => {
  await using world = await World.create({
    appProtocol: 'tcp',
    objects: destination('{ connectionPool: { tcp: { maxConnections: 1 } } }'),
  });
  await world.serve('web', socket => socket.on('data', (chunk: Buffer) => socket.write(chunk)));
  const first = await world.connect();
  first.write('a');
  await once(first, 'data');
  await t.rejects(world.connect(), /status 503/);
  t.equal(await world.metric('culvert_waypoint_overflow_total', '{limit="connections"}'), 1);
  first.destroy();
  const [upstream] = world.waypoint.context.upstreams.all();
  await eventually(() => !(upstream?.load.connect() instanceof Error), { what: 'a place' });
});

t.test('one further try is enough where another endpoint is good', async t => {
  await using world = await World.create({
    pods: ['good', 'bad'],
    objects: route('- { retry: { codes: [503], attempts: 1 }, backendRefs: [{ name: web, port: 80 }] }'),
  });
  await world.serveHttp('good');
  await world.serveHttp('bad', (_request, response) => response.writeHead(503).end());
  t.same(await spread(world, 30), { good: 30 });
  t.ok((await world.metric('culvert_waypoint_retries_total')) > 0);
});

t.test('an endpoint that is silent for longer than a try may take is left out too', async t => {
  await using world = await World.create({
    pods: ['good', 'silent'],
    objects:
      route(
        '- { timeouts: { backendRequest: 100ms }, retry: { attempts: 1 }, backendRefs: [{ name: web, port: 80 }] }',
      ) +
      destination(
        '{ loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: { consecutiveGatewayErrors: 1 } }',
      ),
  });
  await world.serveHttp('good');
  let asked = 0;
  await world.serveHttp('silent', () => (asked += 1));
  t.same(await spread(world, 10), { good: 10 });
  t.equal(asked, 1);
});

t.test('the last answer counts where nobody is left for another try', async t => {
  await using world = await World.create({
    pods: ['a', 'b'],
    objects:
      route('- { retry: { codes: [500], attempts: 5 }, backendRefs: [{ name: web, port: 80 }] }') +
      destination('{ outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 100 } }'),
  });
  for (const pod of ['a', 'b'])
    await world.serveHttp(pod, (_request, response) => response.writeHead(500).end('own words'));
  const { status, text } = await world.request('/');
  t.same([status, text], [500, 'own words']);
  t.equal(await world.metric('culvert_waypoint_retries_total'), 1);
});
