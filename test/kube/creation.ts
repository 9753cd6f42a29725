/**
 * Two hundred pods whose first act is to speak: none of them says a word that is not protected. The one that they speak to
 * hears only the mesh, and who listens on the wire hears nothing.
 */
import t from 'tap';
import { peerAuthentication } from '../help/policies.ts';
import { podLogs } from '../lab/cluster/pod-logs.ts';
import { httpPort, talkPod } from '../lab/cluster/talk.ts';
import { eventually } from '../lab/eventually.ts';
import { Mesh } from './mesh.ts';
import { players, Stage } from './stage.ts';

const pods = 200;
/** At a time; each has a process of the container runtime beside its own. */
const batch = 25;

const mesh = await Mesh.up('kustomize');
t.teardown(() => mesh.cluster.dispose());
const { kubectl, lab } = mesh.cluster;
const stage = await Stage.set(mesh, 'crowd');
t.teardown(() => stage.clear());
const { namespace } = stage;
const here = `--namespace=${namespace}`;
await mesh.enrol(namespace, players);
await kubectl.apply([peerAuthentication({ namespace, mode: 'STRICT' })]);
await eventually(async () => (await stage.ask('stranger', 'far')).code !== 0, {
  what: 'STRICT to be in force',
});

t.test(`${pods} pods speak as soon as they live`, async t => {
  const target = (await stage.pod('far')).status.podIP;
  const filter = `tcp port ${httpPort} and host ${target}`;
  // By address: asking for a name first would give everybody time.
  const command = ['talk', 'first', `http://${target}:${httpPort}/first`];
  await using capture = await lab.capture(lab.node('node-b'), 'eth0', { filter });
  const answered: string[] = [];
  for (let made = 0; made < pods; made += batch) {
    const names = Array.from({ length: batch }, (_, index) => `newborn-${made + index}`);
    const born = `--selector=newborn=${made}`;
    await kubectl.apply(
      names.map((name, index) =>
        talkPod({
          name,
          namespace,
          node: index % 2 === 0 ? 'node-a' : 'node-b',
          command,
          labels: { newborn: String(made) },
        }),
      ),
    );
    await kubectl.waitFor('condition=Ready', ['pod', born, here], 120_000);
    answered.push(...(await firstWords(names)));
    // The next are made while these end, as in the rollout of a Deployment.
    await kubectl.text('delete', 'pod', born, here, '--wait=false');
  }
  t.equal(answered.length, pods);
  t.strictSame(
    answered.filter(word => !word.startsWith('answered')),
    [],
    'each has had its answer, at the first attempt',
  );
  const heard = await capture.stop();
  t.equal(heard.dropped, 0);
  t.equal(heard.packets.length, 0, 'nothing went to the port of the application itself');
  const waited = await mesh.within('culvert_cni_add_seconds', 'outcome="enrolled"');
  const all = waited.get(Infinity) ?? 0;
  t.ok(all >= pods, 'the wait of each is counted');
  const bound = (share: number): string => {
    const [seconds = Infinity] = [...waited].find(([, count]) => count >= share * all) ?? [];
    return `${seconds * 1_000} ms`;
  };
  t.comment(`what enrolment added to the start of ${all} pods: p50 ≤ ${bound(0.5)}, p99 ≤ ${bound(0.99)}`);
});

/** What each has printed, once it has. */
function firstWords(names: readonly string[]): Promise<string[]> {
  const wordOf = (name: string): string | undefined =>
    mesh.cluster.nodes
      .flatMap(node => podLogs(node, { namespace, name: `${name}_` }))
      .flatMap(({ lines }) => lines)[0];
  return Promise.all(
    names.map(name =>
      eventually(() => wordOf(name), {
        timeoutMs: 30_000,
        intervalMs: 200,
        what: `the first word of ${name}`,
      }),
    ),
  );
}
