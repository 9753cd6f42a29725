/**
 * The lab itself: what tests, the benchmark and the demo stand on must do what it says and leave nothing behind.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseAllDocuments } from 'yaml';
import { cgroup2Mount } from '../lab/cgroup.ts';
import { command } from '../lab/commands.ts';
import { eventually } from '../lab/eventually.ts';
import { Lab } from '../lab/lab.ts';
import { tlsRecords } from '../lab/pcap.ts';
import type { LabPod } from '../lab/pod.ts';
import { abandonedLabs } from '../lab/sweep.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

/** Tests of several checkouts may run on one machine. */
const unique = `self-${process.pid}`;
const twoNodes = ['node-a', 'node-b'] as const;

t.test('pods reach each other over IPv4 and IPv6, on one node and across nodes', async t => {
  await using lab = await Lab.create({ name: `${unique}-reach`, nodes: twoNodes });
  const pods = await lab.pods([
    { name: 'client', node: 'node-a' },
    { name: 'near', node: 'node-a' },
    { name: 'far', node: 'node-b' },
  ]);
  const [client, near, far] = pods as [LabPod, LabPod, LabPod];
  for (const server of [near, far, lab.outside]) {
    for (const address of [server.address, server.address6]) {
      await serveOnce(server, address, `from ${server.name}`);
      t.equal(await fetchLine(client, address), `from ${server.name}`, `${server.name} at ${address}`);
    }
  }
});

t.test('a pod is made in a moment, and many at once', async t => {
  await using lab = await Lab.create({ name: `${unique}-many`, nodes: twoNodes });
  const specs = Array.from({ length: 6 }, (_, n) => ({
    name: `pod-${n}`,
    node: twoNodes[n % 2] ?? 'node-a',
  }));
  const begin = performance.now();
  await lab.pods(specs);
  t.ok(performance.now() - begin < 1_000, 'six pods in less than a second');
  t.equal(new Set(lab.allPods.map(pod => pod.address)).size, 6, 'each with its own address');
  await t.rejects(lab.pod({ name: 'pod-0', node: 'node-a' }), { code: 'LAB_NAME_TAKEN' });
});

t.test('a program runs in its pod: namespace, cgroup, resolver, output, exit', async t => {
  await using lab = await Lab.create({ name: `${unique}-run`, nodes: ['node-a'] });
  const pod = await lab.pod({ name: 'pod', node: 'node-a', namespace: 'shop' });
  const { stdout } = await pod.run(
    'sh',
    ['-c', 'ip -o addr show eth0; cat /proc/self/cgroup /etc/resolv.conf; ulimit -n'],
    {
      openFiles: 4321,
    },
  );
  t.match(stdout, `${pod.address}/24`, 'has the address of the pod');
  t.match(stdout, `0::${pod.cgroup.slice(cgroup2Mount().length)}\n`, 'is in the cgroup of the pod');
  t.ok(pod.cgroup.startsWith(`${lab.node('node-a').cgroup}/`), 'which is below that of its node');
  t.match(
    stdout,
    `nameserver ${lab.outside.address}\nsearch shop.svc.cluster.local `,
    'has a resolver of its own',
  );
  t.match(stdout, /^4321$/m, 'has the file limit asked for');
  await t.rejects(pod.run('sh', ['-c', 'echo no >&2; exit 3']), {
    code: 'LAB_PROGRAM_FAILED',
    message: /ended with 3: no/,
  });
  t.equal((await pod.run('sh', ['-c', 'exit 3'], { check: false })).code, 3);
  await t.rejects(pod.spawn('sh', ['-c', 'echo why >&2']).says(/ready/), {
    code: 'LAB_PROCESS_ENDED',
    message: /why/,
  });
  await t.rejects(pod.spawn('true').listensOn(1), { code: 'LAB_PROCESS_ENDED' });
  t.equal((await pod.run('cat', [], { input: 'given' })).stdout, 'given');
  const sleeper = pod.spawn('sleep', ['1000']);
  await eventually(() => readFileSync(`/proc/${sleeper.pid}/comm`, 'utf8') === 'sleep\n');
  t.same(
    await sleeper.stop(),
    { code: null, signal: 'SIGTERM' },
    'its process id is the one of the program itself',
  );
});

