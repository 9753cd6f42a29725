/**
 * Whom a waypoint asks, as pods of the mesh: authorizers, a server of keys, one that counts, a collector. All of them are reached
 * by tunnels, and an endpoint that dies in the midst of its answer, or is gone, leaves it to another one.
 */
import { generateKeyPairSync } from 'node:crypto';
import type http from 'node:http';
import http2 from 'node:http2';
import { exportJWK, SignJWT } from 'jose';
import t, { type Test } from 'tap';
import { loadProtocol } from '../../proto/load.ts';
import { eventually } from '../lab/eventually.ts';
import { World } from './world.ts';
import { authorization, route } from './world-objects.ts';

const waypoint = 'spiffe://cluster.local/ns/shop/sa/waypoint';
const askedPods = ['asked-1', 'asked-2'];

/** A Service of the pods that are asked. */
const asked = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'asked', namespace: 'shop' },
  spec: {
    clusterIP: '10.96.4.1',
    selector: { asked: 'yes' },
    ports: [{ name: 'port', port: 80, targetPort: 'port' }],
  },
});

function config(spec: object): string {
  return JSON.stringify({
    apiVersion: 'culvert.dev/v1',
    kind: 'MeshConfig',
    metadata: { name: 'default' },
    spec,
  });
}

async function meshed(t: Test, objects: readonly string[]): Promise<World> {
  const world = await World.create({
    pods: ['app', ...askedPods],
    labels: pod => (askedPods.includes(pod) ? { asked: 'yes' } : {}),
    isMeshed: true,
    objects: [asked, ...objects, route('- backendRefs: [{ name: app, port: 80 }]')].join('\n---\n'),
  });
  t.teardown(() => world[Symbol.asyncDispose]());
  await world.serveHttp('app');
  return world;
}

/** A server of HTTP/1.1 at each pod that is asked; the first answer that anybody is to give breaks off. */
async function serveHttp(world: World, answer: http.RequestListener): Promise<() => number> {
  let broken = 0;
  for (const pod of askedPods)
    await world.serveHttp(pod, (request, response) => {
      if (broken > 0) {
        answer(request, response);
        return;
      }
      broken += 1;
      response.writeHead(200, { 'content-length': 100 }).write('half', () => response.destroy());
    });
  return () => broken;
}

/** The same of gRPC. */
async function serveGrpc(world: World, answer: () => Buffer): Promise<() => number> {
  let broken = 0;
  const server = http2.createServer();
  server.on('stream', given => {
    const stream = given as http2.ServerHttp2Stream;
    stream.on('error', () => {}).resume();
    stream.once('end', () => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      if (broken === 0) {
        broken += 1;
        stream.write(Buffer.from([0, 0]), () => stream.session?.destroy());
        return;
      }
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      const message = answer();
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      stream.end(Buffer.concat([prefix, message]));
    });
  });
  for (const pod of askedPods) await world.serve(pod, socket => server.emit('connection', socket));
  return () => broken;
}

/** Every connection to them came by a tunnel, from this waypoint. */
function cameByTunnels(t: Test, world: World): void {
  const seen = askedPods.flatMap(pod => world.agents.get(pod)?.seen ?? []);
  t.ok(seen.length > 0);
  t.same(new Set(seen.map(({ peer }) => peer)), new Set([waypoint]));
}

/** Both answer, then one is gone. */
async function always(t: Test, world: World, status: number, ask: () => Promise<number>): Promise<void> {
  for (let n = 0; n < 4; n += 1) t.equal(await ask(), status);
  world.stopServing('asked-1');
  for (let n = 0; n < 6; n += 1) t.equal(await ask(), status, 'one of them is gone');
  cameByTunnels(t, world);
}

const askAbout = (provider: object): readonly string[] => [
  config({ extensionProviders: [{ name: 'ext', ...provider }] }),
  authorization('ask', 'CUSTOM', '[{to: [{operation: {paths: ["/asked"]}}]}]', { provider: 'ext' }),
];
const here = { service: 'asked.shop.svc.cluster.local', port: 80, timeout: '5s' };

