/**
 * Pods that come, go and change under a running mesh: nothing of a pod outlives it, and whoever gets its address does not
 * get its identity.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import t, { type Test } from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { authorizationPolicy, from } from '../help/policies.ts';
import type { RemoteConnection } from '../help/remote-sockets.ts';
import { eventually } from '../lab/eventually.ts';
import type { Place } from '../lab/place.ts';
import type { LabPod, PodSpec } from '../lab/pod.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const stage = await AgentLab.create({
  name: 'pods',
  pods: [
    { name: 'near', namespace: 'shop', node: 'node-a', serviceAccount: 'near' },
    { name: 'far', namespace: 'shop', node: 'node-b', serviceAccount: 'far' },
  ],
  // A namespace that is gone tells nobody: the other node finds out by the pings of its tunnels.
  agent: { args: ['--limit', 'pingIntervalMs=300', 'pingTimeoutMs=1000', 'tunnelIdleMs=1000'] },
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [near, far, { outside }] = [stage.pod('near'), stage.pod('far'), stage.lab];
const port = 8080;
for (const server of [near, far, outside]) await (await stage.sockets(server)).serve('::', port);
const id = (account: string): string => `spiffe://cluster.local/ns/shop/sa/${account}`;
const outOfMesh = { labels: { 'culvert.dev/dataplane-mode': 'none' } };

async function open(client: Place, server: Place): Promise<RemoteConnection> {
  const opened = await (await stage.sockets(client)).connect(server.address, port);
  await opened.send('ping');
  const answer = await opened.receive(4);
  if (answer !== 'ping') throw new Error(`"${answer}" instead of an answer`);
  return opened;
}

/** The line of a new connection, as the agent of the server writes it. */
async function lineOf(client: Place, server: LabPod): Promise<Readonly<Record<string, unknown>>> {
  const opened = await open(client, server);
  await opened.close();
  return stage.line(server.node, { 'src.addr': opened.local.join(':'), 'dst.workload': server.name });
}

/** A pod with a server, in the mesh. */
async function arrive(spec: Partial<PodSpec> & { readonly name: string }): Promise<LabPod> {
  const pod = await stage.lab.pod({ namespace: 'shop', node: 'node-a', serviceAccount: spec.name, ...spec });
  await (await stage.sockets(pod)).serve('::', port);
  await stage.describe();
  await stage.untilEnrolled(pod);
  return pod;
}

async function enrolledCookies(node: string): Promise<number> {
  const { enrolled } = JSON.parse(await stage.agent(node).admin('/redirect')) as { enrolled: unknown[] };
  return enrolled.length;
}

/** Descriptors that an agent holds of sockets and of network namespaces; its log file is opened with the first line. */
function descriptors(node: string): { readonly sockets: number; readonly namespaces: number } {
  const directory = `/proc/${stage.agent(node).pid}/fd`;
  const targets = readdirSync(directory).map(fd => {
    try {
      return readlinkSync(`${directory}/${fd}`);
    } catch {
      return 'closed meanwhile';
    }
  });
  const count = (kind: string): number => targets.filter(target => target.startsWith(`${kind}:[`)).length;
  return { sockets: count('socket'), namespaces: count('net') };
}

const nodes = ['node-a', 'node-b'];
const atFirst = nodes.map(descriptors);

t.test('a pod that is deleted under traffic leaves nothing behind', async t => {
  const visit = async (): Promise<void> => {
    const pod = await arrive({ name: 'guest' });
    const connections = await Promise.all([
      open(pod, far),
      open(pod, near),
      open(pod, outside),
      open(far, pod),
      open(near, pod),
      open(outside, pod),
    ]);
    const ends = connections.slice(3).map(it => it.receive(1).catch((error: { code: string }) => error.code));
    await stage.endProgram(pod);
    // Without its wire nobody can tell who is outside.
    await ends.at(-1);
    await pod.delete();
    for (const end of await Promise.all(ends)) t.ok(['', 'ECONNRESET'].includes(end), 'its peers are told');
    await eventually(async () => (await enrolledCookies('node-a')) === 1, {
      what: 'a kernel that has forgotten it',
    });
    await stage.describe();
    await eventually(async () => (await stage.agent('node-a').admin('/connections')).trim() === '[]');
    await eventually(async () => (await stage.agent('node-b').admin('/connections')).trim() === '[]');
  };
  for (let n = 0; n < 3; n += 1) await visit();
  t.same(
    nodes.map(node => descriptors(node).namespaces),
    atFirst.map(({ namespaces }) => namespaces),
    'the agents have let go of its namespace',
  );
  t.equal(await stage.agent('node-a').metric('workload_manager_active_proxy_count'), 1);
});

