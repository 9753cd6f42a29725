/**
 * An agent that is killed and started again by its keeper: who connects meanwhile waits, is served as who he is now, and is
 * told when nobody comes.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import t from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import type { RemoteConnection } from '../help/remote-sockets.ts';
import { Steady } from '../help/steady.ts';
import { eventually } from '../lab/eventually.ts';
import { serviceObject } from '../lab/kubernetes.ts';
import type { Place } from '../lab/place.ts';
import type { LabPod } from '../lab/pod.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

/** However long the machine takes to start an agent. */
const patient = ['--limit', 'absenceMs=60000', 'heartbeatTimeoutMs=60000'];
const lenientMode = { annotations: { 'culvert.dev/fail-mode': 'open' } };
const stage = await AgentLab.create({
  name: 'crash',
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a', serviceAccount: 'client' },
    { name: 'near', namespace: 'shop', node: 'node-a', serviceAccount: 'near' },
    { name: 'lenient', namespace: 'shop', node: 'node-a', serviceAccount: 'lenient', ...lenientMode },
    { name: 'far', namespace: 'shop', node: 'node-b', serviceAccount: 'far', labels: { app: 'far' } },
  ],
  objects: [
    serviceObject({
      namespace: 'shop',
      name: 'far',
      selector: { app: 'far' },
      ports: [{ port: 80, targetPort: 8080 }],
      clusterIPs: ['10.96.0.10', 'fd00:10:96::10'],
    }),
  ],
  agent: { args: patient, shards: 2 },
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, near, lenient, far, { outside }] = [
  stage.pod('client'),
  stage.pod('near'),
  stage.pod('lenient'),
  stage.pod('far'),
  stage.lab,
];
const port = 8080;
for (const server of [client, near, lenient, far, outside])
  await (await stage.sockets(server)).serve('::', port);
const id = (account: string): string => `spiffe://cluster.local/ns/shop/sa/${account}`;

async function ask(from: Place, to: Place): Promise<RemoteConnection> {
  const opened = await (await stage.sockets(from)).connect(to.address, port);
  await opened.send('ping');
  return opened;
}

async function answered(opened: RemoteConnection): Promise<boolean> {
  return (await opened.receive(4)) === 'ping';
}

/** The line that the agent of the server writes when this has ended. */
async function lineOf(opened: RemoteConnection, server: LabPod): Promise<Readonly<Record<string, unknown>>> {
  await opened.close();
  return stage.line(server.node, { 'src.addr': opened.local.join(':'), 'dst.workload': server.name });
}

/** Waits until the keeper of node-a holds the sockets of so many pods, and no others. */
async function pods(count: number): Promise<void> {
  const directory = `/proc/${stage.agent('node-a').process.pid}/fd`;
  const held = (): number =>
    readdirSync(directory).filter(fd => readlinkSync(`${directory}/${fd}`).startsWith('socket:')).length;
  // Five for each shard of a pod; two ports, two to talk to the agent, and its standard input.
  await eventually(() => held() === count * 10 + 5, { what: `the sockets of ${count} pods, not ${held()}` });
}

t.test('agents that crash refuse nobody, and let nobody hang', async t => {
  const flows = await Promise.all([
    Steady.start(client, far.address, port, { streams: 2, life: 2 }),
    Steady.start(client, 'far.shop.svc.cluster.local', 80),
    Steady.start(far, client.address6, port, { streams: 2, life: 2 }),
    Steady.start(client, near.address6, port, { streams: 1, life: 2 }),
    Steady.start(outside, near.address, port),
    Steady.start(lenient, outside.address, port),
  ]);
  for (const node of ['node-a', 'node-b', 'node-a', 'node-b']) await stage.crashAgent(node);
  for (const steady of flows) {
    const { asked, failed, lost, from, to, slowestMs, examples } = await steady.end();
    const reasons = new Set([...Object.keys(failed), ...Object.keys(lost)]);
    // Those that the agent had accepted.
    for (const ended of ['ECONNRESET', 'ENDED', 'EPIPE']) reasons.delete(ended);
    t.same([...reasons], [], `${from} to ${to}: ${asked} connections, slowest ${slowestMs} ms`);
    t.ok(asked > Object.values(failed).reduce((sum, count) => sum + count, 0), 'most are well');
    if (reasons.size > 0) for (const example of examples) t.comment(JSON.stringify(example));
  }
  t.equal(await stage.agent('node-a').metric('culvert_agent_crashes_total'), 2);
});

t.test('one that crashes while another gets ready to take its place', async t => {
  const agent = stage.agent('node-a');
  const fresh = await stage.startAgent('node-a', { waitUntilReady: false });
  stage.keep('node-a', agent);
  await agent.process.says(/gets ready to take over/);
  const release = await agent.crashAndHold();
  const waiting = [await ask(client, far), await ask(outside, near)];
  await fresh.process.says(/has not given its place/, 30_000);
  // The new one would open sockets beside those in which these wait.
  waiting.push(await ask(client, far), await ask(far, client));
  release();
  for (const opened of waiting) t.ok(await answered(opened), 'by the one that is started again');
  for (const opened of waiting) await opened.close();
  t.equal((await fresh.process.exited).code, 64);
  t.match(fresh.process.stderr() + fresh.process.stdout(), 'ALREADY_RUNNING');
  await stage.serves(agent);
});

