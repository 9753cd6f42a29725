/**
 * Connections through a whole waypoint that follows TLSRoutes, TCPRoutes and rules of VirtualServices: real clients and
 * servers of TLS at both ends, and first messages in pieces.
 */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import { makeOddCertificate, makeRoot } from '../tunnel/pki.ts';
import { helloFor, message, nameOf, records } from './hello-help.ts';
import { World, type WorldOptions } from './world.ts';
import { authorization, destination, route } from './world-objects.ts';

const root = makeRoot();
const dnsName = 2;

/** A route of connections for the Service web. */
function bound(kind: string, hostnames: readonly string[], rules: string, name = 'r'): string {
  const names = hostnames.length === 0 ? '' : `  hostnames: ${JSON.stringify(hostnames)}\n`;
  return route(rules, kind, name).replace('  rules:\n', `${names}  rules:\n`);
}

function to(...pods: readonly string[]): string {
  return `- backendRefs: [${pods.map(pod => `{ name: ${pod}, port: 80 }`).join(', ')}]`;
}

function virtual(spec: object): string {
  const metadata = { name: 'v', namespace: 'shop' };
  const object = { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata };
  return `${JSON.stringify({ ...object, spec: { hosts: ['web'], ...spec } })}\n---\n`;
}

/** A world whose pods are servers of TLS that say who they are. */
async function tlsWorld(options: WorldOptions & { pods: readonly string[] }): Promise<World> {
  const world = await World.create(options);
  for (const pod of options.pods) {
    const { certificatePem: cert, privateKeyPem: key } = makeOddCertificate(root, {
      names: [[dnsName, `${pod}.test`]],
    });
    const context = tls.createSecureContext({ cert, key });
    await world.serve(pod, socket => {
      const secure = new tls.TLSSocket(socket, { isServer: true, secureContext: context });
      secure.on('error', () => {}).write(`this is ${pod}`);
    });
  }
  return world;
}

/** What the server that answers a name says, proven by its certificate; or how it ended. */
async function said(world: World, servername: string): Promise<string> {
  const socket = await world.connect();
  const secure = tls.connect({ socket, ca: root.pem, servername, checkServerIdentity: () => undefined });
  const text = await new Promise<string>(resolve => {
    secure.on('error', () => {}).once('close', () => resolve('closed'));
    secure.once('data', chunk => resolve(String(chunk)));
  });
  secure.destroy();
  return text;
}

/** Everything that comes until the other side ends, '' where it breaks off. */
async function rest(socket: Duplex): Promise<string> {
  let text = '';
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString('latin1');
  } catch {
    return `${text}reset`;
  }
  return text;
}

t.test('TLS goes by its name, end to end', async t => {
  await using world = await tlsWorld({
    pods: ['v1', 'v2', 'v3'],
    objects:
      bound('TLSRoute', ['a.example.org'], to('v1'), 'exact') +
      bound('TLSRoute', ['*.example.org'], to('v2'), 'wide'),
  });
  t.equal(await said(world, 'a.example.org'), 'this is v1');
  t.equal(await said(world, 'b.example.org'), 'this is v2');
  t.equal(await said(world, 'A.Example.org'), 'this is v1');
  const line = await world.line({ protocol: 'TLS', sni: 'a.example.org' });
  t.match(line, {
    route: 'TLSRoute shop/exact rule 1',
    'dst.service': 'web.shop.svc.cluster.local',
    'dst.backend': 'v1.shop.svc.cluster.local',
  });
  t.equal(await said(world, 'example.org'), 'closed', 'no route is for it');
  t.match(await world.line({ sni: 'example.org' }), {
    code: 'NO_ROUTE',
    side: 'client',
    error: /for the name example.org/,
  });
  const labels = '{route="TLSRoute shop/wide rule 1",name="*.example.org",result="carried"}';
  t.equal(await world.metric('culvert_waypoint_tcp_routes_total', labels), 1);
  const refused = '{route="none",name="",result="NO_ROUTE"}';
  t.equal(await world.metric('culvert_waypoint_tcp_routes_total', refused), 1);
});

