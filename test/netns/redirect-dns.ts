/**
 * DNS: queries over UDP and TCP reach the agent, which can tell whom they were meant for; the answer comes from the server
 * that was asked, as far as the application can see; and without an agent nothing stands in the way.
 */
import t from 'tap';
import { abi, encodeAddress, encodeDnsClient } from '../../agent/redirect-abi.ts';
import * as native from '../../native/native.ts';
import type { Told } from './redirect-agent.ts';
import { type Call, RedirectLab, type Seen } from './redirect-lab.ts';

const stage = await RedirectLab.create('dns', ['a', 'b', 'resolver']);
t.teardown(() => stage[Symbol.asyncDispose]());
const a = stage.pod('a');
const resolver = stage.pod('resolver');
const agent = await stage.enrol(a, { dnsCapture: true });
const mapped = (ip: string): string => `::ffff:${ip}`;

interface Query {
  readonly servers: readonly { readonly address: string; readonly port: number }[];
  readonly client: string;
  readonly clientPort: number;
  readonly got: string;
}
const query = (seen: Seen): Query => JSON.parse(seen.received ?? 'null') as Query;
const servers = (seen: Seen): string[] => query(seen).servers.map(({ address }) => address);

t.test('UDP: the agent knows the server, the application sees it as the source', async t => {
  const cases: { readonly name: string; readonly call: Call }[] = (
    [
      ['IPv4', { to: ['192.0.2.53', 53] }],
      ['IPv6', { to: ['2001:db8::53', 53], family: 6 }],
      ['IPv4 through a dual-stack socket', { to: [mapped('192.0.2.54'), 53], family: 6 }],
      ['bound port', { to: ['192.0.2.55', 53], bind: ['0.0.0.0', 40_053] }],
      ['bound address', { to: ['192.0.2.56', 53], bind: [a.address, 0] }],
    ] as [string, Call][]
  ).flatMap(([name, call]) => [
    { name, call: { ...call, kind: 'udp', send: name } },
    { name: `${name}, connected`, call: { ...call, kind: 'udp', send: name, connected: true } },
  ]);
  let seen: Seen[] = [];
  const counted = await stage.counted(async () => {
    seen = await stage.calls(
      a,
      cases.map(({ call }) => call),
    );
  });
  cases.forEach(({ name, call }, index) => {
    const one = seen[index] ?? {};
    t.equal(one.error, undefined, name);
    t.same(one.source, call.to, `${name}: source of the answer`);
    if (call.connected === true) t.same(one.peername, call.to, `${name}: getpeername`);
    t.same(
      query(one).servers[0],
      { address: call.to[0].replace('::ffff:', ''), port: 53 },
      `${name}: server`,
    );
    t.equal(query(one).got, call.send);
    t.equal(query(one).clientPort, one.sockname?.[1]);
    if (call.bind !== undefined && call.bind[1] !== 0)
      t.equal(one.sockname?.[1], call.bind[1], `${name}: port kept`);
  });
  t.same(counted, { dns_captured_udp: cases.length });
});

t.test('connected sockets that ask different servers at one time are told apart', async t => {
  const seen = await stage.calls(
    a,
    Array.from({ length: 50 }, (_, n) => ({
      to: [`198.51.100.${n}`, 53] as [string, number],
      kind: 'udp' as const,
      connected: true,
      send: String(n),
    })),
  );
  seen.forEach((one, n) => t.same(servers(one), [`198.51.100.${n}`]));
});

t.test('one socket that asks several servers: all of them, the last one first', async t => {
  const seen = await stage.call(a, {
    to: ['192.0.2.1', 53],
    also: [
      ['192.0.2.2', 53],
      ['192.0.2.3', 53],
      ['192.0.2.1', 53],
      ['192.0.2.4', 53],
      ['192.0.2.5', 53],
    ],
    kind: 'udp',
    send: 'x',
  });
  t.same(servers(seen), ['192.0.2.5', '192.0.2.4', '192.0.2.1', '192.0.2.3']);
  t.match(seen.source?.[0], /^192\.0\.2\.\d$/, 'one of those that were asked');
});

