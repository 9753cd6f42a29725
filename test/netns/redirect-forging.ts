/**
 * What a process inside a pod may try: nothing that it does may pass for a captured connection, for the agent, or for
 * somebody else's address.
 */
import t from 'tap';
import type { Told } from './redirect-agent.ts';
import { type Call, RedirectLab } from './redirect-lab.ts';

const stage = await RedirectLab.create('forging', ['a']);
t.teardown(() => stage[Symbol.asyncDispose]());
const a = stage.pod('a');
const first = await stage.enrol(a);

t.test('a direct connection to the outbound or DNS port has no original destination', async t => {
  const addresses = [a.address, '127.0.0.1', '127.67.86.5', `::ffff:${a.address}`, '::1', a.address6];
  const calls: Call[] = addresses.flatMap(address =>
    [15_001, 15_053].map(port => ({
      to: [address, port] as [string, number],
      family: address.includes(':') ? (6 as const) : (4 as const),
    })),
  );
  const counted = await stage.counted(async () => {
    for (const one of await stage.calls(a, calls))
      t.equal((JSON.parse(one.received ?? '{}') as Told).origin, null);
  });
  t.same(counted, { connect_local: calls.length, flow_unknown: calls.length, lookup_local: calls.length });
});

t.test('a direct connection to the plaintext port shows itself by its port', async t => {
  const told = JSON.parse((await stage.call(a, { to: [a.address, 15_006] })).received ?? '{}') as Told;
  t.match(told, { origin: null, localPort: 15_006, client: a.address });
});

t.test('the destination of an earlier connection is not believed on a direct one', async t => {
  for (const device of [undefined, 'eth0']) {
    const seen = await stage.call(a, {
      to: ['192.0.2.1', 80],
      again: [a.address, 15_001],
      ...(device === undefined ? {} : { device }),
    });
    t.equal((JSON.parse(seen.received ?? '{}') as Told).origin, null);
    t.same(seen.peername, [a.address, 15_001]);
  }
});

t.test("the agent's source addresses are the agent's", async t => {
  await using _server = await stage.serve(a, '::', 8000, '46');
  const counted = await stage.counted(async () => {
    t.equal((await stage.call(a, { to: [a.address, 8000], bind: ['127.67.86.9', 0] })).error, 'ECONNREFUSED');
  });
  t.match(counted, { lookup_unnamed: 1 });
  const local = await stage.call(a, { to: ['127.0.0.1', 8000], bind: ['127.67.86.9', 0] });
  t.match(local.received, /127\.67\.86\.9/, 'on loopback they are addresses like others');
});

t.test('nothing goes round: the agent cannot hand a client to itself', async t => {
  await first.stop();
  const agent = await stage.enrol(a, { plaintext: 'deliver' });
  const counted = await stage.counted(async () => {
    for (const call of [
      { to: [a.address, 15_006] },
      { to: [a.address6, 15_006], family: 6 },
    ] satisfies Call[]) {
      t.match((await stage.call(a, { ...call, send: 'x' })).error, /ECONNRESET|EPIPE/);
    }
  });
  t.same(counted, { connect_local: 2, lookup_local: 2, connect_agent_loop: 2 });
  await agent.stop();
});
