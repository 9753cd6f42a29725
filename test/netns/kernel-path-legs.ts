/**
 * Legs between applications and agents, joined by the kernel: between nodes the bytes and ends are those of TCP, both
 * agents count them, and a program whose socket blocks is left alone.
 */
import t from 'tap';
import { buildTools } from '../../bench/tools/build.ts';
import { AgentLab } from '../help/agent-lab.ts';
import { eventually } from '../lab/eventually.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

/** Says a few small things, so that its leg is one to join, and then never reads. */
const neverReads = `
import select, socket, sys
listener = socket.socket(socket.AF_INET6)
listener.bind(('::', int(sys.argv[1])))
listener.listen(8)
kept = []
while True:
    accepted = listener.accept()[0]
    accepted.setblocking(False)
    for _ in range(8):
        select.select([accepted], [], [])
        accepted.send(accepted.recv(1))
    kept.append(accepted)
`;

/** Talks for a while and then prints how many bytes go in until no more are taken for two seconds. */
const floods = `
import select, socket, sys
s = socket.socket()
s.setblocking(False)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
for _ in range(8):
    select.select([], [s], [])
    s.send(b'a')
    select.select([s], [], [])
    s.recv(1)
taken, chunk = 0, b'a' * 262144
while taken < 1 << 29 and select.select([], [s], [], 2)[1]:
    try:
        taken += s.send(chunk)
    except BlockingIOError:
        pass
print(taken)
`;

/** Talks for a while, then reads nothing until it is told to, and prints how it ended. */
const stalls = `
import errno, select, socket, sys
listener = socket.socket(socket.AF_INET6)
listener.bind(('::', int(sys.argv[1])))
listener.listen(8)
s = listener.accept()[0]
s.setblocking(False)
def get():
    select.select([s], [], [])
    return s.recv(65536)
for _ in range(8):
    s.send(get())
sys.stdin.readline()
try:
    while get():
        pass
    print('END', flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
`;

/** Fills a connection whose peer has stalled, says so, and prints how it ended. */
const fills = `
import errno, select, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.setblocking(False)
for _ in range(8):
    s.send(b'a')
    select.select([s], [], [])
    s.recv(1)
while select.select([], [s], [], 1)[1]:
    try:
        s.send(b'a' * 4096)
    except BlockingIOError:
        pass
print('full', flush=True)
select.select([s], [], [])
try:
    print(s.recv(1) or 'END', flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
`;

/** Accepts when it is told to, and prints how many bytes it got. */
const accepts = `
import select, socket, sys
listener = socket.socket(socket.AF_INET6)
listener.bind(('::', int(sys.argv[1])))
listener.listen(8)
sys.stdin.readline()
s = listener.accept()[0]
s.setblocking(False)
print('accepted', flush=True)
got = 0
while select.select([s], [], []) and (chunk := s.recv(4096)):
    got += len(chunk)
print(got, flush=True)
`;

/** Sends thirty bytes one by one for each line of its input, and says so. */
const speaks = `
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)
for _ in sys.stdin:
    for _ in range(30):
        s.send(b'a')
        time.sleep(0.01)
    print('sent', flush=True)
`;

const echoes = `
import socket, sys, threading
listener = socket.socket(socket.AF_INET6)
listener.bind(('::', int(sys.argv[1])))
listener.listen(8)
def serve(accepted):
    # With a timeout Python's sockets do not block.
    accepted.settimeout(60)
    while words := accepted.recv(4096):
        accepted.sendall(words)
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]]).start()
`;

/** Says words until its standard input ends, and prints a dot for each that comes back as it was said. */
const talks = `
import select, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)
if 'zerocopy' in sys.argv:
    SO_ZEROCOPY = 60
    s.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
said = 0
while not select.select([sys.stdin], [], [], 0.01)[0]:
    said += 1
    words = b'%8d' % said * (700 if 'long' in sys.argv else 1)
    for _ in range(3):
        s.sendall(words)
    heard = b''
    while len(heard) < 3 * len(words):
        heard += s.recv(65536) or sys.exit(f'ended after {said} words')
    if heard != 3 * words:
        sys.exit(f'word {said} came back wrong')
    print('.', end='', flush=True)
`;

