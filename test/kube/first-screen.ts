/**
 * What a user gets, from two commands: `kubectl apply -k daemonset/` and a label on a namespace. No pod is restarted; from
 * then on what goes between nodes is TLS, who speaks is known, policies decide; and without the label all is as before.
 */
import t, { type Test } from 'tap';
import { authorizationPolicy, from, peerAuthentication } from '../help/policies.ts';
import { eventually } from '../lab/eventually.ts';
import { namespaceObject } from '../lab/kubernetes.ts';
import { talkPod } from '../lab/cluster/talk.ts';
import { tlsRecords } from '../lab/pcap.ts';
import { dataplaneMode, Mesh } from './mesh.ts';
import { flows, type Player, players, Stage } from './stage.ts';

const tunnelPort = 15_008;

const mesh = await Mesh.up('kustomize');
t.teardown(() => mesh.cluster.dispose());
const { kubectl } = mesh.cluster;
const stage = await Stage.set(mesh);
t.teardown(() => stage.clear());
const { namespace } = stage;
const here = `--namespace=${namespace}`;
const livesBefore = await stage.lives();

/** Requests from client to both others, each with a path that can be looked for on the wire. */
async function canaries(t: Test, song: string): Promise<void> {
  for (const to of ['near', 'far'] as const) {
    const asked = await stage.ask('client', to, `/${song}-${to}`);
    t.equal(asked.code, 0, `${to} has answered ${asked.stderr}`);
    t.match(asked.stdout, `/${song}-${to}`);
  }
}

t.test('before the label, everything is in the clear', async t => {
  const heard = await mesh.overheard(() => canaries(t, 'before'));
  t.ok(heard.contains('/before-far'), 'the request to the other node was heard');
});

t.test('the label brings running pods in, without a restart', async t => {
  await mesh.enrol(namespace, players);
  t.strictSame(await stage.lives(), livesBefore);
});

t.test('between nodes there is only TLS', async t => {
  const addresses = await Promise.all(players.map(async player => (await stage.pod(player)).status.podIP));
  const heard = await mesh.overheard(() => canaries(t, 'inside'));
  t.notOk(heard.contains('/inside-'), 'no request was heard');
  const ours = heard.flows.filter(
    ({ source, destination, payload }) =>
      addresses.includes(source) && addresses.includes(destination) && payload.length > 0,
  );
  t.ok(ours.length > 0, 'though there was traffic');
  for (const flow of ours) {
    t.ok([flow.sourcePort, flow.destinationPort].includes(tunnelPort), `port ${flow.destinationPort}`);
    // A connection that is older than the capture need not begin with the beginning of a record.
    if (flow.complete) t.equal(tlsRecords(flow.payload).otherBytes, 0, 'TLS from the first byte to the last');
  }
});

t.test('who speaks with whom is known on both nodes', async t => {
  await canaries(t, 'known');
  const far = await mesh.line('node-b', {
    direction: 'inbound',
    'src.identity': stage.identity('client'),
    'dst.workload': 'far',
  });
  t.match(far, { security: 'mutual_tls', 'dst.identity': stage.identity('far') });
  const near = await mesh.line('node-a', { direction: 'local', 'dst.workload': 'near' });
  t.match(near, { 'src.identity': stage.identity('client'), 'src.workload': 'client' });
});

t.test('a stranger is heard until STRICT, and not after', async t => {
  t.equal((await stage.ask('stranger', 'near')).code, 0, 'PERMISSIVE, within the node');
  t.equal((await stage.ask('stranger', 'far')).code, 0, 'PERMISSIVE, from another node');
  await kubectl.apply([peerAuthentication({ namespace, mode: 'STRICT' })]);
  for (const to of ['near', 'far'] as const) {
    await refused(t, 'stranger', to);
    t.equal((await stage.ask('client', to)).code, 0, `the client is heard by ${to}`);
  }
});

t.test('under STRICT the kubelet has its answers', async t => {
  await kubectl.apply([talkPod({ name: 'late', namespace, node: 'node-b' })]);
  await kubectl.waitFor('condition=Ready', ['pod/late', here]);
  await mesh.untilEnrolled(namespace, ['late']);
  for (const player of players) {
    const { status } = await stage.pod(player);
    t.equal(status.conditions.find(({ type }) => type === 'Ready')?.status, 'True', `${player} is ready`);
  }
});

t.test('a policy names who may come, and is in force at once', async t => {
  const near = { namespace, app: 'near', action: 'ALLOW' } as const;
  const principal = (name: string): string => `cluster.local/ns/${namespace}/sa/${name}`;
  const policy = authorizationPolicy({ ...near, rules: [from({ principals: [principal('far')] })] });
  await kubectl.apply([{ ...policy, apiVersion: 'culvert.dev/v1' }]);
  await refused(t, 'client', 'near');
  t.equal((await stage.ask('far', 'near')).code, 0, 'who is named comes in');
  await mesh.line('node-a', { code: 'POLICY_DENIED', 'dst.workload': 'near' });
  await kubectl.delete('authorizationpolicies.culvert.dev', '--all', here);
  await eventually(async () => (await stage.ask('client', 'near')).code === 0, {
    what: 'the policy to be gone',
  });
});

t.test('another namespace joins, and pods made in it are in from their start', async t => {
  const bank = `bank-${process.pid}`;
  t.teardown(() => kubectl.abandon(bank));
  await kubectl.apply([
    namespaceObject(bank, { [dataplaneMode]: 'ambient' }),
    talkPod({ name: 'teller', namespace: bank, node: 'node-b' }),
  ]);
  await kubectl.waitFor('condition=Ready', ['pod/teller', `--namespace=${bank}`]);
  await mesh.untilEnrolled(bank, ['teller']);
  const asked = await kubectl.exec({ name: 'teller', namespace: bank }, [
    'talk',
    'ask',
    `http://near.${namespace}/`,
  ]);
  t.equal(asked.code, 0, 'STRICT is for strangers');
  t.match(await mesh.line('node-a', { 'src.identity': `spiffe://cluster.local/ns/${bank}/sa/default` }), {
    'dst.workload': 'near',
  });
});

t.test('without the label they leave, and what is open stays open', async t => {
  await kubectl.delete('peerauthentications.culvert.dev', '--all', here);
  await using near = stage.stream('client', 'near');
  await using far = stage.stream('client', 'far');
  await Promise.all([flows(near), flows(far)]);
  await mesh.release(namespace, players);
  await Promise.all([flows(near), flows(far)]);
  const heard = await mesh.overheard(() => canaries(t, 'after'));
  t.ok(heard.contains('/after-far'), 'new connections are in the clear again');
  t.strictSame(await stage.lives(), livesBefore, 'and still no pod was restarted');
});

/** Until a change has reached the nodes, somebody may still come through. */
async function refused(t: Test, who: Player | 'stranger', to: Player): Promise<void> {
  await eventually(async () => (await stage.ask(who, to)).code !== 0, {
    what: `${who} being refused by ${to}`,
  });
  t.pass(`${who} is refused by ${to}`);
}
