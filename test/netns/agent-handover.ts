/**
 * An agent that takes the place of another: nobody is refused, nothing hangs, and what goes wrong leaves everything as it
 * was.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { Steady } from '../help/steady.ts';
import { eventually } from '../lab/eventually.ts';
import { serviceObject } from '../lab/kubernetes.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

/** `make soak-restarts` does many more. */
const restarts = 8;
/** Longer than any test: an old agent that ends has nothing left, rather than no time. */
const patient = ['--limit', 'drainMs=600000'];
const vip = ['10.96.0.10', 'fd00:10:96::10'] as const;
const stage = await AgentLab.create({
  name: 'handover',
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a', serviceAccount: 'client' },
    { name: 'near', namespace: 'shop', node: 'node-a', serviceAccount: 'near' },
    { name: 'far', namespace: 'shop', node: 'node-b', serviceAccount: 'far', labels: { app: 'far' } },
  ],
  objects: [
    serviceObject({
      namespace: 'shop',
      name: 'far',
      selector: { app: 'far' },
      ports: [{ port: 80, targetPort: 8080 }],
      clusterIPs: vip,
    }),
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, near, far, { outside }] = [
  stage.pod('client'),
  stage.pod('near'),
  stage.pod('far'),
  stage.lab,
];
const port = 8080;
for (const server of [client, near, far, outside]) await (await stage.sockets(server)).serve('::', port);

/** Traffic of every kind while something happens to the agents. */
async function whileTalking(t: Test, disturb: () => Promise<void>): Promise<void> {
  const flows = await Promise.all([
    Steady.start(client, far.address, port, { streams: 2, life: 3 }),
    Steady.start(client, 'far.shop.svc.cluster.local', 80),
    Steady.start(client, near.address6, port, { streams: 1, life: 3 }),
    Steady.start(far, client.address, port, { streams: 2, life: 3 }),
    Steady.start(outside, near.address, port, { streams: 1, life: 3 }),
    Steady.start(near, outside.address, port),
  ]);
  await disturb();
  for (const steady of flows) {
    const { asked, failed, lost, streams, examples, slowestMs, from, to } = await steady.end();
    t.same({ failed, lost }, { failed: {}, lost: {} }, `${from} to ${to}: all well`);
    t.comment(`${asked} connections, ${streams} streams, slowest ${slowestMs} ms`);
    for (const example of examples) t.comment(JSON.stringify(example));
    t.ok(asked > 0, 'and it did talk');
  }
}

t.test(`${restarts} agents take over one after the other`, t =>
  whileTalking(t, async () => {
    const ended: Promise<unknown>[] = [];
    for (let n = 0; n < restarts; n += 1) {
      const { old } = await stage.replaceAgent(n % 2 === 0 ? 'node-a' : 'node-b');
      ended.push(old.process.exited);
    }
    for (const exit of await Promise.all(ended))
      t.same(exit, { code: 0, signal: null }, 'the old one ends by itself');
  }),
);

t.test('with more shards, and with fewer', t =>
  whileTalking(t, async () => {
    for (const shards of [3, 1, 2]) await stage.replaceAgent('node-a', { shards });
  }),
);

t.test('the identity stays what it is, and policy is the same', async t => {
  await stage.replaceAgent('node-a');
  const opened = await (await stage.sockets(client)).connect(far.address, port);
  await opened.send('ping');
  t.equal(await opened.receive(4), 'ping');
  const line = { 'src.addr': opened.local.join(':'), direction: 'inbound' };
  await opened.close();
  t.match(await stage.line('node-b', line), {
    security: 'mutual_tls',
    'src.identity': 'spiffe://cluster.local/ns/shop/sa/client',
    'dst.workload': 'far',
  });
});

t.test('an open connection goes on in the old process until it ends', async t => {
  await stage.replaceAgent('node-a', { args: patient });
  const out = await (await stage.sockets(client)).connect(far.address, port);
  const into = await (await stage.sockets(far)).connect(client.address, port);
  for (const opened of [out, into]) {
    await opened.send('ping');
    await opened.receive(4);
  }
  const { old } = await stage.replaceAgent('node-a');
  for (const opened of [out, into]) {
    await opened.send('pong');
    t.equal(await opened.receive(4), 'pong');
    t.ok(old.process.running, 'the old one carries it');
    await opened.shutdown();
    t.equal(await opened.receive(1), '', 'and its end');
    await opened.close();
  }
  t.same(await old.process.exited, { code: 0, signal: null });
});

t.test('at the deadline what is still open is cut', async t => {
  await stage.replaceAgent('node-a', { args: ['--limit', 'drainMs=200'] });
  const opened = await (await stage.sockets(client)).connect(far.address, port);
  await opened.send('ping');
  await opened.receive(4);
  const cut = t.rejects(opened.receive(1), { code: 'ECONNRESET' });
  await stage.replaceAgent('node-a');
  await cut;
  t.match(await stage.line('node-a', { 'src.addr': opened.local.join(':') }), { code: 'DRAIN_DEADLINE' });
});

t.test('told to stop while the old one is there, the new one gives everything back', t =>
  whileTalking(t, async () => {
    const open = await (await stage.sockets(client)).connect(far.address, port);
    const { old, fresh } = await stage.replaceAgent('node-a');
    t.same(await fresh.stop(), { code: 0, signal: null }, 'the new one ends');
    t.equal((await stage.status('node-a')).pid, old.pid, 'the old one serves');
    stage.keep('node-a', old);
    await open.close();
    await stage.replaceAgent('node-a');
  }),
);

t.test('a new agent that dies at once leaves the old one in its place', async t => {
  const open = await (await stage.sockets(client)).connect(far.address, port);
  await open.send('ping');
  await open.receive(4);
  const { old, fresh } = await stage.replaceAgent('node-a');
  await fresh.kill();
  stage.keep('node-a', old);
  await eventually(async () => (await old.get(15_000, '/status')) !== null, { what: 'the old one' });
  t.equal((await stage.status('node-a')).pid, old.pid);
  await open.send('pong');
  t.equal(await open.receive(4), 'pong', 'what it carried goes on');
  await open.close();
  await whileTalking(t, async () => {
    const { old } = await stage.replaceAgent('node-a');
    await old.process.exited;
  });
});

t.test('an old agent that is told to stop keeps no socket that nobody accepts on', async t => {
  const open = await (await stage.sockets(client)).connect(far.address, port);
  const { old, fresh } = await stage.replaceAgent('node-a');
  old.process.kill('SIGTERM');
  await old.process.says(/"draining"/);
  t.ok(old.process.running, 'it drains');
  await fresh.kill();
  const refused = (await stage.sockets(client)).connect(far.address, port);
  await t.rejects(refused, { code: 'ECONNREFUSED' }, 'with the new one gone nothing waits for nobody');
  await open.close();
  t.same(await old.process.exited, { code: 0, signal: null });
  await stage.serves(await stage.startAgent('node-a', { waitUntilReady: false }));
});

t.test('one that is killed hangs nobody, and the next one takes over what is pinned', async t => {
  const flows = await Promise.all([
    Steady.start(client, far.address, port, { streams: 2 }),
    Steady.start(far, client.address, port, { streams: 2 }),
  ]);
  for (let n = 0; n < 2; n += 1) {
    await stage.agent('node-a').kill();
    await stage.serves(await stage.startAgent('node-a', { waitUntilReady: false }));
  }
  for (const steady of flows) {
    const { failed, lost, from, to, asked } = await steady.end();
    const reasons = new Set([...Object.keys(failed), ...Object.keys(lost)]);
    for (const ended of ['ECONNREFUSED', 'ECONNRESET', 'ENDED', 'EPIPE', 'EPERM']) reasons.delete(ended);
    t.same([...reasons], [], `${from} to ${to}: ${asked} connections, of which none hung`);
  }
  t.ok(existsSync(join(stage.agent('node-a').stateDirectory, 'handover.sock')));
  await whileTalking(t, async () => {
    await stage.replaceAgent('node-a');
  });
});