t.test('a capture shows what crosses the wire and only that', async t => {
  await using lab = await Lab.create({ name: `${unique}-wire`, nodes: twoNodes });
  const pods = await lab.pods([
    { name: 'client', node: 'node-a' },
    { name: 'near', node: 'node-a' },
    { name: 'far', node: 'node-b' },
  ]);
  const [client, near, far] = pods as [LabPod, LabPod, LabPod];
  const capture = await lab.capture(lab.node('node-a'), 'eth0', { filter: 'tcp' });
  await serveOnce(far, far.address, 'CANARY-FAR');
  await fetchLine(client, far.address);
  await serveOnce(far, far.address6, 'CANARY-SIX');
  await fetchLine(client, far.address6);
  await serveOnce(near, near.address, 'CANARY-NEAR');
  await fetchLine(client, near.address);
  // A canary cut in two by the sender: no single packet holds it.
  await serveOnce(far, far.address, 'CANARY-', 'CUT');
  await fetchLine(client, far.address);
  const seen = await capture.stop();
  t.ok(seen.contains('CANARY-FAR'), 'what went to the other node');
  t.ok(seen.contains(Buffer.from('CANARY-SIX')), 'also over IPv6');
  t.notOk(seen.contains('CANARY-NEAR'), 'nothing of what stayed on the node');
  t.ok(seen.contains('CANARY-CUT'), 'what was spread over two packets');
  t.notOk(
    seen.packets.some(packet => packet.payload.includes('CANARY-CUT')),
    'which no single packet shows',
  );
  t.equal(seen.dropped, 0);
  const answer = seen.flows.find(flow => flow.source === far.address6 && flow.sourcePort === port);
  t.match(answer, {
    destination: client.address6,
    protocol: 'tcp',
    complete: true,
    payload: Buffer.from('CANARY-SIX\n'),
  });
  t.same(
    tlsRecords(Buffer.from('CANARY-SIX\n')),
    { records: 0, tlsBytes: 0, otherBytes: 11 },
    'and it was not TLS',
  );
});

t.test('an address goes to the next pod as soon as its pod is deleted', async t => {
  await using lab = await Lab.create({ name: `${unique}-reuse`, nodes: twoNodes });
  const client = await lab.pod({ name: 'client', node: 'node-b' });
  const used: string[] = [];
  for (const name of ['first', 'second', 'first']) {
    const pod = await lab.pod({ name, node: 'node-a' });
    used.push(pod.address, pod.address6);
    for (const address of [pod.address, pod.address6]) {
      await serveOnce(pod, address, pod.uid);
      t.equal(await fetchLine(client, address), pod.uid, `${address} is ${name}`);
    }
    const orphan = pod.spawn('sleep', ['1000']);
    await pod.delete();
    t.same(await orphan.exited, { code: null, signal: 'SIGKILL' });
    t.notOk(existsSync(pod.netnsPath));
  }
  t.equal(new Set(used).size, 2, 'all three had the same addresses');
});