const [nodeA, nodeB] = ['node-a', 'node-b'];
const tools = await buildTools();
const stage = await AgentLab.create({
  name: 'legs',
  pods: [
    { name: 'client', namespace: 'shop', node: nodeA },
    { name: 'server', namespace: 'shop', node: nodeB },
  ],
  agent: { args: ['--kernel-path', 'join', '--limit', 'joinBytes=4096'] },
});
t.teardown(() => stage[Symbol.asyncDispose]());
const [client, server] = [stage.pod('client'), stage.pod('server')];
const port = 7000;
const serving = server.spawn(tools.pattern, ['server', String(port), 'nonblocking']);
const blocking = server.spawn(tools.pattern, ['server', String(port + 1)]);
const echo = server.spawn('python3', ['-c', echoes, String(port + 3)]);
const silent = server.spawn('python3', ['-c', neverReads, String(port + 2)]);
await Promise.all([
  serving.listensOn(port),
  blocking.listensOn(port + 1),
  silent.listensOn(port + 2),
  echo.listensOn(port + 3),
]);

/** What the kernel of a node has decided so often until now. */
function decided(node: string, decision: string): Promise<number> {
  return stage.agent(node).metric('culvert_redirect_decisions_total', { decision });
}

/** How often legs of both nodes were joined and left alone while something ran. */
async function legs(run: () => Promise<unknown>): Promise<{ joined: number[]; apart: number[] }> {
  const all = (decision: string): Promise<number[]> =>
    Promise.all([nodeA, nodeB].map(node => decided(node, decision)));
  const before = [await all('leg_joined'), await all('leg_apart')];
  await run();
  const after = [await all('leg_joined'), await all('leg_apart')];
  const [joined = [], apart = []] = after.map((counts, kind) =>
    counts.map((count, node) => count - (before[kind]?.[node] ?? 0)),
  );
  return { joined, apart };
}

async function pattern(to: string, at: number, ...options: readonly string[]): Promise<void> {
  const args = ['client', to, String(at), '--stall', '60000', ...options];
  const { code, stdout } = await client.run(tools.pattern, args, { check: false, timeoutMs: 120_000 });
  if (code !== 0) throw new Error(`exit ${code}: ${stdout.slice(-500)}`);
}

for (const [family, address] of [
  ['IPv4', server.address],
  ['IPv6', server.address6],
] as const) {
  t.test(`${family}: legs are joined, and bytes, ends and books are right`, async t => {
    const turns = await decided(nodeB, 'path_to_tcp');
    // Pauses make messages of it; a transfer without is left to TCP.
    const sessions = ['--sessions', '4', '--seed', '7', '--pauses', '--nonblocking'];
    const { joined } = await legs(() =>
      pattern(address, port, '--up', '3000000', '--down', '2000000', ...sessions),
    );
    t.ok(joined[1], `${joined[1]} of 4 joined at the destination`);
    t.ok((await decided(nodeB, 'path_to_tcp')) > turns, 'the limit has been reached');
    const addr = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
    // The header of the session, and the server's last byte.
    const [up, down] = [3_000_000 + 48, 2_000_001];
    const source = await stage.line(nodeA, { 'dst.addr': addr, bytes_sent: up });
    t.match(source, { bytes_recv: down, msg: 'connection complete' });
    const destination = await stage.line(nodeB, { 'dst.addr': addr, bytes_recv: up });
    t.match(destination, { bytes_sent: down, msg: 'connection complete' });
  });
}

t.test('many at a time, with pauses, either end first', async t => {
  for (const end of ['client', 'server']) {
    const many = ['--sessions', '9', '--parallel', '9', '--pauses', '--first-end', end, '--nonblocking'];
    const run = (): Promise<void> =>
      pattern(server.address, port, '--up', '2000000', '--down', '2000000', '--seed', '100', ...many);
    // What the source's agent is late to read is much at a time, and stays on TCP.
    const [, joined = 0] = (await legs(run)).joined;
    t.ok(joined > 0, `${joined} of 9 joined`);
  }
});

