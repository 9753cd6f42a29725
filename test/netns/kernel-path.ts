/**
 * Connections between two pods of one node that the kernel carries alone: bytes and ends are those of TCP, and the books
 * say what they say of every other connection.
 */
import t from 'tap';
import { buildTools } from '../../bench/tools/build.ts';
import { KernelPathLab } from '../help/kernel-path-lab.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

/** Answers each connection with a byte, so that its socket has been seen, and never reads. */
const neverReads = `
import socket, sys
listener = socket.socket(socket.AF_INET6)
listener.bind(('::', int(sys.argv[1])))
listener.listen(8)
kept = []
while True:
    accepted = listener.accept()[0]
    accepted.setblocking(False)
    accepted.send(b'k')
    kept.append(accepted)
`;

/** Prints how many bytes go into a connection until it takes no more for half a second. */
const floods = `
import select, socket, sys
s = socket.socket()
s.setblocking(False)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
select.select([s], [], [])
s.recv(1)
taken, chunk = 0, b'a' * 262144
while taken < 1 << 28 and select.select([], [s], [], 0.5)[1]:
    try:
        taken += s.send(chunk)
    except BlockingIOError:
        pass
print(taken)
`;

const tools = await buildTools();
const stage = await KernelPathLab.create('kernel-path', { mode: 'join', limit: 65_536 });
t.teardown(() => stage[Symbol.asyncDispose]());
const { client, server } = stage;
const port = 7000;
const serving = server.spawn(tools.pattern, ['server', String(port), 'nonblocking']);
await serving.listensOn(port);

for (const [family, address] of [
  ['IPv4', server.address],
  ['IPv6', server.address6],
] as const) {
  t.test(`${family}: the first connection is the agent's, the next ones are the kernel's`, async t => {
    await stage.learn(address, port, () => pattern(address, '--up', '1000', '--down', '1000'));
    const before = await stage.decisions();
    await pattern(address, '--up', '3000000', '--down', '2000000', '--sessions', '4', '--seed', '7');
    const after = await stage.decisions();
    t.equal(after('path_accepted') - before('path_accepted'), 4);
    t.equal(after('connect_captured') - before('connect_captured'), 0);
    t.equal(after('path_joined') - before('path_joined'), 4, 'and joined');
    t.ok(after('path_to_tcp') - before('path_to_tcp') > 0, 'the limit has been reached');
    const line = await stage.line({
      security: 'kernel',
      'dst.addr': stage.name(address, port),
      // The header of the session.
      bytes_sent: 3_000_000 + 48,
    });
    t.match(line, {
      'src.identity': 'spiffe://cluster.local/ns/shop/sa/client',
      'dst.identity': 'spiffe://cluster.local/ns/shop/sa/server',
      'src.workload': 'client',
      'dst.workload': 'server',
      direction: 'local',
      // The server's last byte.
      bytes_recv: 2_000_001,
      msg: 'connection complete',
    });
  });
}

async function pattern(address: string, ...options: readonly string[]): Promise<void> {
  const args = ['client', address, String(port), '--nonblocking', '--stall', '60000', ...options];
  const { code, stdout } = await client.run(tools.pattern, args, { check: false, timeoutMs: 120_000 });
  if (code !== 0) throw new Error(`exit ${code}: ${stdout.slice(-500)}`);
}

t.test('programs whose sockets block stay on TCP', async t => {
  const other = 7001;
  const blocking = server.spawn(tools.pattern, ['server', String(other)]);
  await blocking.listensOn(other);
  const run = (...options: readonly string[]): Promise<unknown> =>
    client.run(tools.pattern, ['client', server.address, String(other), '--stall', '60000', ...options]);
  await stage.learn(server.address, other, () => run('--up', '9', '--down', '9'));
  const before = await stage.decisions();
  for (const end of ['client', 'server'])
    await run(
      '--up',
      '5000000',
      '--down',
      '5000000',
      '--sessions',
      '4',
      '--parallel',
      '2',
      '--first-end',
      end,
    );
  const after = await stage.decisions();
  t.equal(after('path_accepted') - before('path_accepted'), 8);
  t.equal(after('path_joined') - before('path_joined'), 0);
});

t.test('many at a time, with pauses, both families, either end first', async t => {
  for (const address of [server.address, server.address6]) {
    for (const end of ['client', 'server']) {
      const many = ['--sessions', '9', '--parallel', '9', '--pauses', '--first-end', end];
      await t.resolves(pattern(address, '--up', '2000000', '--down', '2000000', '--seed', '100', ...many));
    }
  }
});

t.test('a reader that never reads holds its writer back, and nobody else', { timeout: 60_000 }, async t => {
  const silent = 7002;
  const reader = server.spawn('python3', ['-c', neverReads, String(silent)]);
  await reader.listensOn(silent);
  const flood = async (): Promise<number> => {
    const { stdout } = await client.run('python3', ['-c', floods, server.address, String(silent)]);
    return Number(stdout);
  };
  // The first goes through the agent, the second shows the kernel how these programs are.
  await stage.learn(server.address, silent, flood);
  const before = await stage.decisions();
  const taken = await flood();
  const after = await stage.decisions();
  t.equal(after('path_joined') - before('path_joined'), 1);
  t.ok(taken > 0 && taken < 32 * 1_048_576, `${taken} bytes were taken before the writer had to wait`);
  await t.resolves(pattern(server.address, '--up', '3000000', '--down', '3000000'), 'others go on');
});
