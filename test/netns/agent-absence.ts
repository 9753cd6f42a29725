/**
 * An agent that is gone, comes back, or is told to go: what each pod sees is what it has declared, and no connection that
 * could have ended well is lost.
 */
import t, { type Test } from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import type { CallError } from '../help/remote-sockets.ts';
import { eventually } from '../lab/eventually.ts';
import type { Place } from '../lab/place.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const lenientMode = { annotations: { 'culvert.dev/fail-mode': 'open' } };
const stage = await AgentLab.create({
  name: 'absence',
  pods: [
    { name: 'strict', namespace: 'shop', node: 'node-a', serviceAccount: 'strict' },
    { name: 'lenient', namespace: 'shop', node: 'node-a', serviceAccount: 'lenient', ...lenientMode },
    { name: 'far', namespace: 'shop', node: 'node-b', serviceAccount: 'far' },
  ],
  // What the kernel carries without an agent is told in kernel-path-agents.ts.
  agent: { args: ['--kernel-path', 'off'] },
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [strict, lenient, far, { outside }] = [
  stage.pod('strict'),
  stage.pod('lenient'),
  stage.pod('far'),
  stage.lab,
];
const port = 8080;
for (const server of [strict, lenient, far, outside]) await (await stage.sockets(server)).serve('::', port);

async function works(client: Place, server: Place, address = server.address): Promise<boolean> {
  const opened = await (await stage.sockets(client)).connect(address, port);
  await opened.send('ping');
  const answer = await opened.receive(4);
  await opened.close();
  return answer === 'ping';
}

/** How a connection was carried, as the agent of the server says. */
async function securityOf(client: Place, server: Place & { node: string }): Promise<unknown> {
  const opened = await (await stage.sockets(client)).connect(server.address, port);
  await opened.send('ping');
  await opened.receive(4);
  await opened.close();
  const line = await stage.line(server.node, {
    'src.addr': opened.local.join(':'),
    'dst.workload': server.name,
  });
  return line['security'];
}

async function everythingWorks(t: Test): Promise<void> {
  for (const client of [strict, lenient]) {
    t.equal(await securityOf(client, far), 'mutual_tls', `${client.name} to far`);
    t.equal(await securityOf(far, client), 'mutual_tls', `far to ${client.name}`);
    t.ok(await works(client, outside), `${client.name} to outside`);
  }
  t.equal(await securityOf(lenient, strict), 'local', 'lenient to strict');
}

t.test('with both agents', everythingWorks);

for (const round of ['first', 'second']) {
  t.test(`kill -9 of an agent, the ${round} time`, async t => {
    const open = await (await stage.sockets(strict)).connect(far.address, port);
    await open.send('ping');
    await open.receive(4);
    const lost = open.receive(1).catch((error: unknown) => (error as CallError).code);
    await stage.agent('node-a').kill();
    t.equal(await lost, 'ECONNRESET', 'a connection that it carried does not look as if it were whole');

    for (const address of [far.address, far.address6, outside.address, lenient.address]) {
      const refused = (await stage.sockets(strict)).connect(address, port);
      await t.rejects(
        refused,
        { code: 'ECONNREFUSED' },
        `fail-closed: ${address} is refused by connect() itself`,
      );
    }
    for (const address of [strict.address, strict.address6]) {
      await t.rejects(
        works(outside, strict, address),
        { code: 'ECONNREFUSED' },
        'fail-closed: nobody gets in',
      );
    }
    await t.rejects(works(lenient, strict), { code: 'ECONNREFUSED' }, 'also not from the same node');
    for (const address of ['127.0.0.1', strict.address]) {
      t.ok(await works(strict, strict, address), 'a pod still reaches itself');
    }

    for (const address of [far.address, far.address6]) {
      t.ok(await works(lenient, far, address), `fail-open: ${address} is reached in the clear`);
    }
    t.ok(await works(lenient, outside), 'fail-open: and so is the outside');
    for (const address of [lenient.address, lenient.address6]) {
      t.ok(await works(outside, lenient, address), `fail-open: ${address} can be reached`);
    }
    // No way around an agent that is gone: a tunnel was promised, and plain text would break the promise.
    await t.rejects(
      works(far, lenient),
      { code: 'ECONNRESET' },
      'who has an agent does not fall back to plain',
    );
  });

  t.test(`a restart takes over, the ${round} time`, async t => {
    const agent = await stage.startAgent('node-a');
    t.match(
      (await stage.status('node-a')).pods.map(({ name, enrolled, problem }) => ({ name, enrolled, problem })),
      ['lenient', 'strict'].map(name => ({ name, enrolled: true, problem: null })),
    );
    await everythingWorks(t);
    const { enrolled } = JSON.parse(await agent.admin('/redirect')) as { enrolled: unknown[] };
    t.equal(enrolled.length, 2, 'the kernel knows these pods and no others');
  });
}

t.test('SIGTERM lets what is open finish, and takes nothing new', async t => {
  const agent = stage.agent('node-a');
  const out = await (await stage.sockets(strict)).connect(far.address, port);
  const into = await (await stage.sockets(far)).connect(strict.address, port);
  const local = await (await stage.sockets(lenient)).connect(strict.address, port);
  const all = [out, into, local];
  for (const opened of all) {
    await opened.send('ping');
    await opened.receive(4);
  }
  agent.process.kill('SIGTERM');
  await eventually(async () => (await agent.get(15_021, '/healthz/ready')) === null, { what: 'not ready' });

  await t.rejects(works(strict, far), { code: 'ECONNREFUSED' }, 'fail-closed: no new connection out');
  await t.rejects(works(outside, strict), { code: 'ECONNREFUSED' }, 'fail-closed: nor in');
  await t.rejects(works(far, strict), { code: 'ECONNRESET' }, 'fail-closed: nor in by a tunnel that is open');
  t.ok(await works(lenient, outside), 'fail-open: the mesh is left');
  t.ok(await works(outside, lenient), 'fail-open: in both directions');
  t.ok(agent.process.running, 'and the agent still runs');

  for (const opened of all) {
    await opened.send('pong');
    t.equal(await opened.receive(4), 'pong', 'what is open goes on');
    await opened.shutdown();
    t.equal(await opened.receive(1), '', 'and ends well');
    await opened.close();
  }
  t.same(await agent.process.exited, { code: 0, signal: null }, 'then the agent has nothing left to do');
  await t.rejects(works(strict, far), { code: 'ECONNREFUSED' }, 'fail-closed, as declared');
  t.ok(await works(lenient, far), 'fail-open, as declared');
  await stage.startAgent('node-a');
  await everythingWorks(t);
});

t.test('at the deadline what is still open is cut', async t => {
  await stage.agent('node-a').stop();
  const agent = await stage.startAgent('node-a', { args: ['--limit', 'drainMs=200'] });
  const opened = await (await stage.sockets(strict)).connect(far.address, port);
  await opened.send('ping');
  await opened.receive(4);
  const cut = t.rejects(opened.receive(1), { code: 'ECONNRESET' });
  agent.process.kill('SIGTERM');
  await cut;
  t.same(await agent.process.exited, { code: 0, signal: null });
  t.match(await stage.line('node-a', { 'src.addr': opened.local.join(':') }), {
    code: 'DRAIN_DEADLINE',
    side: 'us',
  });
});