void t.test('an authorizer of gRPC', async t => {
  const response = loadProtocol('ext-authz.proto').message<object>('culvert.authz.CheckResponse');
  const world = await meshed(t, askAbout({ envoyExtAuthzGrpc: here }));
  const broken = await serveGrpc(world, () => response.encode({ status: { code: 0 } }));
  await always(t, world, 200, async () => (await world.request('/asked')).status);
  t.equal(broken(), 1);
});

void t.test('an authorizer of HTTP', async t => {
  const world = await meshed(t, askAbout({ envoyExtAuthzHttp: here }));
  const broken = await serveHttp(world, (_request, answer) => answer.writeHead(200).end());
  await always(t, world, 200, async () => (await world.request('/asked')).status);
  t.equal(broken(), 1);
  world.stopServing('asked-2');
  t.equal((await world.request('/asked')).status, 403, 'nobody who could be asked has allowed it');
});

void t.test('one that counts for all', async t => {
  const response = loadProtocol('ratelimit.proto').message<object>('culvert.ratelimit.RateLimitResponse');
  const spec = {
    targetRefs: [{ kind: 'Service', name: 'web' }],
    global: {
      service: { name: 'asked', port: 80 },
      domain: 'shop',
      timeout: '5s',
      failureMode: 'Deny',
      descriptors: [{ entries: [{ key: 'identity', type: 'Identity' }] }],
    },
  };
  const metadata = { name: 'l', namespace: 'shop' };
  const world = await meshed(t, [
    JSON.stringify({ apiVersion: 'culvert.dev/v1', kind: 'RateLimit', metadata, spec }),
  ]);
  const broken = await serveGrpc(world, () => response.encode({ overallCode: 1 }));
  await always(t, world, 200, async () => (await world.request('/')).status);
  t.equal(broken(), 1);
});

void t.test('a server of keys', async t => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'a', alg: 'ES256' }] });
  const spec = {
    targetRefs: [{ kind: 'Service', name: 'web' }],
    jwtRules: [{ issuer: 'https://id.example', jwksUri: 'http://asked.shop/keys' }],
  };
  const metadata = { name: 'jwt', namespace: 'shop' };
  const world = await meshed(t, [
    JSON.stringify({ apiVersion: 'security.istio.io/v1', kind: 'RequestAuthentication', metadata, spec }),
  ]);
  const broken = await serveHttp(world, (_request, answer) => answer.end(jwks));
  const token = await new SignJWT({ iss: 'https://id.example', sub: 'ann' })
    .setProtectedHeader({ alg: 'ES256', kid: 'a' })
    .setExpirationTime('5m')
    .sign(privateKey);
  const status = async (): Promise<number> =>
    (await world.request('/', { headers: { authorization: `Bearer ${token}` } })).status;
  await eventually(async () => (await status()) === 200, { what: 'keys' });
  t.equal(broken(), 1);
  cameByTunnels(t, world);
  for (const pod of askedPods) world.stopServing(pod);
  t.equal(await status(), 200, 'they are kept');
});

void t.test('a collector of spans', async t => {
  const collectors = [{ name: 'main', service: 'asked.shop.svc.cluster.local', port: 80 }];
  const world = await meshed(t, [
    config({ tracing: { collectors, collector: 'main', samplingPercentage: 100 } }),
  ]);
  const broken = await serveHttp(world, (request, answer) => {
    request.resume().once('end', () => answer.end());
  });
  const exported = (count: number): Promise<unknown> =>
    eventually(
      async () => (await world.metric('culvert_waypoint_spans_total', '{result="exported"}')) === count,
      {
        what: `${count} spans`,
      },
    );
  await world.request('/');
  await exported(1);
  t.equal(broken(), 1);
  world.stopServing('asked-1');
  for (let n = 2; n < 5; n += 1) {
    await world.request('/');
    await exported(n);
  }
  cameByTunnels(t, world);
});