t.test('what the kernel carries goes on', async t => {
  // With the first one the agent decides about all that follow.
  const carried = await eventually(async () => {
    const opened = await ask(client, near);
    if (!(await answered(opened))) return null;
    const { local } = opened;
    await opened.close();
    const line = await stage.line('node-a', { 'src.addr': local.join(':'), 'dst.workload': 'near' });
    return line['security'] === 'kernel';
  });
  t.ok(carried);
  const open = await ask(client, near);
  t.ok(await answered(open));
  await stage.crashAgent('node-a');
  await open.send('ping');
  t.ok(await answered(open));
  t.match(await lineOf(open, near), { security: 'kernel', 'src.identity': id('client') });
});

t.test('what the agent carried ends at once, and what comes waits for the next one', async t => {
  const carried = [await ask(client, far), await ask(far, client)];
  for (const opened of carried) t.ok(await answered(opened));
  const release = await stage.agent('node-a').crashAndHold();
  for (const opened of carried) {
    await t.rejects(opened.receive(1), { code: 'ECONNRESET' }, 'it does not look as if it were whole');
  }
  const waiting = await Promise.all([
    ask(client, far),
    ask(far, client),
    ask(outside, near),
    ask(lenient, outside),
    ask(outside, lenient),
  ]);
  t.pass('all are connected while no agent runs');
  release();
  for (const opened of waiting) t.ok(await answered(opened));
  const [out, into, plain] = waiting;
  if (out === undefined || into === undefined || plain === undefined) return;
  const tunnelled = { security: 'mutual_tls', 'src.identity': id('client'), 'dst.identity': id('far') };
  t.match(await lineOf(out, far), tunnelled);
  t.match(await lineOf(into, client), { security: 'mutual_tls', 'src.identity': id('far') });
  t.match(await lineOf(plain, near), { security: 'plaintext' });
});

t.test('a pod that has become another one meanwhile is served as that', async t => {
  const release = await stage.agent('node-a').crashAndHold();
  const waiting = await ask(client, far);
  stage.describeUnseen(client, { serviceAccount: 'other' });
  release();
  t.ok(await answered(waiting));
  t.match(await lineOf(waiting, far), { security: 'mutual_tls', 'src.identity': id('other') });
  await stage.serves(stage.agent('node-a'));
  await stage.describe(client);
});

t.test('one that has left the mesh, or is gone, leaves nothing behind', async t => {
  const guest = await stage.lab.pod({
    name: 'guest',
    namespace: 'shop',
    node: 'node-a',
    serviceAccount: 'guest',
  });
  await stage.describe();
  await stage.untilEnrolled(guest);
  await pods(4);
  const release = await stage.agent('node-a').crashAndHold();
  const [first, second] = [await ask(near, far), await ask(guest, far)];
  await stage.endProgram(guest);
  await guest.delete();
  stage.describeUnseen(near, { labels: { 'culvert.dev/dataplane-mode': 'none' } });
  release();
  // Nobody would protect it as what it was when it connected.
  await t.rejects(first.receive(1), { code: 'ECONNRESET' });
  await stage.serves(stage.agent('node-a'));
  await pods(2);
  t.equal(second.local[0], guest.address);
  await stage.describe(near);
  await stage.untilEnrolled(near);
  await pods(3);
});

t.test('an agent that has taken over crashes like any other', async t => {
  const open = await ask(client, far);
  t.ok(await answered(open));
  const { old, fresh } = await stage.replaceAgent('node-a');
  t.ok(old.process.running, 'the old one carries what is open');
  const release = await fresh.crashAndHold();
  await eventually(async () => (await stage.status('node-a')).pid === old.pid, {
    what: 'the old one to take its place back',
  });
  const meanwhile = await ask(client, far);
  t.ok(await answered(meanwhile));
  release();
  await stage.serves(fresh);
  t.pass('the next one takes over again');
  for (const opened of [open, meanwhile]) {
    await opened.send('ping');
    t.ok(await answered(opened), 'and nothing was lost');
    await opened.close();
  }
  t.same(await old.process.exited, { code: 0, signal: null });
  await stage.crashAgent('node-a');
  const last = await ask(client, far);
  t.ok(await answered(last));
  t.match(await lineOf(last, far), { 'src.identity': id('client'), security: 'mutual_tls' });
});

t.test('nobody waits for an agent that does not come in time', async t => {
  await stage.agent('node-a').stop();
  await stage.startAgent('node-a', { args: ['--limit', 'absenceMs=3000'] });
  t.ok(await answered(await ask(client, far)));
  const release = await stage.agent('node-a').crashAndHold();
  const waiting = await ask(client, far);
  await t.rejects(waiting.receive(1), { code: 'ECONNRESET' }, 'who waited is told');
  // One listener is closed after the other.
  for (const [from, to] of [
    [client, far],
    [outside, client],
  ] as const)
    await eventually(
      () =>
        ask(from, to).then(
          () => false,
          ({ code }: { code: string }) => code === 'ECONNREFUSED',
        ),
      {
        what: 'fail-closed: as without an agent',
      },
    );
  t.ok(await answered(await ask(lenient, outside)), 'fail-open: as without an agent');
  release();
  await stage.serves(stage.agent('node-a'));
  t.ok(await answered(await ask(client, far)));
});

t.test('told to stop, nothing remains', async t => {
  const agent = stage.agent('node-a');
  const release = await agent.crashAndHold();
  agent.process.kill('SIGTERM');
  release();
  t.same(await agent.process.exited, { code: 143, signal: null }, 'one that was only starting');
  await t.rejects(ask(client, far), { code: 'ECONNREFUSED' });
  const next = await stage.startAgent('node-a');
  const last = await ask(client, far);
  t.ok(await answered(last));
  await last.close();
  t.same(await next.stop(), { code: 0, signal: null });
  await t.rejects(ask(client, far), { code: 'ECONNREFUSED' });
});
