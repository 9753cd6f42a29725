/**
 * `node bench/soak/outage.ts`: control plane and API server of a Kubernetes lab are away for ten minutes while pods talk,
 * certificates come to be renewed, and an agent is killed. Says what went on working, and how long it took until all was
 * well again. Needs what the kube tier needs. SECONDS says for how long; certificates live half as long again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../../base/errors.ts';
import { agentName, controlName } from '../../daemonset/names.ts';
import { authorizationPolicy, from, peerAuthentication } from '../../test/help/policies.ts';
import { Mesh, system } from '../../test/kube/mesh.ts';
import { players, Stage } from '../../test/kube/stage.ts';
import type { Kubectl } from '../../test/lab/cluster/kubectl.ts';
import { echoPort, talkPod } from '../../test/lab/cluster/talk.ts';
import { eventually } from '../../test/lab/eventually.ts';
import { table } from '../table.ts';
import { Talk } from './talk.ts';

const seconds = Number(process.env['SECONDS'] ?? 600);
/** Between two rounds of questions. */
const roundMs = 2_000;
/** The agent of one node is killed when so much of the time is over. */
const killedAt = 0.75;
const convergeMs = 180_000;

interface Certified {
  readonly pods: readonly { readonly name: string; readonly certificateUntil: string | null }[];
}

