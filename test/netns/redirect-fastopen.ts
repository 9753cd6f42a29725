/**
 * Sockets that set out differently: TCP Fast Open in both forms, with and without a server that takes it, and Multipath
 * TCP. Each is captured like any other, or refused where the pod is fail-closed; none slips past.
 */
import t from 'tap';
import type { Told } from './redirect-agent.ts';
import { RedirectLab, type Call, type Seen } from './redirect-lab.ts';

const stage = await RedirectLab.create('fastopen', ['a', 'b']);
t.teardown(() => stage[Symbol.asyncDispose]());
const a = stage.pod('a');
const b = stage.pod('b');
const agent = await stage.enrol(a);
const told = (seen: Seen): Told | null => JSON.parse(seen.received ?? 'null') as Told | null;

/** 1: clients may; 2: servers take it; 4: client without a cookie; 0x200, 0x400: servers without cookie and option. */
for (const mode of [0, 1, 7, 0x607]) {
  t.test(`TCP Fast Open, net.ipv4.tcp_fastopen=${mode}`, async t => {
    await a.run('sh', ['-c', `echo ${mode} > /proc/sys/net/ipv4/tcp_fastopen`]);
    const calls: Call[] = (['connect', 'sendto'] as const).flatMap(fastopen => [
      { to: ['192.0.2.1', 80], fastopen, send: 'early' },
      { to: ['192.0.2.1', 80], fastopen, send: 'again' },
      { to: ['2001:db8::1', 80], family: 6, fastopen, send: 'early' },
    ]);
    let seen: Seen[] = [];
    const counted = await stage.counted(async () => {
      seen = await stage.calls(a, calls);
    });
    seen.forEach((one, index) => {
      const call = calls[index];
      if ((mode & 1) === 0) {
        t.equal(one.error, 'ENOTSUP', 'as without a mesh');
        return;
      }
      t.same(told(one)?.origin, { address: call?.to[0], port: 80 }, `${call?.fastopen} to ${call?.to[0]}`);
      t.equal(told(one)?.got, call?.send, 'with what was sent early, once');
      t.same(one.peername, call?.to);
    });
    t.equal(counted['flow_accepted'] ?? 0, seen.filter(one => one.error === undefined).length);
    t.equal(counted['flow_lost'], undefined);
  });
}

t.test('Multipath TCP', async t => {
  const calls: Call[] = [
    { to: ['192.0.2.1', 80], kind: 'mptcp', send: 'x' },
    { to: ['2001:db8::1', 80], family: 6, kind: 'mptcp', send: 'x' },
    { to: ['::ffff:192.0.2.1', 80], family: 6, kind: 'mptcp', send: 'x' },
    { to: ['192.0.2.2', 80], kind: 'mptcp', nonblocking: true, send: 'x' },
  ];
  const seen = await stage.calls(a, calls);
  seen.forEach((one, index) => {
    const address = calls[index]?.to[0].replace('::ffff:', '');
    t.same(told(one)?.origin, { address, port: 80 }, `captured: ${address}`);
    t.same(one.peername, calls[index]?.to, 'getpeername');
  });
});

t.test('without an agent, all of them are refused in a fail-closed pod', async t => {
  await agent.stop();
  await a.run('sh', ['-c', 'echo 7 > /proc/sys/net/ipv4/tcp_fastopen']);
  await using _server = await stage.serve(b, '::', 8000, '46');
  await (await stage.enrol(a, { failMode: 'closed' })).stop();
  const seen = await stage.calls(a, [
    { to: [b.address, 8000], fastopen: 'connect', send: 'x' },
    { to: [b.address, 8000], fastopen: 'sendto', send: 'x' },
    { to: [b.address6, 8000], family: 6, fastopen: 'sendto', send: 'x' },
    { to: [b.address, 8000], kind: 'mptcp' },
    { to: [b.address6, 8000], family: 6, kind: 'mptcp' },
    { to: [b.address, 8000], nonblocking: true },
    { to: [b.address, 8000], device: 'eth0' },
  ]);
  for (const one of seen) t.equal(one.error, 'ECONNREFUSED');
});
