/**
 * A verdict that is revoked while a connection under it begins: a SYN that comes late is turned away, and what is accepted
 * late carries nothing and is ended by the books. Packets are lost until then.
 */
import t from 'tap';
import { KernelPathLab } from '../help/kernel-path-lab.ts';
import { authorizationPolicy, to } from '../help/policies.ts';
import { eventually } from '../lab/eventually.ts';
import type { LabPod } from '../lab/pod.ts';
import type { LabProcess } from '../lab/process.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

/** Says how many bytes it got from each, or that it was none. */
const serves = `
import socket, sys
listener = socket.socket()
listener.bind(('0.0.0.0', int(sys.argv[1])))
listener.listen(8)
while True:
    accepted = listener.accept()[0]
    print('accepted', flush=True)
    got = b''
    try:
        while chunk := accepted.recv(64):
            got += chunk
            accepted.sendall(b'k')
    except OSError:
        pass
    print('ended after %d bytes' % len(got), flush=True)
`;

/** Sends as soon as it is connected, and says what came of it, and on stderr from which port. */
const sends = `
import errno, socket, sys
s = socket.socket()
s.settimeout(30)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    print('connected', flush=True)
    print(s.getsockname()[1], file=sys.stderr, flush=True)
    s.sendall(b'secret')
    s.recv(1)
    print('answered', flush=True)
except OSError as error:
    print(errno.errorcode.get(error.errno, str(error)), flush=True)
`;

const port = 7000;
const deny = [authorizationPolicy({ action: 'DENY', rules: [to(port)] })];
const stage = await KernelPathLab.create('path-races', { mode: 'direct' });
t.teardown(() => stage[Symbol.asyncDispose]());
const { client, server, agents } = stage;
const serving = server.spawn('python3', ['-c', serves, String(port)]);
await serving.listensOn(port);
const connect = (): LabProcess => client.spawn('python3', ['-c', sends, server.address, String(port)]);

/** Where a client that has come to a connection has it. */
function addressOf(connected: LabProcess): string {
  return `${client.address}:${connected.stderr().trim()}`;
}

/** What one pod sends to the other goes nowhere; returns how to end that. */
async function cutOff(from: LabPod, to: LabPod): Promise<() => Promise<unknown>> {
  const neighbour = [to.address, 'dev', 'eth0'];
  await from.run('ip', ['neigh', 'replace', ...neighbour, 'lladdr', '02:00:00:00:00:01', 'nud', 'permanent']);
  return () => from.run('ip', ['neigh', 'del', ...neighbour]);
}

/** Loses what a pod sends from the client's SYN on, until the policy has changed; then the SYN comes again. */
async function changedMeanwhile(from: LabPod, to: LabPod): Promise<LabProcess> {
  await stage.learn(server.address, port, () => connect().exited);
  const before = await stage.decisions();
  const release = await cutOff(from, to);
  const opening = connect();
  await eventually(async () => (await stage.decisions())('path_opened') > before('path_opened'));
  await agents.apply('policy.yaml', deny);
  await release();
  await opening.exited;
  await agents.remove('policy.yaml');
  return opening;
}

t.test('revoked before its SYN comes: it is turned away', { timeout: 60_000 }, async t => {
  const before = await stage.decisions();
  const accepted = serving.stdout();
  const turnedAway = await changedMeanwhile(client, server);
  t.equal(turnedAway.stdout(), 'ECONNREFUSED\n');
  const after = await stage.decisions();
  t.equal(after('path_turned_away') - before('path_turned_away'), 1);
  const learnt = after('path_accepted') - before('path_accepted');
  const others =
    serving
      .stdout()
      .slice(accepted.length)
      .match(/accepted/g)?.length ?? 0;
  t.ok(others > learnt, 'the application has seen those before');
  t.equal(after('path_opened') - before('path_opened'), learnt + 1, 'and not this one');
});

t.test('revoked between its SYN and its accept: it carries nothing', { timeout: 60_000 }, async t => {
  const before = await stage.decisions();
  const late = await changedMeanwhile(server, client);
  t.match(late.stdout(), /^connected\n(EACCES|ECONNRESET|ECONNABORTED)\n$/);
  const after = await stage.decisions();
  t.equal(after('path_outrun') - before('path_outrun'), 1);
  t.equal(after('path_turned_away'), before('path_turned_away'));
  await eventually(() => serving.stdout().endsWith('ended after 0 bytes\n'), {
    what: 'its end at the server',
  });
  // What was learnt from is not over before that, and ends by the change as well.
  t.match(await stage.line({ 'src.addr': addressOf(late), code: 'POLICY_CHANGED' }), {
    security: 'kernel',
    policy: 'shop/test',
    bytes_sent: 0,
    'src.workload': 'client',
    'dst.workload': 'server',
  });
});

t.test('each connection is in the books once, however it ended', { timeout: 60_000 }, async t => {
  const known: LabProcess[] = [];
  await stage.learn(server.address, port, () => {
    const connecting = connect();
    known.unshift(connecting);
    return connecting.exited;
  });
  // The last is over for the server when the next one comes, and what the kernel has told before is in the books by then.
  await connect().exited;
  for (const last of known.slice(0, 1)) await stage.line({ 'src.addr': addressOf(last), security: 'kernel' });
  const sources = agents
    .lines('node-a')
    .filter(line => line['security'] === 'kernel')
    .map(line => line['src.addr']);
  t.ok(sources.length > 3);
  t.same(sources, [...new Set(sources)]);
});
