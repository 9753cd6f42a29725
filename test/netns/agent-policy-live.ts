/**
 * Policies that change while a mesh carries traffic: the very next connection is decided by the new one, open connections
 * are judged again, and what cannot be read changes nothing.
 */
import { join } from 'node:path';
import t from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { authorizationPolicy, from, peerAuthentication, to } from '../help/policies.ts';
import type { RemoteConnection } from '../help/remote-sockets.ts';
import { enrolled } from '../lab/kubernetes.ts';
import type { Place } from '../lab/place.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const stage = await AgentLab.create({
  name: 'policy-live',
  pods: [
    { name: 'client', namespace: 'shop', node: 'node-a', serviceAccount: 'client' },
    { name: 'near', namespace: 'shop', node: 'node-a', serviceAccount: 'web' },
    { name: 'far', namespace: 'shop', node: 'node-b', serviceAccount: 'web' },
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
for (const server of [near, far]) await (await stage.sockets(server)).serve('::', port);

interface Way {
  readonly name: string;
  readonly from: Place;
  readonly to: typeof near;
}

const ways: readonly Way[] = [
  { name: 'cross node', from: client, to: far },
  { name: 'same node', from: client, to: near },
  { name: 'from outside', from: outside, to: far },
];

async function open(way: Way): Promise<RemoteConnection> {
  const opened = await (await stage.sockets(way.from)).connect(way.to.address, port);
  await opened.send('ping');
  return opened;
}

async function answers(opened: RemoteConnection): Promise<boolean> {
  return (await opened.receive(4)) === 'ping';
}

async function works(way: Way): Promise<boolean> {
  const opened = await open(way);
  const answered = await answers(opened);
  await opened.close();
  return answered;
}

for (const way of ways) {
  t.test(`${way.name}: the very next connection is decided by the new policy`, async t => {
    t.ok(await works(way), 'at first');
    for (const round of [1, 2, 3]) {
      await stage.apply('policy.yaml', [authorizationPolicy({ action: 'DENY', rules: [to(port)] })]);
      await t.rejects(open(way).then(answers), { code: 'ECONNRESET' }, `denied, round ${round}`);
      await stage.remove('policy.yaml');
      t.ok(await works(way), `restored, round ${round}`);
    }
  });

  t.test(`${way.name}: an open connection is cut by a new DENY, and only what it denies`, async t => {
    const opened = await open(way);
    t.ok(await answers(opened));
    await stage.apply('policy.yaml', [authorizationPolicy({ action: 'DENY', rules: [to(9090)] })]);
    await opened.send('ping');
    t.ok(await answers(opened), 'one for another port does not touch it');
    const cut = t.rejects(opened.receive(1), { code: 'ECONNRESET' }, 'one for this port resets it');
    await stage.apply('policy.yaml', [authorizationPolicy({ action: 'DENY', rules: [to(port)] })]);
    await cut;
    t.match(
      await stage.line(way.to.node, { 'src.addr': opened.local.join(':'), 'dst.workload': way.to.name }),
      {
        code: 'POLICY_CHANGED',
        policy: 'shop/test',
        rule: 0,
        reason: 'explicitly denied by shop/test rule 0',
        bytes_sent: 8,
        bytes_recv: 8,
      },
    );
    await stage.remove('policy.yaml');
    t.ok(await works(way), 'without it everything is as it was');
  });

  t.test(`${way.name}: an open connection is cut when a policy begins to select the workload`, async t => {
    await stage.apply('policy.yaml', [authorizationPolicy({ action: 'ALLOW', app: 'selected' })]);
    const opened = await open(way);
    t.ok(await answers(opened), 'the policy is for others');
    const cut = t.rejects(opened.receive(1), { code: 'ECONNRESET' });
    await stage.describe(way.to, { labels: { app: 'selected' } });
    await cut;
    await t.rejects(open(way).then(answers), { code: 'ECONNRESET' }, 'and so is the next one');
    await stage.describe(way.to);
    t.ok(await works(way), 'until the label is gone');
    await stage.remove('policy.yaml');
  });
}

t.test('STRICT cuts open connections without identity, and leaves those with one', async t => {
  const opened = await Promise.all(ways.map(way => open(way)));
  t.same(await Promise.all(opened.map(answers)), [true, true, true]);
  const [across, beside, plain] = opened as [RemoteConnection, RemoteConnection, RemoteConnection];
  const cut = t.rejects(plain.receive(1), { code: 'ECONNRESET' }, 'plain');
  await stage.apply('mode.yaml', [peerAuthentication({ mode: 'STRICT' })]);
  await cut;
  for (const tunnelled of [across, beside]) {
    await tunnelled.send('ping');
    t.ok(await answers(tunnelled), 'with identity');
    await tunnelled.close();
  }
  await stage.remove('mode.yaml');
});

t.test('a file that cannot be read changes nothing, and everybody is told', async t => {
  const deny = authorizationPolicy({ action: 'DENY', rules: [from({ namespaces: ['shop'] })] });
  await stage.apply('policy.yaml', [deny]);
  await t.rejects(open(ways[0] as Way).then(answers), { code: 'ECONNRESET' });
  await stage.applyText(
    'policy.yaml',
    'apiVersion: culvert.dev/v1\nkind: AuthorizationPolicy\n  metadata: {',
  );
  await t.rejects(
    open(ways[0] as Way).then(answers),
    { code: 'ECONNRESET' },
    'the last good content is in force',
  );
  for (const node of ['node-a', 'node-b']) {
    t.equal(await stage.agent(node).metric('culvert_config_refused'), 1, `${node}: metric`);
    const { code, stdout } = await culvert(node, 'status');
    t.equal(code, 1, `${node}: culvert status says by its exit that something is wrong`);
    t.match(stdout, /refused, last good content in force: policy\.yaml/, 'names the file');
    t.match(stdout, /policy\.yaml:3: error: /, 'and the line');
  }
  await stage.apply('policy.yaml', [authorizationPolicy({ action: 'DENY', rules: [to(1)] })]);
  t.ok(await works(ways[0] as Way), 'once it can be read again, it counts');
  const { code, stdout } = await culvert('node-a', 'status');
  t.equal(code, 0, stdout);
});

t.test('a policy that says what nobody can know is refused with its field', async t => {
  const wrong = { ...authorizationPolicy({ action: 'DENY' }), spec: { action: 'DENY', rulez: [] } };
  await stage.apply('policy.yaml', [wrong]);
  const { configuration } = await stage.status('node-a');
  t.same(configuration.refused, ['policy.yaml']);
  const places = configuration.findings.map(({ severity, field }) => `${severity} ${field}`);
  t.ok(places.includes('error spec.rulez'), places.join(', '));
  await stage.remove('policy.yaml');
});

t.test('what is not enrolled is not judged', async t => {
  t.same(Object.keys(enrolled), ['culvert.dev/dataplane-mode']);
  await stage.apply('policy.yaml', [authorizationPolicy({ action: 'DENY', rules: [to(port)] })]);
  await stage.describe(far, { labels: { 'culvert.dev/dataplane-mode': 'none' } });
  await stage.untilEnrolled(far, false);
  t.ok(await works(ways[0] as Way), 'an enrolled client reaches it in the clear');
  t.ok(await works(ways[2] as Way), 'and so does anybody');
  await stage.remove('policy.yaml');
});

function culvert(node: string, command: string): Promise<{ code: number | null; stdout: string }> {
  const launcher = join(import.meta.dirname, '../../cli/culvert');
  return stage.lab.node(node).run(launcher, [command], { check: false });
}
