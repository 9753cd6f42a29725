/**
 * Connections to a Service's address, for which the kernel draws the endpoint: all have their share, what is drawn elsewhere
 * goes there by the agent, and a change of the mesh is in the next draw. The client sees only the Service.
 */
import t from 'tap';
import { AgentLab } from '../help/agent-lab.ts';
import { authorizationPolicy, to } from '../help/policies.ts';
import { eventually } from '../lab/eventually.ts';
import { type KubernetesObject, serviceObject } from '../lab/kubernetes.ts';
import type { LabPod } from '../lab/pod.ts';
import type { LabProcess } from '../lab/process.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

/** Tells everybody its name. */
const serves = `
import socket, sys, threading
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('::', int(sys.argv[2])))
listener.listen(64)
def answer(accepted):
    with accepted:
        accepted.sendall(sys.argv[1].encode())
        accepted.shutdown(socket.SHUT_WR)
        accepted.recv(1)
while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
`;

/** Connects so often, one after the other, and prints for each by whom it was answered, or why not, and its peer. */
const asks = `
import errno, json, socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
answers = []
for _ in range(int(sys.argv[3])):
    with socket.socket(family) as s:
        s.settimeout(20)
        peer = None
        try:
            s.connect((sys.argv[1], int(sys.argv[2])))
            name = s.recv(64).decode() or 'EOF'
            peer = s.getpeername()[0]
        except OSError as error:
            name = errno.errorcode.get(error.errno, str(error))
        answers.append([name, peer])
print(json.dumps(answers))
`;

const vip = { web: '10.96.0.20', local: '10.96.0.21', sticky: '10.96.0.22' };
const vip6 = 'fd00:10:96::20';
const [port, targetPort] = [80, 8080];

function service(name: string, spec: object, ...clusterIPs: readonly string[]): KubernetesObject {
  const ports = [{ name: 'tcp', port, targetPort }];
  const object = serviceObject({ name, namespace: 'shop', selector: { app: 'web' }, clusterIPs, ports });
  return { ...object, spec: { ...(object.spec as object), ...spec } };
}

const web = (name: string, node: string) =>
  ({ name, node, namespace: 'shop', serviceAccount: name, labels: { app: 'web', name } }) as const;
const stage = await AgentLab.create({
  name: 'path-services',
  pods: [
    { name: 'client', node: 'node-a', namespace: 'shop', serviceAccount: 'client' },
    web('near', 'node-a'),
    web('next', 'node-a'),
    web('far', 'node-b'),
    web('away', 'node-b'),
  ],
  objects: [
    service('web', {}, vip.web, vip6),
    service('local', { internalTrafficPolicy: 'Local' }, vip.local),
    service('sticky', { sessionAffinity: 'ClientIP' }, vip.sticky),
  ],
});
t.teardown(() => stage[Symbol.asyncDispose]());
const client = stage.pod('client');
const serving = new Map<string, LabProcess>();
for (const name of ['near', 'next', 'far', 'away']) serving.set(name, await serve(stage.pod(name)));

async function serve(pod: LabPod): Promise<LabProcess> {
  const server = pod.spawn('python3', ['-c', serves, pod.name, String(targetPort)]);
  await server.listensOn(targetPort);
  return server;
}

interface Asked {
  /** By whom, or by errno, how often. */
  readonly answers: ReadonlyMap<string, number>;
  readonly peers: ReadonlySet<string | null>;
  /** Of the kernel's decisions: how often meanwhile. */
  readonly decided: (decision: string) => number;
}

async function ask(address: string, times: number): Promise<Asked> {
  const before = await decisions();
  const { stdout } = await client.run('python3', ['-c', asks, address, String(port), String(times)]);
  const after = await decisions();
  const answers = new Map<string, number>();
  const all = JSON.parse(stdout) as [string, string | null][];
  for (const [name] of all) answers.set(name, (answers.get(name) ?? 0) + 1);
  const peers = new Set(all.map(([, peer]) => peer));
  return { answers, peers, decided: name => after(name) - before(name) };
}

async function decisions(): Promise<(name: string) => number> {
  const counts = new Map<string, number>();
  for (const { name, labels, value } of await stage.agent('node-a').metrics())
    if (name === 'culvert_redirect_decisions_total') counts.set(labels['decision'] ?? '', value);
  return name => counts.get(name) ?? 0;
}

const of = ({ answers }: Asked, ...names: readonly string[]): number =>
  names.reduce((sum, name) => sum + (answers.get(name) ?? 0), 0);

/** Until the kernel knows the Service and has a verdict for each of these. */
function learn(address: string, ...names: readonly string[]): Promise<Asked> {
  return eventually(
    async () => {
      const asked = await ask(address, 16);
      const known = asked.decided('path_service') === of(asked, 'near', 'next');
      return known && names.every(name => of(asked, name) > 0) && asked;
    },
    { timeoutMs: 30_000, what: `verdicts for ${names.join(' and ')}` },
  );
}