t.test('a first message in pieces arrives as it was sent, and what is none is refused', async t => {
  await using world = await World.create({
    pods: ['v1', 'v2'],
    objects: bound('TLSRoute', ['a.example.org'], to('v1')),
    limits: { clientHelloMs: 200 },
  });
  const server = await world.serve('v1', socket => socket.end('hello'));
  const other = await world.serve('v2', socket => socket.end('hello'));
  const body = message([nameOf('a.example.org')]);
  const pieces: readonly [string, readonly Buffer[]][] = [
    ['byte by byte', [...records(body)].map(byte => Buffer.from([byte]))],
    ['records of three bytes', [records(body, 3)]],
    [
      'with what comes after it',
      [Buffer.concat([records(body), Buffer.from('\x14\x03\x03\0\x01\x01', 'latin1')])],
    ],
  ];
  let sent = '';
  for (const [what, parts] of pieces) {
    const socket = await world.connect();
    for (const part of parts) {
      socket.write(part);
      await new Promise(setImmediate);
    }
    sent += Buffer.concat(parts).toString('latin1');
    t.equal(await rest(socket), 'hello', what);
    t.equal(server.received(), sent, `${what}: untouched`);
  }
  const bad: readonly [string, Buffer, string][] = [
    ['no TLS', Buffer.from('SSH-2.0-x\r\n'), 'NO_ROUTE'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nhost: a.example.org\r\n\r\n'), 'NO_ROUTE'],
    ['no name', records(message([])), 'NO_ROUTE'],
    ['two names', records(message([nameOf('a.example.org'), nameOf('b')])), 'CLIENT_HELLO_INVALID'],
    ['too long', records(Buffer.from([1, 0, 0x80, 0])), 'CLIENT_HELLO_INVALID'],
    ['half of it', records(body).subarray(0, 50), 'CLIENT_HELLO_TIMEOUT'],
    ['silence', Buffer.alloc(0), 'CLIENT_HELLO_TIMEOUT'],
  ];
  for (const [what, bytes] of bad) {
    const socket = await world.connect();
    socket.write(bytes);
    t.equal(await rest(socket), 'reset', what);
  }
  const codes = (): unknown[] =>
    world.lines().flatMap(({ code }) => (/NO_ROUTE|CLIENT_HELLO/.test(String(code)) ? code : []));
  await eventually(() => codes().length === bad.length, { what: 'a line for each' });
  t.same(
    codes(),
    bad.map(([, , code]) => code),
  );
  t.equal(server.received(), sent, 'nothing of it reached anybody');
  t.equal(other.received(), '');
});

t.test('a TCPRoute: weights, and shares that are refused', async t => {
  await using world = await World.create({
    appProtocol: 'tcp',
    pods: ['v1', 'v2', 'v3'],
    objects: bound(
      'TCPRoute',
      [],
      `- backendRefs:
  - { name: v1, port: 80, weight: 1 }
  - { name: v2, port: 80, weight: 0 }
  - { name: gone, port: 80, weight: 1 }`,
    ),
  });
  for (const pod of ['v1', 'v2', 'v3']) await world.serve(pod, socket => socket.end(pod));
  const seen = new Map<string, number>();
  for (let n = 0; n < 60; n += 1) {
    const text = await world.raw('x').catch((error: unknown) => String(error));
    seen.set(text, (seen.get(text) ?? 0) + 1);
  }
  t.same([...seen.keys()].sort(), ['Error: status 503', 'v1'], 'and no other');
  t.ok((seen.get('v1') ?? 0) > 5 && (seen.get('Error: status 503') ?? 0) > 5);
  t.match(await world.line({ code: 'INVALID_BACKEND' }), { route: 'TCPRoute shop/r rule 1' });
  await world.routes(bound('TCPRoute', [], '- {}'));
  await t.rejects(world.connect(), /status 503/);
  await world.line({ code: 'NO_BACKEND' });
  await world.routes('');
  t.match(await world.raw('x'), /^v[123]$/, 'without a route the service itself');
});

t.test('of several kinds at one port the first of Gateway API is in force', async t => {
  const bytes = bound('TCPRoute', [], to('v2'), 'bytes');
  const names = bound('TLSRoute', ['a.example.org'], to('v1'), 'names');
  await using world = await tlsWorld({ pods: ['v1', 'v2'], objects: bytes + names });
  t.equal(await said(world, 'a.example.org'), 'this is v1');
  t.equal(await said(world, 'b'), 'closed');
  await world.routes(bytes);
  t.equal(await said(world, 'b'), 'this is v2');
  await world.routes(bytes + names + route(to('v1'), 'HTTPRoute', 'requests'));
  t.match(await said(world, 'b'), /this is v[12]/, 'no requests: the service itself');
  t.notOk((await world.line({ sni: 'b', 'dst.backend': undefined }))['route']);
});

t.test('a TCPRoute carries HTTP as it is', async t => {
  await using world = await World.create({ pods: ['v1', 'v2'], objects: bound('TCPRoute', [], to('v1')) });
  const text = 'GET  /twice  HTTP/1.1\r\n\r\n';
  const server = await world.serve('v1', socket => socket.end('done'));
  t.equal(await world.raw(text), 'done');
  t.equal(server.received(), text);
});

t.test('a server that speaks first behind a TCPRoute', async t => {
  const objects = bound('TCPRoute', [], to('v1'));
  await using world = await World.create({ pods: ['v1', 'v2'], objects, limits: { detectMs: 50 } });
  await world.serve('v1', socket => {
    socket.write('220 ready\r\n');
    socket.pipe(socket);
  });
  const socket = await world.connect();
  const [greeting] = (await once(socket, 'data')) as [Buffer];
  t.equal(greeting.toString(), '220 ready\r\n');
  socket.destroy();
});

t.test('consumers: routes of another namespace are for its clients', async t => {
  const objects = bound('TCPRoute', [], to('v1')).replace('namespace: shop', 'namespace: bank');
  const consumer = objects
    .replace('name: web', 'name: web, namespace: shop')
    .replace('name: v1,', 'name: v1, namespace: shop,');
  for (const [client, expected] of [
    ['bank', /^v1$/],
    ['shop', /^v2$/],
  ] as const) {
    await using world = await World.create({
      appProtocol: 'tcp',
      pods: ['v1', 'v2'],
      client,
      objects: consumer + bound('TCPRoute', [], to('v2')),
    });
    for (const pod of ['v1', 'v2']) await world.serve(pod, socket => socket.end(pod));
    for (let n = 0; n < 4; n += 1) t.match(await world.raw('x'), expected);
  }
});

t.test('a VirtualService: TLS by name, the rest by rules of tcp, and HTTP by those of http', async t => {
  const route = (host: string) => [{ destination: { host } }];
  await using world = await tlsWorld({
    pods: ['v1', 'v2'],
    objects: virtual({
      http: [{ directResponse: { status: 418 } }],
      tls: [{ match: [{ sniHosts: ['*.example.org'] }], route: route('v1') }],
      tcp: [{ match: [{ destinationSubnets: ['10.96.0.0/16'] }], route: route('v2') }],
    }),
    limits: { detectMs: 10 },
  });
  t.equal(await said(world, 'a.example.org'), 'this is v1');
  t.equal(await said(world, 'b.org'), 'closed', 'there are rules for TLS');
  t.equal((await world.request('/')).status, 418);
  const late = await world.connect();
  await new Promise(resolve => setTimeout(resolve, 100));
  const secure = tls.connect({ socket: late, servername: 'late.example.org', rejectUnauthorized: false });
  const [text] = (await once(secure, 'data')) as [Buffer];
  t.equal(text.toString(), 'this is v1', 'a client that thinks before it speaks is routed all the same');
  secure.destroy();
  const plain = await world.connect();
  plain.end('no TLS');
  await rest(plain);
  t.match(await world.line({ protocol: 'TCP' }), {
    route: 'VirtualService shop/v rule 2',
    'dst.backend': 'v2.shop.svc.cluster.local',
  });
});

t.test('subsets and limits of a DestinationRule', async t => {
  const rule = (name: string): string => `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: sets, namespace: shop }
spec:
  host: web
  subsets: [{ name: one, labels: { app: ${name} } }]
---
`;
  await using world = await World.create({
    appProtocol: 'tcp',
    pods: ['v1', 'v2'],
    objects: rule('v2') + virtual({ tcp: [{ route: [{ destination: { host: 'web', subset: 'one' } }] }] }),
  });
  for (const pod of ['v1', 'v2']) await world.serve(pod, socket => socket.write(pod));
  for (let n = 0; n < 4; n += 1) t.equal(await world.raw('x', { until: /v/ }), 'v2');
  const backend = destination('{ connectionPool: { tcp: { maxConnections: 1, idleTimeout: 1s } } }').replace(
    'host: web',
    'host: v1',
  );
  await world.routes(backend + bound('TCPRoute', [], to('v1')));
  const first = await world.connect();
  const ended = rest(first);
  await t.rejects(world.connect(), /status 503/);
  await world.line({ code: 'UPSTREAM_OVERFLOW' });
  t.equal(await ended, 'v1reset', 'after its idle time');
  await world.line({ code: 'STREAM_IDLE' });
});

t.test('policies know the name', async t => {
  const allow = authorization(
    'names',
    'ALLOW',
    '[{ when: [{ key: connection.sni, values: ["*.example.org"] }] }]',
  );
  await using world = await tlsWorld({ pods: ['v1'], objects: allow, limits: { detectMs: 10 } });
  t.equal(await said(world, 'a.example.org'), 'this is v1');
  t.equal(await said(world, 'b.org'), 'closed');
  t.match(await world.line({ sni: 'b.org' }), { code: 'POLICY_DENIED' });
  const late = await world.connect();
  await new Promise(resolve => setTimeout(resolve, 100));
  const secure = tls.connect({ socket: late, servername: 'late.example.org', rejectUnauthorized: false });
  const [text] = (await once(secure, 'data')) as [Buffer];
  t.equal(text.toString(), 'this is v1', 'also of one that thinks first');
  secure.destroy();
  await world.routes(
    authorization('names', 'DENY', '[{ when: [{ key: connection.sni, values: ["evil.org"] }] }]'),
  );
  t.equal(await said(world, 'good.org'), 'this is v1');
  t.equal(await said(world, 'evil.org'), 'closed');
  const socket = await world.connect();
  socket.write(records(message([nameOf('good.org'), nameOf('evil.org')])));
  t.equal(await rest(socket), 'reset', 'a name that can not be told');
});

t.test('a policy that changes ends what it denies now', async t => {
  await using world = await World.create({
    pods: ['v1'],
    objects: bound('TLSRoute', ['a.org', 'b.org'], to('v1')),
  });
  await world.serve('v1', socket => socket.write('hello'));
  const open = async (name: string): Promise<Duplex> => {
    const socket = await world.connect();
    socket.write(helloFor(name));
    await once(socket, 'data');
    return socket;
  };
  const [a, b] = [await open('a.org'), await open('b.org')];
  const ended = rest(a);
  await world.routes(
    bound('TLSRoute', ['a.org', 'b.org'], to('v1')) +
      authorization('no-a', 'DENY', '[{ when: [{ key: connection.sni, values: [a.org] }] }]'),
  );
  t.equal(await ended, 'reset');
  t.match(await world.line({ sni: 'a.org' }), { code: 'POLICY_CHANGED', route: /TLSRoute/ });
  t.notOk(b.destroyed);
  b.destroy();
});
