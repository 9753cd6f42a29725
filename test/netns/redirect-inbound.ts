/**
 * Plain TCP from outside reaches the agent whatever its port, and the application sees the real client of what the agent
 * hands on to it, by accept() and by getpeername(), in every family that a listener can have.
 */
import t from 'tap';
import type { Told } from './redirect-agent.ts';
import { type Call, RedirectLab, type Seen } from './redirect-lab.ts';

const stage = await RedirectLab.create('inbound', ['server', 'client', 'other']);
t.teardown(() => stage[Symbol.asyncDispose]());
const server = stage.pod('server');
const client = stage.pod('client');

const mapped = (ip: string): string => `::ffff:${ip}`;
const json = (seen: Seen): unknown => JSON.parse(seen.received ?? 'null');
interface Served {
  readonly accept: [string, number];
  readonly getpeername: [string, number];
  readonly getsockname: [string, number];
}

t.test('any port is steered, and the dialled address is the local one', async t => {
  const agent = await stage.enrol(server);
  const calls: Call[] = [
    { to: [server.address, 80] },
    { to: [server.address6, 80], family: 6 },
    { to: [mapped(server.address), 65_535], family: 6 },
    { to: [server.address, 1] },
    { to: [server.address, 80], kind: 'mptcp' },
  ];
  let seen: Seen[] = [];
  const counted = await stage.counted(async () => {
    seen = await stage.calls(client, calls);
  });
  seen.forEach((one, index) => {
    const told = json(one) as Told;
    const [address, port] = calls[index]?.to ?? ['', 0];
    t.equal(told.port, 'plaintext');
    t.equal(told.origin, null, 'there is no other original destination');
    t.same([told.local, told.localPort], [address.replace('::ffff:', ''), port]);
    t.same([told.client, told.clientPort], [one.sockname?.[0].replace('::ffff:', ''), one.sockname?.[1]]);
    t.same(one.peername, calls[index]?.to);
  });
  t.equal(counted['lookup_steered'], calls.length);
  await agent.stop();
});

t.test('the application sees its real client', async t => {
  await stage.enrol(server, { plaintext: 'deliver' });
  const cases: {
    readonly name: string;
    readonly host: string;
    readonly family: '4' | '6' | '46';
    readonly protocol?: number;
    readonly call: Call;
    readonly client: string;
  }[] = [
    {
      name: 'IPv4 on IPv4',
      host: '0.0.0.0',
      family: '4',
      call: { to: [server.address, 8000] },
      client: client.address,
    },
    {
      name: 'IPv4 on the pod address only',
      host: server.address,
      family: '4',
      call: { to: [server.address, 8000] },
      client: client.address,
    },
    {
      name: 'IPv6 on IPv6',
      host: '::',
      family: '6',
      call: { to: [server.address6, 8000], family: 6 },
      client: client.address6,
    },
    {
      name: 'IPv4 on dual-stack',
      host: '::',
      family: '46',
      call: { to: [server.address, 8000] },
      client: mapped(client.address),
    },
    {
      name: 'IPv6 on dual-stack',
      host: '::',
      family: '46',
      call: { to: [server.address6, 8000], family: 6 },
      client: client.address6,
    },
    {
      name: 'IPv4 on an MPTCP listener',
      host: '0.0.0.0',
      family: '4',
      protocol: 262,
      call: { to: [server.address, 8000] },
      client: client.address,
    },
    {
      name: 'IPv6 on a dual-stack MPTCP listener',
      host: '::',
      family: '46',
      protocol: 262,
      call: { to: [server.address6, 8000], family: 6 },
      client: client.address6,
    },
  ];
  for (const { name, host, family, protocol, call, client: expected } of cases) {
    await using _application = await stage.serve(server, host, 8000, family, protocol ?? 0);
    let one: Seen = {};
    const counted = await stage.counted(async () => {
      one = await stage.call(client, call);
    });
    const served = json(one) as Served | null;
    t.same(served?.accept, [expected, one.sockname?.[1]], `${name}: accept`);
    t.same(served?.getpeername, [expected, one.sockname?.[1]], `${name}: getpeername`);
    t.same(
      served?.getsockname,
      [family === '46' && call.family !== 6 ? mapped(call.to[0]) : call.to[0], 8000],
      `${name}: getsockname`,
    );
    t.match(counted, { lookup_steered: 1, connect_agent: 1, peer_opened: 1, peer_accepted: 1 }, name);
  }
});

t.test('a port where nobody listens is refused at once', async t => {
  const agent = await stage.enrol(server, { plaintext: 'deliver' });
  for (const call of [
    { to: [server.address, 8001] },
    { to: [server.address6, 8001], family: 6 },
  ] satisfies Call[]) {
    const seen = await stage.call(client, { ...call, send: 'x' });
    // The reset may come before the client has asked who its peer is.
    t.match(seen.error, /^(ECONNRESET|ENOTCONN)$/, 'the agent was refused and says so');
  }
  await agent.stop();
});

t.test("the agent's own ports are closed to the outside", async t => {
  await stage.enrol(server);
  for (const port of [15_001, 15_006, 15_053]) {
    for (const call of [
      { to: [server.address, port] },
      { to: [server.address6, port], family: 6 },
    ] satisfies Call[]) {
      const counted = await stage.counted(async () => {
        t.equal((await stage.call(client, call)).error, 'ECONNREFUSED', `${call.to[0]} ${port}`);
      });
      t.same(counted, { lookup_own_port: 1 });
    }
  }
});

t.test('a connection from before enrolment lives on', async t => {
  const other = stage.pod('other');
  await using _server = await stage.serve(other, '::', 8000, '46');
  const early = client.spawn('python3', [
    '-c',
    [
      'import socket,sys',
      `s=socket.create_connection(("${other.address}",8000)); c=socket.socket(); c.connect(("${other.address}",8000))`,
      'print("connected",flush=True); sys.stdin.readline()',
      'print("received", len(c.recv(1000)) > 0, flush=True)',
    ].join('\n'),
  ]);
  await early.says(/connected/);
  await stage.enrol(other);
  await stage.enrol(client);
  early.stdin.write('\n');
  await early.says(/received True/);
  t.equal(
    (json(await stage.call(stage.pod('server'), { to: [other.address, 8000] })) as Told).port,
    'outbound',
    'a new one is captured',
  );
});
