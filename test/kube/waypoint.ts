/** A waypoint in a cluster, from the command that makes it to the one that takes it away, under requests all the while. */
import t from 'tap';
import { podLogs } from '../lab/cluster/pod-logs.ts';
import { eventually } from '../lab/eventually.ts';
import type { KubernetesObject } from '../lab/kubernetes.ts';
import { installGatewayApi } from './gateway-suite.ts';
import { controlName } from '../../daemonset/names.ts';
import { makeRoot } from '../tunnel/pki.ts';
import { Mesh, system } from './mesh.ts';
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

await t.test('a Secret is read once its namespace permits it, and until then nothing is sent', async t => {
  const { namespace } = stage;
  const rule = (name: string, host: string): KubernetesObject => ({
    apiVersion: 'culvert.dev/v1',
    kind: 'DestinationRule',
    metadata: { name, namespace },
    spec: { host, trafficPolicy: { tls: { mode: 'SIMPLE', credentialName: `${name}-tls` } } },
  });
  const refused = async (code: string): Promise<void> => {
    await stage.ask('client', 'far');
    const lines = mesh.cluster.nodes.flatMap(node => podLogs(node, { namespace, name: 'waypoint' }));
    if (!lines.some(log => log.lines.some(line => line.includes(`"${code}"`))))
      throw new Error(`no ${code} yet`);
  };
  const data = { 'ca.crt': Buffer.from(makeRoot().pem).toString('base64') };
  await kubectl.apply([
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'far-tls', namespace }, data },
    rule('far', 'far'),
  ]);
  await eventually(() => refused('TLS_UNAVAILABLE').then(() => true), {
    timeoutMs: 30_000,
    what: 'a refusal',
  });
  t.not((await stage.ask('client', 'far')).code, 0, 'nothing is answered');
  const metadata = { name: 'culvert-credentials', namespace };
  const rbac = 'rbac.authorization.k8s.io';
  await kubectl.apply([
    {
      apiVersion: `${rbac}/v1`,
      kind: 'Role',
      metadata,
      rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'], resourceNames: ['far-tls'] }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup: rbac, kind: 'Role', name: metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: controlName, namespace: system }],
    },
    // Whatever else is named has all of them read at once.
    rule('near', 'elsewhere'),
  ]);
  // The endpoint speaks no TLS: that it was asked for some says that the Secret is there.
  await eventually(() => refused('UPSTREAM_TLS_FAILED').then(() => true), { timeoutMs: 60_000, what: 'TLS' });
  await kubectl.text('delete', 'destinationrule.culvert.dev', 'far', 'near', here);
  await eventually(async () => (await stage.ask('client', 'far')).code === 0, { what: 'an answer again' });
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