for (const address of [vip.web, vip6, `::ffff:${vip.web}`]) {
  t.test(`${address}: the kernel draws, and the agent does not draw again`, { timeout: 60_000 }, async t => {
    await learn(address, 'near', 'next');
    const asked = await ask(address, 160);
    t.same(asked.peers, new Set([address]), 'getpeername() shows the Service');
    t.equal(asked.decided('path_service'), of(asked, 'near', 'next'), 'what is here is the kernel’s alone');
    t.equal(
      asked.decided('path_handed'),
      of(asked, 'far', 'away'),
      'what is not is where the kernel wanted it',
    );
    t.equal(asked.decided('connect_captured'), of(asked, 'far', 'away'));
    t.equal(of(asked, 'near', 'next', 'far', 'away'), 160);
    const expected = 160 / 4;
    const squares = [...asked.answers.values()].map(count => (count - expected) ** 2 / expected);
    const sum = squares.reduce((total, square) => total + square, 0);
    // By chance above 25 once in 65 000 times.
    t.ok(sum < 25, `all have their share: ${JSON.stringify([...asked.answers])}`);
  });
}

t.test('lines and metrics have the Service', async t => {
  const line = await stage.line('node-a', { security: 'kernel', 'dst.workload': 'near' });
  t.match(line, {
    'dst.service': 'web.shop.svc.cluster.local',
    'dst.identity': 'spiffe://cluster.local/ns/shop/sa/near',
    'src.workload': 'client',
    direction: 'local',
    msg: 'connection complete',
  });
  t.ok(
    [`${stage.pod('near').address}:8080`, `[${stage.pod('near').address6}]:8080`].includes(
      String(line['dst.addr']),
    ),
  );
  const samples = await stage.agent('node-a').metrics();
  const opened = samples.filter(
    ({ name, labels }) =>
      name === 'istio_tcp_connections_opened_total' &&
      labels['destination_service'] === 'web.shop.svc.cluster.local' &&
      labels['destination_workload'] === 'near',
  );
  t.ok(opened.reduce((sum, { value }) => sum + value, 0) > 90);
  const known = samples.find(({ name }) => name === 'culvert_kernel_path_services');
  t.equal(known?.value, 2, 'one of each family');
});

t.test('an endpoint that is not ready is in no draw', async t => {
  await stage.describe(stage.pod('near'), { ready: false });
  const asked = await ask(vip.web, 40);
  t.equal(of(asked, 'near'), 0);
  t.equal(of(asked, 'next', 'far', 'away'), 40);
  t.equal(asked.decided('path_service'), of(asked, 'next'));
  await stage.describe(stage.pod('near'), { ready: true });
  t.ok(of(await learn(vip.web, 'near', 'next'), 'near') > 0);
});

t.test('a Service that stays on the node is drawn on the node', async t => {
  await learn(vip.local, 'near', 'next');
  const asked = await ask(vip.local, 20);
  t.equal(asked.decided('path_service'), 20);
  t.same([...asked.answers.keys()].sort(), ['near', 'next']);
});

t.test('a Service that keeps its clients is the agent’s', async t => {
  await ask(vip.sticky, 4);
  const asked = await ask(vip.sticky, 8);
  t.equal(asked.decided('path_service') + asked.decided('path_handed'), 0);
  t.equal(asked.answers.size, 1);
});

t.test('whom policy denies gets nothing, drawn or not', async t => {
  const rules = [to(targetPort)];
  await stage.apply('policy.yaml', [
    {
      ...authorizationPolicy({ action: 'DENY', rules }),
      spec: { action: 'DENY', rules, selector: { matchLabels: { name: 'near' } } },
    },
  ]);
  const asked = await ask(vip.web, 40);
  t.equal(of(asked, 'near'), 0);
  t.equal(of(asked, 'next', 'far', 'away') + of(asked, 'ECONNRESET', 'ECONNREFUSED'), 40);
  t.ok(of(asked, 'ECONNRESET', 'ECONNREFUSED') > 0, 'though it is drawn as often as before');
  t.equal(asked.decided('path_service'), of(asked, 'next'));
  await stage.remove('policy.yaml');
  await learn(vip.web, 'near', 'next');
});

t.test('an application that does not listen is met once, then passed over', async t => {
  const near = serving.get('near');
  near?.kill('SIGKILL');
  await near?.exited;
  const refused = await eventually(async () => {
    const asked = await ask(vip.web, 10);
    return asked.decided('path_refusing') > 0 && asked;
  });
  t.ok(of(refused, 'ECONNREFUSED') <= 1);
  const asked = await ask(vip.web, 40);
  t.equal(of(asked, 'next', 'far', 'away'), 40, 'nobody meets it any more');
  await serve(stage.pod('near'));
  await learn(vip.web, 'near', 'next');
});

t.test('the next agent takes over what the kernel knows', async t => {
  const agent = stage.agent('node-a');
  agent.process.kill('SIGKILL');
  await agent.process.exited;
  const alone = await client.run('python3', ['-c', asks, vip.local, String(port), '8']);
  t.match(
    JSON.parse(alone.stdout),
    Array.from({ length: 8 }, () => [/near|next/, vip.local]),
    'meanwhile it draws alone',
  );
  await stage.startAgent('node-a');
  const asked = await ask(vip.web, 16);
  t.equal(asked.decided('path_service'), of(asked, 'near', 'next'));
  t.equal(asked.decided('path_handed'), of(asked, 'far', 'away'));
});
