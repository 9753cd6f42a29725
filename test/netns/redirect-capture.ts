/**
 * Outbound TCP: every connection of an enrolled pod reaches the agent with its original destination, the application
 * notices nothing, and nobody else's connection is touched.
 */
import t from 'tap';
import type { Told } from './redirect-agent.ts';
import { type Call, RedirectLab, type Seen } from './redirect-lab.ts';

const stage = await RedirectLab.create('capture', ['a', 'plain', 'server']);
t.teardown(() => stage[Symbol.asyncDispose]());
const a = stage.pod('a');
const plain = stage.pod('plain');
await stage.enrol(a);

const told = (seen: Seen): Told => JSON.parse(seen.received ?? 'null') as Told;
const mapped = (ip: string): string => `::ffff:${ip}`;

t.test('the original destination arrives exactly, and the client sees only that', async t => {
  const cases: {
    readonly name: string;
    readonly call: Call;
    readonly destination: string;
    readonly source: string;
  }[] = [
    {
      name: 'IPv4',
      call: { to: ['192.0.2.77', 4321], send: 'x' },
      destination: '192.0.2.77',
      source: a.address,
    },
    {
      name: 'IPv6',
      call: { to: ['2001:db8::77', 4321], family: 6, send: 'x' },
      destination: '2001:db8::77',
      source: a.address6,
    },
    {
      name: 'IPv4 through a dual-stack socket',
      call: { to: [mapped('192.0.2.77'), 4321], family: 6, send: 'x' },
      destination: '192.0.2.77',
      source: a.address,
    },
    {
      name: 'non-blocking',
      call: { to: ['192.0.2.78', 80], nonblocking: true, send: 'x' },
      destination: '192.0.2.78',
      source: a.address,
    },
    {
      name: 'non-blocking IPv6',
      call: { to: ['2001:db8::78', 80], family: 6, nonblocking: true, send: 'x' },
      destination: '2001:db8::78',
      source: a.address6,
    },
    {
      name: 'bound source port',
      call: { to: ['192.0.2.79', 80], bind: ['0.0.0.0', 40_123], send: 'x' },
      destination: '192.0.2.79',
      source: a.address,
    },
    {
      name: 'bound source address',
      call: { to: ['192.0.2.80', 80], bind: [a.address, 0], send: 'x' },
      destination: '192.0.2.80',
      source: a.address,
    },
    {
      name: 'bound source address and port, IPv6',
      call: { to: ['2001:db8::80', 80], family: 6, bind: [a.address6, 40_124], send: 'x' },
      destination: '2001:db8::80',
      source: a.address6,
    },
    {
      name: 'bound to an interface',
      call: { to: ['192.0.2.81', 80], device: 'eth0', send: 'x' },
      destination: '192.0.2.81',
      source: a.address,
    },
    {
      name: 'bound to an interface, IPv6',
      call: { to: ['2001:db8::81', 80], family: 6, device: 'eth0', send: 'x' },
      destination: '2001:db8::81',
      source: a.address6,
    },
    {
      name: 'another pod',
      call: { to: [plain.address, 22], send: 'x' },
      destination: plain.address,
      source: a.address,
    },
    {
      name: 'IPv4 link-local, where clouds have their metadata',
      call: { to: ['169.254.169.254', 80], send: 'x' },
      destination: '169.254.169.254',
      source: a.address,
    },
    {
      name: 'the highest port',
      call: { to: ['192.0.2.82', 65_535], send: 'x' },
      destination: '192.0.2.82',
      source: a.address,
    },
  ];
  let seen: Seen[] = [];
  const counted = await stage.counted(async () => {
    seen = await stage.calls(
      a,
      cases.map(({ call }) => call),
    );
  });
  cases.forEach(({ name, call, destination, source }, index) => {
    const one = seen[index] ?? {};
    t.equal(one.error, undefined, `${name}: connects`);
    t.same(one.peername, call.to, `${name}: getpeername hides the way`);
    const family = call.to[0].startsWith('::ffff:') ? mapped(source) : source;
    t.equal(one.sockname?.[0], family, `${name}: getsockname is the pod's own address`);
    if (call.bind !== undefined && call.bind[1] !== 0)
      t.equal(one.sockname?.[1], call.bind[1], `${name}: bound port kept`);
    const { origin, client, clientPort, port, got } = told(one);
    t.same(origin, { address: destination, port: call.to[1] }, `${name}: original destination`);
    t.same(
      { client, clientPort, port, got },
      { client: source, clientPort: one.sockname?.[1], port: 'outbound', got: 'x' },
      name,
    );
  });
  t.same(counted, {
    connect_captured: cases.length,
    flow_opened: cases.length,
    flow_accepted: cases.length,
    lookup_local: cases.length,
  });
});