t.test('an address that goes to another identity takes nothing along', async t => {
  await stage.apply('policy.yaml', [
    authorizationPolicy({
      action: 'ALLOW',
      rules: [from({ principals: ['*/sa/alice', '*/sa/near', '*/sa/far'] })],
    }),
  ]);
  const alice = await arrive({ name: 'alice', slot: 50 });
  t.match(await lineOf(alice, far), { 'src.identity': id('alice'), 'src.workload': 'alice' });
  t.match(await lineOf(alice, near), { 'src.identity': id('alice') });
  t.match(await lineOf(far, alice), { 'dst.identity': id('alice') });
  t.match(await lineOf(near, alice), { 'dst.identity': id('alice') });
  await stage.endProgram(alice);
  await alice.delete();

  const mallory = await arrive({ name: 'mallory', slot: 50 });
  t.equal(mallory.address, alice.address, 'the same address');
  for (const server of [far, near]) {
    const opened = await (await stage.sockets(mallory)).connect(server.address, port);
    await t.rejects(opened.receive(1), { code: 'ECONNRESET' }, `does not get into ${server.name}`);
    const line = await stage.line(server.node, {
      'src.addr': opened.local.join(':'),
      'dst.workload': server.name,
    });
    t.match(line, { code: 'POLICY_DENIED', 'src.identity': id('mallory'), 'src.workload': 'mallory' });
  }
  t.match(await lineOf(far, mallory), { 'dst.identity': id('mallory'), security: 'mutual_tls' });
  t.match(await lineOf(near, mallory), { 'dst.identity': id('mallory'), security: 'local' });
  await stage.remove('policy.yaml');
  t.match(await lineOf(mallory, far), { 'src.identity': id('mallory') });
  await stage.endProgram(mallory);
  await mallory.delete();
  await stage.describe();
});

t.test('a running pod that gets another service account begins anew', async t => {
  t.match(await lineOf(near, far), { 'src.identity': id('near') });
  const opened = await open(near, far);
  const cut = t.rejects(opened.receive(1), { code: 'ECONNRESET' }, 'what it had open under the old one ends');
  await stage.describe(near, { serviceAccount: 'other' });
  await cut;
  await identityIs(t, 'other');
  await stage.describe(near);
  await identityIs(t, 'near');
});

async function identityIs(t: Test, account: string): Promise<void> {
  await eventually(async () => (await stage.status('node-a')).pods[0]?.identity === id(account));
  await stage.untilEnrolled(near);
  t.match(await lineOf(near, far), { 'src.identity': id(account), security: 'mutual_tls' });
  t.match(await lineOf(far, near), { 'dst.identity': id(account), security: 'mutual_tls' });
}

t.test('a label takes a running pod out of the mesh and back', async t => {
  await stage.describe(near, outOfMesh);
  await stage.untilEnrolled(near, false);
  t.equal(await enrolledCookies('node-a'), 0);
  t.match(await lineOf(near, far), { security: 'plaintext', 'src.workload': 'near' });
  await (await open(far, near)).close();
  await (await open(near, outside)).close();
  await stage.describe(near);
  await stage.untilEnrolled(near);
  t.match(await lineOf(near, far), { security: 'mutual_tls' });
  t.match(await lineOf(far, near), { security: 'mutual_tls' });
});

t.test('connections that are open when a pod leaves the mesh go on', async t => {
  const opened = await Promise.all([open(near, far), open(far, near), open(near, near)]);
  await stage.describe(near, outOfMesh);
  await stage.untilEnrolled(near, false);
  t.match(await lineOf(near, far), { security: 'plaintext' }, 'new ones are plain');
  for (const connection of opened) {
    await connection.send('still here');
    t.equal(await connection.receive(10), 'still here');
    await connection.shutdown();
    t.equal(await connection.receive(1), '');
    await connection.close();
  }
  await stage.describe(near);
  await stage.untilEnrolled(near);
});

t.test('connections that began before a pod came into the mesh go on', async t => {
  await stage.describe(near, outOfMesh);
  await stage.untilEnrolled(near, false);
  const older = await Promise.all([
    open(near, far),
    open(near, outside),
    open(far, near),
    open(outside, near),
    open(near, near),
  ]);
  await stage.describe(near);
  await stage.untilEnrolled(near);
  t.match(await lineOf(near, far), { security: 'mutual_tls' }, 'new ones are tunnelled');
  for (const opened of older) {
    await opened.send('still here');
    t.equal(await opened.receive(10), 'still here');
    await opened.shutdown();
    t.equal(await opened.receive(1), '');
    await opened.close();
  }
});

t.test('after all that, the agents hold what they held at first', async t => {
  for (const [index, node] of nodes.entries()) {
    const limit = atFirst[index]?.sockets ?? 0;
    // Spare sockets and idle tunnels are given back after some seconds.
    const left = await eventually(() => descriptors(node).sockets <= limit && descriptors(node).sockets, {
      what: `${node}: no more than ${limit} sockets`,
      timeoutMs: 25_000,
    });
    t.ok(left <= limit, `${node}: ${left} of ${limit}`);
  }
});
