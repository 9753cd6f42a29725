/** A waypoint in a cluster, from the command that makes it to the one that takes it away, under requests all the while. */
import t from 'tap';
import { podLogs } from '../lab/cluster/pod-logs.ts';
import { eventually } from '../lab/eventually.ts';
import type { KubernetesObject } from '../lab/kubernetes.ts';
import { installGatewayApi } from './gateway-suite.ts';
import { Mesh } from './mesh.ts';
import { Stage, players } from './stage.ts';

const mesh = await Mesh.up('kustomize');
t.teardown(() => mesh.cluster.dispose());
const { kubectl } = mesh.cluster;
await installGatewayApi(kubectl);
const stage = await Stage.set(mesh, 'wares');
t.teardown(() => stage.clear());
const here = `--namespace=${stage.namespace}`;
await mesh.enrol(stage.namespace, players);

/** Asks until told to stop; returns what went wrong. */
async function asking(act: () => Promise<void>): Promise<{ asked: number; failed: string[] }> {
  const state = { over: false };
  let asked = 0;
  const failed: string[] = [];
  const client = (async () => {
    while (!state.over) {
      const { code, stderr } = await stage.ask('client', 'far');
      asked += 1;
      if (code !== 0) failed.push(stderr);
    }
  })();
  try {
    await act();
  } finally {
    state.over = true;
    await client;
  }
  return { asked, failed };
}

/** Names of the waypoint's pods, also of those that are going. */
async function pods(): Promise<string[]> {
  const selector = '--selector=gateway.networking.k8s.io/gateway-name=waypoint';
  const names = await kubectl.text('get', 'pods', here, selector, '--output=name');
  return names.split('\n').filter(name => name !== '');
}

/** Waits until a pod of the waypoint has noted a request. */
async function passes(): Promise<void> {
  await eventually(
    () =>
      mesh.cluster.nodes
        .flatMap(node => podLogs(node, { namespace: stage.namespace, name: 'waypoint' }))
        .some(({ lines }) => lines.some(line => line.includes('"direction":"waypoint"'))),
    { what: 'a request through the waypoint' },
  );
}

await t.test('a command makes it, and traffic passes it', async t => {
  const { failed } = await asking(async () => {
    await mesh.culvert('waypoint', 'apply', here, '--enroll-namespace', '--wait');
    await passes();
  });
  t.strictSame(failed, []);
  t.match(await mesh.culvert('waypoint', 'list', here), /waypoint +service +\S+ +yes +1/);
  const explained = await mesh.culvert('explain', `http://far.${stage.namespace}/`);
  t.match(
    explained,
    /no policy is about it.*\nno route is about port .*\n +\S+ port \d+: 1 of 1 endpoints ready/,
  );
});

await t.test('a TCPRoute leads connections elsewhere, and says that it does', async t => {
  const route = (name: string): KubernetesObject => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'TCPRoute',
    metadata: { name: 'elsewhere', namespace: stage.namespace },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'far', port: 80 }],
      rules: [{ backendRefs: [{ name, port: 80 }] }],
    },
  });
  const { failed } = await asking(async () => {
    await kubectl.apply([route('near')]);
    await kubectl.text(
      'wait',
      'tcproute/elsewhere',
      here,
      '--for=jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].status}=True',
      '--timeout=30s',
    );
    const answers = async (pod: string): Promise<boolean> =>
      (await stage.ask('client', 'far')).stdout.includes(`"pod":"${pod}"`);
    await eventually(() => answers('near'), { what: 'an answer of near' });
    await kubectl.text('delete', 'tcproute', 'elsewhere', here);
    await eventually(() => answers('far'), { what: 'an answer of far' });
  });
  t.strictSame(failed, []);
});

await t.test('its pods are replaced and nobody notices', async t => {
  const { asked, failed } = await asking(async () => {
    await kubectl.text('rollout', 'restart', 'deployment/waypoint', here);
    await kubectl.rolledOut(stage.namespace, 'deployment/waypoint');
    // Those that go have their time; until then some requests are theirs.
    await eventually(async () => (await pods()).length === 2, { timeoutMs: 60_000, what: 'two pods' });
  });
  t.ok(asked > 10);
  t.strictSame(failed, []);
});

await t.test('it is taken away with all that was made for it, and traffic goes directly', async t => {
  const { failed } = await asking(async () => {
    await mesh.culvert('waypoint', 'delete', 'waypoint', here);
    await eventually(
      async () => (await pods()).length === 0 && (await kubectl.text('get', 'deployments', here)) === '',
      { timeoutMs: 60_000, what: 'what was made to go' },
    );
  });
  t.strictSame(failed, []);
});
