/**
 * Joined sockets of a pod whose memory is limited: what waits unread is charged to it, as with TCP; no writer sees an error for
 * it, and nobody else notices.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { buildTools } from '../../bench/tools/build.ts';
import { KernelPathLab } from '../help/kernel-path-lab.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const socketBytes = 1_048_576;
const legacy = '/sys/fs/cgroup/memory';

/** Reads nothing of what it accepts. It speaks first, once the socket does not block: written to before, it would be known as one that does. */
const neverReads = `
import select, socket, sys
listener = socket.socket(socket.AF_INET6)
listener.bind(('::', int(sys.argv[1])))
listener.listen(64)
kept = []
while True:
    accepted = listener.accept()[0]
    accepted.setblocking(False)
    accepted.send(b'k')
    kept.append(accepted)
`;

/** Fills so many connections until none takes any more, and prints bytes and errors. */
const fills = `
import errno, json, select, socket, sys
opened, taken, errors = [], 0, []
for _ in range(int(sys.argv[3])):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((sys.argv[1], int(sys.argv[2])))
    select.select([], [s], [])
    select.select([s], [], [])
    s.recv(1)
    opened.append(s)
while ready := select.select([], opened, [], 0.5)[1]:
    for s in ready:
        try:
            taken += s.send(b'a' * 65536)
        except BlockingIOError:
            pass
        except OSError as error:
            errors.append(errno.errorcode[error.errno])
            opened.remove(s)
print(json.dumps([taken, errors]))
`;

const tools = await buildTools();
const stage = await KernelPathLab.create('path-memory', { mode: 'join', limit: 262_144, pods: ['other'] });
t.teardown(() => stage[Symbol.asyncDispose]());
const { client, server, agents } = stage;
const other = agents.pod('other');
const [port, otherPort] = [7000, 7001];
const reader = server.spawn('python3', ['-c', neverReads, String(port)]);
await reader.listensOn(port);
const serving = other.spawn(tools.pattern, ['server', String(otherPort), 'nonblocking']);
await serving.listensOn(otherPort);

/** Bytes of sockets that are charged to the reader, after its memory was limited. */
function limitMemory(): () => number {
  if (existsSync(join(legacy, 'memory.kmem.tcp.limit_in_bytes'))) {
    const group = join(legacy, `culvert-memory-${process.pid}`);
    mkdirSync(group);
    agents.lab.remember({ legacyCgroups: [group] });
    writeFileSync(join(group, 'memory.kmem.tcp.limit_in_bytes'), String(socketBytes));
    writeFileSync(join(group, 'cgroup.procs'), String(reader.pid));
    return () => Number(readFileSync(join(group, 'memory.kmem.tcp.usage_in_bytes'), 'utf8'));
  }
  writeFileSync(join(server.cgroup, 'memory.max'), String(32 * socketBytes));
  return () =>
    Number(/^sock (\d+)$/m.exec(readFileSync(join(server.cgroup, 'memory.stat'), 'utf8'))?.[1] ?? 0);
}

async function fill(connections: number): Promise<[taken: number, errors: readonly string[]]> {
  const args = ['-c', fills, server.address, String(port), String(connections)];
  const { stdout } = await client.run('python3', args);
  return JSON.parse(stdout) as [number, readonly string[]];
}

const sizes = ['--up', '3000000', '--down', '3000000', '--sessions', '4'];
const talk = ['client', other.address, String(otherPort), '--nonblocking', '--stall', '60000', ...sizes];
const pattern = (): Promise<unknown> => client.run(tools.pattern, talk);

t.test('many readers that never read', { timeout: 90_000 }, async t => {
  const charged = limitMemory();
  await stage.learn(server.address, port, () => fill(1));
  await stage.learn(other.address, otherPort, pattern);
  const before = await stage.decisions();
  const connections = 32;
  const filling = fill(connections);
  await t.resolves(pattern(), 'others go on meanwhile');
  const [taken, errors] = await filling;
  const after = await stage.decisions();
  t.ok(after('path_joined') - before('path_joined') >= connections);
  t.same(errors, [], 'no writer sees an error');
  t.ok(reader.running, 'nor is the reader killed');
  t.comment(`${taken} bytes were taken, ${charged()} are charged`);
  await t.resolves(pattern(), 'nor is there less for others');
});