t.test('a socket that is disconnected and connected again has its new destination only', async t => {
  const seen = await stage.call(a, { to: ['192.0.2.1', 80], again: ['192.0.2.2', 81] });
  t.same(told(seen).origin, { address: '192.0.2.2', port: 81 });
  t.same(seen.peername, ['192.0.2.2', 81]);
  await using _server = await stage.serve(a, '127.0.0.1', 7000, '4');
  let local: Seen = {};
  const counted = await stage.counted(async () => {
    local = await stage.call(a, { to: ['192.0.2.1', 80], again: ['127.0.0.1', 7000] });
  });
  t.same(local.peername, ['127.0.0.1', 7000], 'no old name on a connection that was not captured');
  t.match(counted, { connect_captured: 1, connect_local: 1, flow_opened: 1 }, 'nor is it carried');
});

t.test('loopback and the pod itself are left alone', async t => {
  await using _server = await stage.serve(a, '::', 7000, '46');
  const targets: Call[] = [
    { to: ['127.0.0.1', 7000] },
    { to: ['127.9.9.9', 7000] },
    { to: ['0.0.0.0', 7000] },
    { to: [a.address, 7000] },
    { to: ['::1', 7000], family: 6 },
    { to: [a.address6, 7000], family: 6 },
    { to: [mapped(a.address), 7000], family: 6 },
    { to: [mapped('127.0.0.1'), 7000], family: 6 },
  ];
  let seen: Seen[] = [];
  const counted = await stage.counted(async () => {
    seen = await stage.calls(a, targets);
  });
  seen.forEach((one, index) => {
    const { getpeername } = JSON.parse(one.received ?? '{}') as { getpeername: [string, number] };
    t.equal(
      getpeername?.[1],
      one.sockname?.[1],
      `${targets[index]?.to[0]} is served by the application itself`,
    );
  });
  t.equal(counted['connect_local'], targets.length);
  t.equal(counted['connect_captured'], undefined);
});

t.test('a pod that is not enrolled connects as ever', async t => {
  await using _server = await stage.serve(stage.pod('server'), '::', 7000, '46');
  let seen: Seen[] = [];
  const counted = await stage.counted(async () => {
    seen = await stage.calls(plain, [
      { to: [stage.pod('server').address, 7000] },
      { to: [stage.pod('server').address6, 7000], family: 6 },
      { to: [mapped(stage.pod('server').address), 7000], family: 6 },
    ]);
  });
  const clients = seen.map(
    one => (JSON.parse(one.received ?? '{}') as { accept?: [string, number] }).accept?.[0],
  );
  t.same(clients, [mapped(plain.address), plain.address6, mapped(plain.address)], 'served directly');
  t.same(counted, {}, 'no counter moves');
});

t.test('what the agent could not dial stays what it is', async t => {
  let seen: Seen[] = [];
  const counted = await stage.counted(async () => {
    seen = await stage.calls(a, [
      { to: ['224.0.0.1', 80] },
      { to: ['255.255.255.255', 80] },
      { to: ['ff02::1', 80], family: 6 },
    ]);
  });
  for (const one of seen) t.equal(one.error, 'ENETUNREACH');
  t.same(counted, { connect_link_local: 3 });
});

t.test('UDP is left alone', async t => {
  const counted = await stage.counted(async () => {
    const seen = await stage.calls(a, [
      { to: ['192.0.2.1', 5353], kind: 'udp', connected: true, send: 'x', timeout: 0.1 },
      { to: ['192.0.2.1', 53], kind: 'udp', send: 'x', timeout: 0.1 },
      { to: ['192.0.2.1', 443], kind: 'udp', send: 'x', timeout: 0.1 },
    ]);
    t.same(seen[0]?.peername, ['192.0.2.1', 5353]);
    for (const one of seen) t.equal(one.received, undefined);
  });
  t.same(counted, {}, 'DNS is not captured for this pod either');
});

t.test('one source address and port can reach several destinations at a time', async t => {
  const bind: [string, number] = [a.address, 40_200];
  const seen = await stage.calls(a, [
    { to: ['192.0.2.1', 80], bind, hold: true },
    { to: ['192.0.2.2', 80], bind, hold: true },
    { to: ['192.0.2.3', 80], bind },
  ]);
  t.same(told(seen[2] ?? {}).origin, { address: '192.0.2.3', port: 80 });
  t.equal(told(seen[2] ?? {}).clientPort, 40_200);
});
