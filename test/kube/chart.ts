/**
 * The real tools read what the generator has written: Helm accepts the chart and refuses values that mean nothing, and what
 * Helm and Kustomize make of it is what `culvert install` applies.
 */
import { join } from 'node:path';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { definitions, installation, namespaceManifest, type Manifest } from '../../daemonset/installation.ts';
import { defaultNamespace } from '../../daemonset/names.ts';
import { defaultValues } from '../../daemonset/values.ts';
import { valuesOf } from '../../cli/install-values.ts';
import type { Json } from '../../daemonset/template.ts';
import { buildBinaries } from '../lab/cluster/binaries.ts';
import { kubernetesVersion } from '../lab/cluster/versions.ts';
import { run } from '../lab/run.ts';
import { helm } from './helm.ts';

const daemonset = join(import.meta.dirname, '../../daemonset');
const chart = join(daemonset, 'helm');
const { kubernetes } = await buildBinaries();

/** By kind and name; hooks of Helm are not part of an installation. */
function byName(objects: readonly Manifest[]): Record<string, Manifest> {
  const named = objects
    .filter(
      ({ metadata }) => !('annotations' in metadata && JSON.stringify(metadata).includes('helm.sh/hook')),
    )
    .map(object => [`${object.kind} ${object.metadata.name}`, object] as const);
  if (new Set(named.map(([name]) => name)).size !== named.length) throw new Error('an object is there twice');
  return Object.fromEntries(named.sort(([one], [other]) => (one < other ? -1 : 1)));
}

function parsed(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map(document => document.toJS() as Manifest | null)
    .filter(object => object !== null);
}

async function template(namespace: string, settings: readonly string[]): Promise<Manifest[]> {
  const { stdout } = await helm([
    'template',
    'culvert',
    chart,
    `--namespace=${namespace}`,
    `--kube-version=${kubernetesVersion}`,
    ...settings.map(setting => `--set-json=${setting}`),
  ]);
  return parsed(stdout);
}

async function kustomize(folder: string): Promise<Manifest[]> {
  return parsed((await run(join(kubernetes, 'kubectl'), ['kustomize', folder])).stdout);
}

t.test('Helm has nothing to say against the chart', async t => {
  const { stdout } = await helm(['lint', '--strict', `--kube-version=${kubernetesVersion}`, chart]);
  t.match(stdout, /0 chart\(s\) failed/);
});

t.test('Helm, Kustomize and the command line install the same', async t => {
  const own = byName(installation(defaultNamespace, defaultValues));
  t.strictSame(byName(await template(defaultNamespace, [])), own);
  const whole = [namespaceManifest(defaultNamespace), ...definitions().values()];
  t.strictSame(byName(await kustomize(daemonset)), byName([...whole, ...Object.values(own)]));
});

t.test('also with every value changed', async t => {
  const changes: Json = {
    image: {
      repository: 'registry.test/culvert',
      tag: '1@sha256:0',
      pullPolicy: 'Always',
      pullSecrets: [{ name: 'x' }],
    },
    logLevel: 'info,dns=debug',
    mesh: { trustDomain: 'example.org', excludedNamespaces: ['a', 'b'], dnsCapture: false },
    node: {
      cgroupRoot: '/sys/fs/cgroup/unified',
      bpffs: '/bpf',
      stateDir: '/var/culvert',
      netnsDir: '/var/run/netns',
      criSocket: '/run/crio/crio.sock',
      cniBinDir: '/usr/libexec/cni',
      cniConfDir: '/etc/kubernetes/cni/net.d',
    },
    agent: {
      resources: { requests: null, limits: { cpu: 2 } },
      tolerations: [{ key: 'a', operator: 'Equal', value: 'true', effect: 'NoSchedule' }],
      nodeSelector: { 'kubernetes.io/os': null },
      affinity: { nodeAffinity: {} },
      priorityClassName: '',
      annotations: { 'a/b': '"quoted": yes' },
      extraArgs: ['--limit', 'drainMs=5000', '--x=#1: {{ y }}'],
      extraCapabilities: ['DAC_OVERRIDE'],
      seccompProfile: { type: 'Localhost', localhostProfile: 'culvert.json' },
      seLinuxOptions: { type: null },
      updateStrategy: { type: 'OnDelete', rollingUpdate: null },
      terminationGracePeriodSeconds: 1_000_000,
    },
    control: {
      replicas: 1,
      nodeSelector: { a: 'b' },
      priorityClassName: 'high',
      extraArgs: ['--y'],
    },
    networkPolicy: false,
    monitoring: {
      podMonitor: true,
      serviceMonitor: true,
      dashboards: true,
      interval: '1m',
      labels: { release: 'x' },
    },
  };
  const settings = Object.entries(changes).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  t.strictSame(byName(await template('mesh', settings)), byName(installation('mesh', valuesOf(changes))));
});

t.test('monitoring is the same by both', async t => {
  const settings = ['podMonitor', 'serviceMonitor', 'dashboards'].map(name => `monitoring.${name}=true`);
  const all = byName(await template(defaultNamespace, settings));
  for (const [name, object] of Object.entries(byName(await kustomize(join(daemonset, 'monitoring')))))
    t.strictSame(all[name], object, name);
});

for (const wrong of [
  'agents={}',
  'logLevel="loud"',
  'control.replicas="two"',
  'node.cgroupRoot="cgroup"',
  'mesh={"trust":1}',
]) {
  t.test(`Helm refuses ${wrong}`, async t => {
    const refused = await helm(['template', 'culvert', chart, `--set-json=${wrong}`], { check: false });
    t.not(refused.code, 0);
    t.match(refused.stderr, /values don't meet the specifications of the schema/);
  });
}