t.test('the configuration describes the pods as they are', async t => {
  await using lab = await Lab.create({ name: `${unique}-yaml`, nodes: ['node-a'] });
  const pod = await lab.pod({
    name: 'web',
    node: 'node-a',
    namespace: 'shop',
    labels: { app: 'web' },
    ports: { http: 80 },
  });
  const directory = join(lab.directory, 'config');
  lab.writeConfig(directory, { namespaceLabels: { shop: { mesh: 'on' } } });
  const read = (file: string): unknown[] =>
    parseAllDocuments(readFileSync(join(directory, file), 'utf8')).map(
      document => document.toJS() as unknown,
    );
  t.match(read('pods.yaml'), [
    {
      kind: 'Pod',
      metadata: {
        name: 'web',
        namespace: 'shop',
        uid: pod.uid,
        annotations: { 'culvert.dev/netns': pod.netnsPath },
      },
      spec: { nodeName: 'node-a', serviceAccountName: 'default' },
      status: { podIPs: [{ ip: pod.address }, { ip: pod.address6 }] },
    },
  ]);
  t.match(read('namespaces.yaml'), [
    { kind: 'Namespace', metadata: { labels: { mesh: 'on' } } },
    { kind: 'ServiceAccount' },
  ]);
  t.same(readdirSync(directory).sort(), ['namespaces.yaml', 'pods.yaml']);
});

t.test('dispose leaves nothing, twice', async t => {
  const name = `${unique}-end`;
  const lab = await Lab.create({ name, nodes: twoNodes, pods: [{ name: 'pod', node: 'node-a' }] });
  const pod = lab.allPods[0] as LabPod;
  // One that ignores signals, and one that has left the cgroup's tree of parents.
  pod.spawn('sh', ['-c', 'trap "" TERM INT HUP; sleep 1000 & wait']);
  await pod.run('sh', ['-c', 'setsid sleep 1000 >/dev/null 2>&1 &']);
  await lab.capture(lab.node('node-a'), 'eth0');
  t.ok((await leftovers(name)).length > 5, 'while it is up it is seen');
  // Some that have not got as far as their cgroup.
  for (let n = 0; n < 10; n++) pod.spawn('sleep', ['1000']);
  await lab.dispose();
  await nothingIsLeft(t, name);
  await lab.dispose();
});

t.test('two processes cannot have the same lab', async t => {
  const name = `${unique}-mine`;
  await using lab = await Lab.create({ name, nodes: ['node-a'] });
  await t.rejects(Lab.create({ name, nodes: ['node-a'] }), { code: 'LAB_IN_USE' });
  t.ok(existsSync(lab.node('node-a').netnsPath), 'and the first is unharmed');
});

t.test('a lab ends with its owner, however that ends', async t => {
  const endings: Readonly<Record<string, { last: string; signal: NodeJS.Signals | null }>> = {
    'by SIGTERM': { last: 'await new Promise(() => setInterval(() => {}, 1000))', signal: 'SIGTERM' },
    'by Ctrl-C': { last: 'await new Promise(() => setInterval(() => {}, 1000))', signal: 'SIGINT' },
    'by an uncaught error': { last: 'throw new Error("on purpose")', signal: null },
    'by process.exit': { last: 'process.exit(3)', signal: null },
  };
  for (const [how, { last, signal }] of Object.entries(endings)) {
    const name = `${unique}-owner`;
    const owner = ownerOf(name, last);
    await owner.up;
    if (signal !== null) owner.child.kill(signal);
    const exit = await owner.exited;
    t.equal(exit.signal, signal, how);
    await nothingIsLeft(t, name, `${how}: nothing is left`);
  }
});

t.test('what a killed process leaves is swept', async t => {
  const name = `${unique}-killed`;
  const owner = ownerOf(name, 'await new Promise(() => setInterval(() => {}, 1000))');
  await owner.up;
  t.notOk(abandonedLabs().includes(name), 'not while it is alive');
  owner.child.kill('SIGKILL');
  await owner.exited;
  t.ok((await leftovers(name)).length > 5, 'kill -9 leaves something');
  // By name: a sweep of all that is abandoned would reach labs that are not ours.
  t.ok(abandonedLabs().includes(name), 'it is known as abandoned');
  t.same(await Lab.sweep(name), [name]);
  await nothingIsLeft(t, name);
});

t.test('a lab of the same name takes the place of a killed one', async t => {
  const name = `${unique}-again`;
  const owner = ownerOf(name, 'await new Promise(() => setInterval(() => {}, 1000))');
  await owner.up;
  owner.child.kill('SIGKILL');
  await owner.exited;
  const lab = await Lab.create({ name, nodes: ['node-a'] });
  t.same(lab.allPods, []);
  await lab.dispose();
  await nothingIsLeft(t, name);
});