async function main(): Promise<void> {
  await using mesh = await Mesh.up('kustomize');
  const { cluster } = mesh;
  const { kubectl } = cluster;
  // A minute at least, which is the shortest that there is.
  const certificateTtl = `${Math.max(60, Math.round(seconds * 1.5))}s`;
  await kubectl.apply([
    {
      apiVersion: 'culvert.dev/v1',
      kind: 'MeshConfig',
      metadata: { name: 'default' },
      spec: { certificateTtl },
    },
  ]);
  const stage = await Stage.set(mesh, 'outage');
  const { namespace, street } = stage;
  await mesh.enrol(namespace, players);
  const onlyClients = from({ principals: [stage.identity('client').replace('spiffe://', '')] });
  await kubectl.apply([
    peerAuthentication({ namespace, mode: 'STRICT' }),
    // Istio's definitions are not in this cluster.
    {
      ...authorizationPolicy({ namespace, action: 'ALLOW', app: 'far', rules: [onlyClients] }),
      apiVersion: 'culvert.dev/v1',
    },
  ]);
  const url = (to: string): string => `http://${to}.${namespace}/`;
  const at = async (name: string, node: string, space = namespace) =>
    ({ node: cluster.node(node), id: await kubectl.containerId({ name, namespace: space }) }) as const;
  const client = await at('client', 'node-a');
  const near = await at('near', 'node-a');
  const stranger = await at('stranger', 'node-a', street);
  const talks = [
    new Talk('same node: answered', client, url('near'), true),
    new Talk('other node: answered', client, url('far'), true),
    new Talk('denied by policy: refused', near, url('far'), false),
    new Talk('a stranger under STRICT: refused', stranger, url('near'), false),
  ];
  await eventually(async () => (await Promise.all(talks.map(talk => talk.isAsItShould()))).every(Boolean), {
    timeoutMs: convergeMs,
    what: 'policy to be in force',
  });
  const before = await mesh.admin<Certified>('node-a', '/status');
  const agent = await at((await mesh.agentOn('node-b')).name, 'node-b', system);
  const stream = client.node.runInContainer(client.id, ['talk', 'stream', `far.${namespace}:${echoPort}`], {
    check: false,
    timeoutMs: (seconds + 600) * 1_000,
  });
  let streamEnded = false;
  void stream.then(
    () => (streamEnded = true),
    () => (streamEnded = true),
  );

  say(`control plane and API server go, for ${seconds} s`);
  await kubectl.text('scale', `deployment/${controlName}`, `--namespace=${system}`, '--replicas=0');
  await kubectl.waitFor('delete', [
    'pod',
    `--namespace=${system}`,
    '--selector=app.kubernetes.io/component=control',
  ]);
  await cluster.daemon('kube-apiserver').stop();
  const gone = Date.now();
  const share = (): number => (Date.now() - gone) / (seconds * 1_000);
  await rounds(talks, () => share() >= killedAt);
  const first = talks.map(talk => talk.take());
  const streamOfKnown = streamEnded;

  say('the agent of node-b is killed');
  await agent.node.run('ctr', ['--namespace', 'k8s.io', 'tasks', 'kill', '--signal', 'SIGKILL', agent.id]);
  await rounds(talks, () => share() >= 1);
  const second = talks.map(talk => talk.take());

  say('both come back');
  const back = Date.now();
  const since = (): string => `${((Date.now() - back) / 1e3).toFixed(0)} s`;
  await cluster.daemon('kube-apiserver').start();
  await cluster.answers();
  const times: [string, string][] = [['the API server answers', since()]];
  await kubectl.text('scale', `deployment/${controlName}`, `--namespace=${system}`, '--replicas=2');
  await kubectl.rolledOut(system, `deployment/${controlName}`, convergeMs);
  times.push(['the control plane is ready', since()]);
  await kubectl.rolledOut(system, `daemonset/${agentName}`, convergeMs);
  times.push(['all agents are ready', since()]);
  say(`restarts of agents: ${(await restarts(kubectl)).join(', ')}`);
  await eventually(async () => (await Promise.all(talks.map(talk => talk.isAsItShould()))).every(Boolean), {
    timeoutMs: convergeMs,
    what: 'everybody to be answered or refused as before',
  });
  times.push(['everybody is answered or refused as before', since()]);
  await kubectl.apply([talkPod({ name: 'late', namespace, node: 'node-b' })]);
  await kubectl.waitFor('condition=Ready', ['pod/late', `--namespace=${namespace}`], convergeMs);
  await mesh.untilEnrolled(namespace, ['late']);
  times.push(['a new pod is enrolled', since()]);
  await kubectl.apply([peerAuthentication({ namespace, mode: 'PERMISSIVE' })]);
  const open = new Talk('', stranger, url('near'), true);
  await eventually(() => open.isAsItShould(), { timeoutMs: convergeMs, what: 'a change to be in force' });
  times.push(['a change of policy is in force', since()]);
  await eventually(async () => isRenewed(before, await mesh.admin<Certified>('node-a', '/status')), {
    timeoutMs: convergeMs,
    intervalMs: 1_000,
    what: 'certificates that fell due to be renewed',
  });
  times.push(['certificates that fell due are renewed', since()]);

  const left = (titles: readonly string[]) => titles.map(title => ({ title, align: 'left' as const }));
  const shown = talks.map(({ what }, index) => [what, first[index] ?? '', second[index] ?? '']);
  shown.push([
    'a connection that was open',
    streamOfKnown ? 'ENDED' : 'goes on',
    streamEnded ? 'ended' : 'goes on',
  ]);
  const head = left(['while both are away', 'until an agent is killed', 'and after that']);
  process.stdout.write(`\n${table(head, shown)}\n\n${table(left(['after they are back', '']), times)}\n`);
  await stage.clear();
}

/** How often the agent of each node was started anew. */
async function restarts(kubectl: Kubectl): Promise<string[]> {
  const count =
    'jsonpath={range .items[*]}{.spec.nodeName} {.status.containerStatuses[0].restartCount};{end}';
  const selector = '--selector=app.kubernetes.io/component=agent';
  const said = await kubectl.text('get', 'pods', `--namespace=${system}`, selector, `--output=${count}`);
  return said.split(';').filter(line => line !== '');
}

/** Everybody asks again and again. */
async function rounds(talks: readonly Talk[], isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    for (const talk of talks) await talk.ask();
    await delay(roundMs);
  }
}

/** Whether each has a certificate that lasts longer than the one it had. */
function isRenewed(before: Certified, after: Certified): boolean {
  return before.pods.every(({ name, certificateUntil }) => {
    const now = after.pods.find(pod => pod.name === name)?.certificateUntil ?? null;
    return certificateUntil === null || (now !== null && Date.parse(now) > Date.parse(certificateUntil));
  });
}

function say(what: string): void {
  process.stderr.write(`${new Date().toISOString()} ${what}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`outage: ${describeError(error)}\n`);
  process.exitCode = 1;
}
