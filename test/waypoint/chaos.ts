/**
 * Clients and endpoints that do whatever comes to their mind, in HTTP/1.1 and HTTP/2: broken, half, too early, twice, and with
 * fields in places where nobody expects them. Whatever it is, no mistake of the waypoint comes of it, nothing stays counted as
 * under way, and afterwards it serves as before.
 */
import type { Duplex } from 'node:stream';
import t from 'tap';
import { eventually } from '../lab/eventually.ts';
import {
  ACK,
  block,
  clientPreface,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  PING,
  RST_STREAM,
  SETTINGS,
  settings,
  u32,
  WINDOW_UPDATE,
} from '../tunnel/h2/raw-frames.ts';
import { okay, World } from './world.ts';
import { authorization, destination, route } from './world-objects.ts';

/** Numbers in [0, 1), the same in every run (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const random = numbers(5);
const chance = (share: number): boolean => random() < share;
function pick<T>(all: readonly T[]): T {
  return all[Math.floor(random() * all.length)] as T;
}
const pause = (): Promise<unknown> => new Promise(resolve => setTimeout(resolve, random() * 20));

/** Fields that have a meaning somewhere. */
const odd: readonly (readonly [string, string])[] = [
  ['trailer', 'x-t'],
  ['expect', '100-continue'],
  ['te', 'trailers'],
  ['content-type', 'application/grpc'],
  ['content-type', 'text/plain'],
  ['user-agent', 'a'],
  ['user-agent', 'b'],
  ['date', 'now'],
  ['x-content-type-options', 'nosniff'],
  ['x-content-type-options', 'nosniff'],
  ['constructor', 'x'],
  ['__proto__', 'y'],
  ['set-cookie', 'a=b'],
  ['cookie', 'tie=c'],
  ['grpc-status', 'x'],
  ['x-a', '\x80\xff\t'],
  ['connection', 'x-a, content-length, close'],
  ['keep-alive', '5'],
  ['upgrade', 'websocket'],
  ['content-length', '0'],
  ['http2-settings', 'AAMAAABkAAQAoAAAAAIAAAAA'],
];
const some = (): (readonly [string, string])[] =>
  Array.from({ length: Math.floor(random() * 4) }, () => pick(odd));
const lines = (fields: readonly (readonly [string, string])[]): string =>
  fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');

const paths = [
  '/',
  '/denied',
  '/timeout',
  '/retry',
  '/fault',
  '/limited',
  '/mirror',
  '/nowhere',
  '/a/../b?c=d',
];
const bodies = [
  '\r\n',
  'content-length: 4\r\n\r\nbody',
  'content-length: 9000\r\n\r\nhalf',
  'transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n',
  'transfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n4\r\nbody\r\n0\r\nx-t: 1\r\n\r\n',
  'transfer-encoding: chunked\r\n\r\n4\r\nbo',
  'connection: upgrade\r\nupgrade: websocket\r\n\r\nearly',
  'expect: 100-continue\r\ncontent-length: 4\r\n\r\nbody',
  'content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n',
  ' folded\r\n\r\n',
];