t.test('a socket whose port was not known: the server that such a socket asked last', async t => {
  t.equal(stage.redirect.dnsServer(agent.cookie, 9, 4), null);
  const map = native.openPinned(`${stage.bpffs}/culvert/node%2Etest/v${abi}/maps/dns_servers`) ?? -1;
  const server = Buffer.concat([encodeAddress('192.0.2.7'), Buffer.from([0, 53, 0, 0]), Buffer.alloc(60)]);
  native.mapUpdate(map, encodeDnsClient(agent.cookie, 0, 4), server, 'any');
  native.close(map);
  t.same(stage.redirect.dnsServer(agent.cookie, 9, 4), { address: '192.0.2.7', port: 53 });
  t.equal(stage.redirect.dnsServer(agent.cookie, 9, 6), null, 'of that family');
});

t.test('a new socket on the port of an old one has asked only what it asked itself', async t => {
  const bind: [string, number] = ['0.0.0.0', 40_060];
  const seen = await stage.calls(a, [
    { to: ['192.0.2.61', 53], kind: 'udp', send: 'x', bind },
    { to: ['192.0.2.62', 53], kind: 'udp', send: 'x', bind },
    { to: ['192.0.2.63', 53], kind: 'udp', send: 'x', bind, connected: true },
  ]);
  t.same(seen.map(servers), [['192.0.2.61'], ['192.0.2.62'], ['192.0.2.63']]);
});

t.test('TCP to port 53 arrives at the DNS port with its original destination', async t => {
  for (const call of [
    { to: ['192.0.2.53', 53], send: 'q' },
    { to: ['2001:db8::53', 53], family: 6, send: 'q' },
  ] satisfies Call[]) {
    const seen = await stage.call(a, call);
    const told = JSON.parse(seen.received ?? '{}') as Told;
    t.equal(told.port, 'dns');
    t.same(told.origin, { address: call.to[0], port: 53 });
    t.same(seen.peername, call.to);
  }
});

t.test('a server in the pod itself is asked directly', async t => {
  const own = a.spawn('python3', ['-c', echoServer('::', 53)]);
  await own.says(/ready/);
  const counted = await stage.counted(async () => {
    for (const to of ['127.0.0.1', a.address] as const) {
      const seen = await stage.call(a, { to: [to, 53], kind: 'udp', send: 'x' });
      t.equal(seen.received, 'echo x');
      t.same(seen.source, [to, 53]);
    }
  });
  t.same(counted, {});
  await own.stop();
});

t.test('without an agent every query goes where it was going, also in a fail-closed pod', async t => {
  const upstream = resolver.spawn('python3', ['-c', echoServer('::', 53)]);
  await upstream.says(/ready/);
  await using _tcp = await stage.serve(resolver, '::', 53, '46');
  const calls: Call[] = [
    { to: [resolver.address, 53], kind: 'udp', send: 'x' },
    { to: [resolver.address, 53], kind: 'udp', send: 'x', connected: true },
    { to: [resolver.address6, 53], family: 6, kind: 'udp', send: 'x' },
    { to: [resolver.address6, 53], family: 6, kind: 'udp', send: 'x', connected: true },
  ];
  const check = async (): Promise<void> => {
    const counted = await stage.counted(async () => {
      for (const one of await stage.calls(a, calls)) t.equal(one.received, 'echo x');
      t.match((await stage.call(a, { to: [resolver.address, 53] })).received, /getpeername/);
    });
    t.same(counted, { dns_passed: calls.length + 1 });
  };
  await agent.stop();
  await check();
  const closed = await stage.enrol(a, { dnsCapture: true, failMode: 'closed' });
  t.same(servers(await stage.call(a, { to: ['192.0.2.9', 53], kind: 'udp', send: 'x' })), ['192.0.2.9']);
  await closed.stop();
  await check();
});

function echoServer(host: string, port: number): string {
  return [
    'import socket',
    's=socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)',
    's.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)',
    `s.bind(("${host}", ${port}))`,
    'print("ready", flush=True)',
    'while True:',
    '  d, a = s.recvfrom(999)',
    '  s.sendto(b"echo " + d, a)',
  ].join('\n');
}