t.test('a lab that is kept outlives its owner until it is swept by name', async t => {
  const name = `${unique}-kept`;
  const owner = ownerOf(name, 'lab.keep()');
  await owner.up;
  t.same(await owner.exited, { code: 0, signal: null }, 'the programs do not hold their owner');
  const before = await leftovers(name);
  t.ok(
    before.some(line => line.startsWith('process')),
    'a program is running',
  );
  t.notOk(abandonedLabs().includes(name), 'a general sweep would leave it alone');
  t.same(await leftovers(name), before);
  t.same(await Lab.sweep(name), [name]);
  await nothingIsLeft(t, name);
});

const port = 7000;

/** Answers one connection with one line, whose parts leave in packets of their own. */
async function serveOnce(place: LabPod | Lab['outside'], address: string, ...parts: string[]): Promise<void> {
  const program = [
    'import socket, sys',
    'family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET',
    's = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)',
    'c, _ = s.accept()',
    'c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)',
    'for part in sys.argv[3:]: c.send(part.encode())',
    'c.send(b"\\n")',
    'c.close()',
  ].join('\n');
  const server = place.spawn('python3', ['-c', program, address, String(port), ...parts]);
  await server.listensOn(port);
}

async function fetchLine(place: LabPod, address: string): Promise<string> {
  const program = [
    'import socket, sys',
    's = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)',
    'print(s.makefile().read(), end="")',
  ].join('\n');
  const { stdout } = await place.run('python3', ['-c', program, address, String(port)]);
  return stdout.trim();
}

/** A process of its own that makes a lab with a pod and two programs, and then does `last`. */
function ownerOf(name: string, last: string) {
  const program = [
    `import { Lab } from ${JSON.stringify(new URL('../lab/lab.ts', import.meta.url).href)};`,
    `const lab = await Lab.create({ name: '${name}', nodes: ['node-a', 'node-b'], pods: [{ name: 'pod', node: 'node-a' }] });`,
    'lab.allPods[0].spawn("sleep", ["1000"]);',
    'lab.node("node-b").spawn("sleep", ["1000"]);',
    'console.log("up");',
    last,
  ].join('\n');
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>(resolve => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  return { child, up: new Promise(resolve => child.stdout.once('data', resolve)), exited };
}

/** A killed process is seen for a moment after nobody counts it any more. */
async function nothingIsLeft(t: Test, name: string, message = 'nothing is left'): Promise<void> {
  const gone = async (): Promise<boolean> => (await leftovers(name)).length === 0;
  await eventually(gone, { timeoutMs: 1_000 }).catch(() => false);
  t.same(await leftovers(name), [], message);
}

/** Everything on this machine that bears a lab's name. */
async function leftovers(name: string): Promise<string[]> {
  const mine = `cv-${name}`;
  const found = (await command('ip', ['netns', 'list'])).split('\n').filter(line => line.startsWith(mine));
  const namespaces = found.map(line => `namespace ${line.split(' ')[0]}`);
  const cgroups = existsSync(join(cgroup2Mount(), mine)) ? [`cgroup ${mine}`] : [];
  const processes = readdirSync('/proc').flatMap(pid => {
    try {
      const ended = readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
      return !ended && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/${mine}/`)
        ? [`process ${pid}`]
        : [];
    } catch {
      return [];
    }
  });
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter(line => line.includes(name));
  const files = [
    join(tmpdir(), `culvert-lab-${name}`),
    `/run/culvert-lab/${name}.json`,
    ...['outside', 'node-a', 'node-b', 'pod'].map(place => `/etc/netns/${mine}-${place}`),
  ].filter(path => existsSync(path));
  return [...namespaces, ...cgroups, ...processes, ...mounts, ...files];
}