function request1(): Buffer {
  const method = pick(['GET', 'GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'CONNECT', 'PATCH']);
  const target = method === 'CONNECT' ? 'web:80' : pick(paths);
  const version = pick(['1.1', '1.1', '1.1', '1.0']);
  const text = `${method} ${target} HTTP/${version}\r\nhost: web\r\n${lines(some())}${pick(bodies)}`;
  return Buffer.from(chance(0.1) ? text.slice(0, Math.floor(random() * text.length)) : text, 'latin1');
}

function response1(): Buffer {
  const head = `HTTP/1.1 ${pick([200, 200, 200, 204, 304, 404, 503, 426, 101, 103, 100, 600, '099', 999])} x\r\n`;
  const body = pick([
    'content-length: 2\r\n\r\nok',
    'content-length: 0\r\n\r\n',
    'content-length: 50000\r\n\r\npart',
    'transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    'transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\nhost: a\r\n\r\n',
    'transfer-encoding: chunked\r\n\r\n2\r\no',
    '\r\nuntil the end',
    '\r\n',
  ]);
  return Buffer.from(chance(0.05) ? 'nonsense' : head + lines(some()) + body, 'latin1');
}

const lower = (fields: readonly (readonly [string, string])[]): (readonly [string, string])[] =>
  fields.filter(
    ([name]) => chance(0.1) || !/^(connection|keep-alive|upgrade|content-length|http2-)/.test(name),
  );

function request2(id: number): Buffer {
  const method = pick(['GET', 'POST', 'POST', 'HEAD', 'CONNECT', 'get']);
  const scheme = pick(['http', 'http', 'https', 'ftp']);
  const head = block(
    [':method', method],
    [':scheme', scheme],
    [':path', pick(paths)],
    [':authority', 'web'],
    ...lower(some()),
  );
  const open = frame(HEADERS, END_HEADERS, id, head);
  return pick([
    frame(HEADERS, END_HEADERS | END_STREAM, id, head),
    Buffer.concat([open, frame(DATA, END_STREAM, id, 'body')]),
    Buffer.concat([open, frame(DATA, 0, id, 'x'.repeat(3_000))]),
    Buffer.concat([open, frame(HEADERS, END_HEADERS | END_STREAM, id, block(['x-t', '1'], pick(odd)))]),
    Buffer.concat([open, frame(RST_STREAM, 0, id, u32(pick([0, 2, 8])))]),
  ]);
}

function response2(id: number): Buffer {
  const status = pick(['200', '200', '204', '304', '503', '099', '101', '103', '600', '999', 'x']);
  const head = block([':status', status], ...lower(some()));
  return pick([
    frame(HEADERS, END_HEADERS | END_STREAM, id, head),
    Buffer.concat([
      frame(HEADERS, END_HEADERS, id, head),
      frame(DATA, 0, id, 'data'),
      frame(HEADERS, END_HEADERS | END_STREAM, id, block(['grpc-status', pick(['0', '14', 'x'])], pick(odd))),
    ]),
    Buffer.concat([frame(HEADERS, END_HEADERS, id, head), frame(RST_STREAM, 0, id, u32(pick([0, 2, 8])))]),
    frame(RST_STREAM, 0, id, u32(pick([0, 1, 2, 7, 8, 11]))),
    frame(DATA, END_STREAM, id, 'before its head'),
    frame(GOAWAY, 0, 0, u32(pick([0, id]), pick([0, 2]))),
    settings([3, pick([0, 1, 100])], [4, pick([0, 10, 70_000])]),
    Buffer.alloc(0),
  ]);
}

const between = (id: number): Buffer =>
  pick([
    frame(PING, 0, 0, Buffer.alloc(8)),
    frame(WINDOW_UPDATE, 0, id, u32(pick([0, 1, 2 ** 31 - 1]))),
    frame(RST_STREAM, 0, id, u32(8)),
    settings([4, pick([0, 100])]),
    frame(GOAWAY, 0, 0, u32(0, 0)),
    Buffer.from('nonsense!'),
  ]);

/** Endpoints that answer in the version that they are spoken to, when and how they like. */
function serveWhatever(world: World, pod: string): Promise<unknown> {
  return world.serve(pod, socket => {
    const say = (bytes: Buffer): void => {
      if (socket.destroyed || socket.writableEnded) return;
      socket.write(bytes);
      if (chance(0.1)) socket.end();
      else if (chance(0.05)) socket.resetAndDestroy();
    };
    const soon = (make: () => Buffer): void => {
      if (chance(0.5)) say(make());
      else setTimeout(() => say(make()), random() * 30);
    };
    let is2 = false;
    socket.on('data', (chunk: Buffer) => {
      if (chunk.toString('latin1', 0, 3) === 'PRI') {
        is2 = true;
        socket.write(Buffer.concat([settings(), frame(SETTINGS, ACK, 0)]));
      }
      if (!is2) soon(response1);
      else for (const id of [1, 3, 5, 7]) if (chance(0.5)) soon(() => response2(id));
    });
  });
}

async function client(world: World): Promise<void> {
  const socket: Duplex = await world.connect();
  if (chance(0.8)) socket.resume();
  const is2 = chance(0.5);
  if (is2) socket.write(Buffer.concat([clientPreface, settings()]));
  const total = 1 + Math.floor(random() * 6);
  for (let n = 0; n < total && !socket.destroyed && !socket.writableEnded; n += 1) {
    const id = 2 * n + 1;
    socket.write(is2 ? request2(id) : request1());
    if (is2 && chance(0.3)) socket.write(between(id));
    if (chance(0.4)) await pause();
  }
  if (chance(0.3)) socket.end();
  await pause();
  socket.destroy();
}

const extension = (kind: string, name: string): string =>
  `filters: [{ type: ExtensionRef, extensionRef: { group: culvert.dev, kind: ${kind}, name: ${name} } }]`;
const web = 'backendRefs: [{ name: web, port: 80 }]';
const objects = `${authorization('a', 'DENY', '[{to: [{operation: {paths: ["/denied*"]}}]}]')}
apiVersion: culvert.dev/v1
kind: FaultInjection
metadata: { name: f, namespace: shop }
spec: { delay: { duration: 5ms }, abort: { httpStatus: 418, percentage: 50 } }
---
apiVersion: culvert.dev/v1
kind: RateLimit
metadata: { name: l, namespace: shop }
spec: { local: [{ requests: 1, per: 1h }] }
---
${destination('{ connectionPool: { tcp: { maxConnections: 5 }, http: { http1MaxPendingRequests: 3, maxRequestsPerConnection: 3 } }, outlierDetection: { consecutive5xxErrors: 3, baseEjectionTime: 100ms } }')}
${route(`
- { matches: [{ path: { value: /timeout } }], timeouts: { request: 60ms, backendRequest: 30ms }, retry: { attempts: 2, codes: [503] }, ${web} }
- { matches: [{ path: { value: /retry } }], timeouts: { backendRequest: 40ms }, retry: { attempts: 2, codes: [503, 404], backoff: 5ms }, ${web} }
- { matches: [{ path: { value: /fault } }], ${extension('FaultInjection', 'f')}, ${web} }
- { matches: [{ path: { value: /limited } }], ${extension('RateLimit', 'l')}, ${web} }
- { matches: [{ path: { value: /mirror } }], sessionPersistence: { sessionName: tie }, filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: two, port: 80 } } }], ${web} }
- { matches: [{ path: { value: /nowhere } }], backendRefs: [{ name: nobody, port: 80 }] }
- { ${web} }
`)}`;