t.test('an application that is slow to accept is waited for', async t => {
  const own = port + 6;
  const slow = server.spawn('python3', ['-c', accepts, String(own)]);
  await slow.listensOn(own);
  const { joined, apart } = await legs(async () => {
    const speaking = client.spawn('python3', ['-c', speaks, server.address, String(own)]);
    speaking.stdin.write('\n');
    await speaking.says(/sent/);
    slow.stdin.write('\n');
    await slow.says(/accepted/);
    speaking.stdin.end('\n');
    await slow.exited;
    t.equal(slow.stdout(), 'accepted\n60\n', slow.stderr());
  });
  t.equal(joined[1], 1);
  t.equal(apart[1], 0);
});

t.test('programs whose sockets block stay on TCP', async t => {
  const run = (): Promise<void> =>
    pattern(server.address, port + 1, '--up', '3000000', '--down', '3000000', '--sessions', '4');
  const { joined, apart } = await legs(run);
  t.same(joined, [0, 0]);
  t.same(apart, [4, 4]);
});

t.test('messages of which a part goes by TCP arrive whole', async t => {
  const turns = await decided(nodeA, 'path_to_tcp');
  const talking = client.spawn('python3', ['-c', talks, server.address, String(port + 3), 'long']);
  await talking.says(/\.{60}/, 30_000);
  talking.stdin.end();
  t.same(await talking.exited, { code: 0, signal: null }, talking.stderr());
  t.ok((await decided(nodeA, 'path_to_tcp')) > turns, 'as the limit wants it');
});

t.test('a program that waits for word of its memory stays on TCP', async t => {
  const { joined, apart } = await legs(async () => {
    const talking = client.spawn('python3', ['-c', talks, server.address, String(port + 3), 'zerocopy']);
    await talking.says(/\.{20}/);
    talking.stdin.end();
    t.same(await talking.exited, { code: 0, signal: null }, talking.stderr());
  });
  t.same(joined, [0, 1], 'its peer does not');
  t.same(apart, [1, 0]);
});

t.test('a reader that never reads holds its writer back, and nobody else', { timeout: 60_000 }, async t => {
  let taken = 0;
  const { joined } = await legs(async () => {
    const { stdout } = await client.run('python3', ['-c', floods, server.address, String(port + 2)]);
    taken = Number(stdout);
  });
  t.same(joined, [1, 1]);
  t.ok(taken > 0 && taken < 64 * 1_048_576, `${taken} bytes were taken before the writer had to wait`);
  const others = ['--up', '3000000', '--down', '3000000', '--nonblocking'];
  await t.resolves(pattern(server.address, port, ...others), 'others go on');
});

t.test('an agent that another one replaces carries its joined legs to their end', async t => {
  const before = await decided(nodeA, 'leg_joined');
  const talking = client.spawn('python3', ['-c', talks, server.address, String(port + 3)]);
  await eventually(async () => (await decided(nodeA, 'leg_joined')) > before, { what: 'a joined leg' });
  const { old } = await stage.replaceAgent(nodeA);
  const said = talking.stdout().length;
  await eventually(() => talking.stdout().length > said, { what: 'words after the change of agents' });
  t.ok(old.process.running, 'by the agent that is replaced');
  talking.stdin.end();
  t.same(await talking.exited, { code: 0, signal: null }, talking.stderr());
});

for (const [at, node] of [nodeA, nodeB].entries()) {
  t.test(`what the agent of ${node} has carried half does not look whole when it is killed`, async t => {
    const own = port + 4 + at;
    const reader = server.spawn('python3', ['-c', stalls, String(own)]);
    await reader.listensOn(own);
    const filling = client.spawn('python3', ['-c', fills, server.address, String(own)]);
    const { joined } = await legs(() => filling.says(/full/, 30_000));
    t.same(joined, [1, 1]);
    await stage.agent(node).kill();
    await filling.exited;
    t.equal(filling.stdout(), 'full\nECONNRESET\n', 'by the writer');
    reader.stdin.end('\n');
    await reader.exited;
    t.equal(reader.stdout(), 'ECONNRESET\n', 'by the reader');
    await stage.startAgent(node);
  });
}