for (const appProtocol of ['http', 'kubernetes.io/h2c'])
  t.test(`to endpoints of ${appProtocol}`, async t => {
    await using world = await World.create({
      pods: ['web', 'two'],
      appProtocol,
      objects,
      limits: { streamsPerConnection: 4, requestHeadMs: 400, streamIdleMs: 500, replayBytes: 1_000 },
    });
    const findings = world.waypoint.source?.findings() ?? [];
    t.same(
      findings.filter(({ severity }) => severity === 'error'),
      [],
    );
    for (const pod of ['web', 'two']) await serveWhatever(world, pod);
    for (let round = 0; round < 30; round += 1)
      await Promise.all(Array.from({ length: 16 }, () => client(world).catch(() => {})));
    const states = () => [...world.waypoint.context.upstreams.all()].map(upstream => upstream.state());
    await eventually(
      () =>
        states().every(
          ({ requests, retries, pending, endpoints }) =>
            requests + retries + pending + endpoints.reduce((sum, { active }) => sum + active, 0) === 0,
        ),
      { what: `the end of all requests: ${JSON.stringify(states())}` },
    );
    t.equal(await world.metric('culvert_waypoint_refused_total', '{code="WAYPOINT_INTERNAL_ERROR"}'), 0);
    t.ok(world.lines().length > 100, `${world.lines().length} requests were as far as an access line`);
    if (appProtocol !== 'http') return;
    world.stopServing();
    for (const pod of ['web', 'two']) await world.serve(pod, okay);
    await eventually(async () => (await world.request('/')).status === 200, { what: 'a request as usual' });
  });
