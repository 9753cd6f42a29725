/** What the objects of an installation may never become, whatever is changed about them. */
import t from 'tap';
import { agentName, controlName, defaultNamespace } from '../../daemonset/names.ts';
import { installation, namespaceManifest, type Manifest } from '../../daemonset/installation.ts';
import { clusterRules, namespaceRules } from '../../daemonset/manifests/permissions.ts';
import { uninstallHook } from '../../daemonset/manifests/uninstall-hook.ts';
import { render, type Json } from '../../daemonset/template.ts';
import { defaultValues, type Values } from '../../daemonset/values.ts';

interface Container {
  readonly securityContext: {
    readonly privileged?: boolean;
    readonly readOnlyRootFilesystem: boolean;
    readonly allowPrivilegeEscalation: boolean;
    readonly capabilities: { readonly drop: string[]; readonly add?: string[] };
    readonly seccompProfile?: { readonly type: string };
  };
  readonly args: string[];
  readonly volumeMounts: { readonly name: string; readonly mountPropagation?: string }[];
}

interface PodSpec {
  readonly containers: Container[];
  readonly securityContext?: { readonly runAsNonRoot: boolean; readonly seccompProfile: { type: string } };
  readonly volumes: { readonly name: string; readonly hostPath?: object }[];
  readonly automountServiceAccountToken?: boolean;
  readonly hostNetwork?: boolean;
}

const everything: Values = {
  ...defaultValues,
  mesh: { trustDomain: 'example.org' },
  monitoring: { ...defaultValues.monitoring, podMonitor: true, serviceMonitor: true, dashboards: true },
};
const manifests = installation('mesh', everything);

const one = (kind: string, name: string): Manifest => {
  const found = manifests.find(it => it.kind === kind && it.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
};
const podOf = (manifest: Manifest): PodSpec =>
  (manifest['spec'] as { template: { spec: PodSpec } }).template.spec;

t.test('the agent has capabilities instead of a privileged container', async t => {
  const pod = podOf(one('DaemonSet', agentName));
  t.equal(pod.containers.length, 1);
  const [container] = pod.containers;
  t.match(container?.securityContext, {
    privileged: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], add: ['SYS_ADMIN', 'NET_ADMIN', 'BPF', 'PERFMON', 'SYS_PTRACE'] },
    seccompProfile: { type: 'RuntimeDefault' },
  });
  t.notOk(
    container?.volumeMounts.some(({ mountPropagation }) => mountPropagation === 'Bidirectional'),
    'only privileged containers may mount things into the host',
  );
});

t.test('the agent may do nothing on the API server and has no token for it', async t => {
  t.equal(podOf(one('DaemonSet', agentName)).automountServiceAccountToken, false);
  t.equal(one('ServiceAccount', agentName)['automountServiceAccountToken'], false);
  const bindings = manifests.filter(({ kind }) => kind.endsWith('Binding'));
  t.equal(bindings.length, 2);
  for (const binding of bindings)
    t.strictSame(binding['subjects'], [{ kind: 'ServiceAccount', name: controlName, namespace: 'mesh' }]);
});

t.test('the control plane runs as anyone, with nothing of the node', async t => {
  const pod = podOf(one('Deployment', controlName));
  t.match(pod.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  t.notOk(pod.hostNetwork);
  t.same(
    pod.volumes.filter(({ hostPath }) => hostPath !== undefined),
    [],
  );
  for (const { securityContext } of pod.containers) {
    t.strictSame(securityContext.capabilities, { drop: ['ALL'] });
    t.strictSame(
      [securityContext.allowPrivilegeEscalation, securityContext.readOnlyRootFilesystem],
      [false, true],
    );
  }
});

t.test('the control plane reads no Secret outside its namespace and none it does not know', async t => {
  for (const { resources, resourceNames, verbs } of clusterRules) {
    t.notOk(resources.includes('secrets'));
    t.notOk(verbs.includes('*') || verbs.includes('escalate') || verbs.includes('bind'));
    if (resources.includes('configmaps') && resourceNames === undefined) t.strictSame(verbs, ['get']);
    if (verbs.includes('delete')) t.strictSame(resources, ['horizontalpodautoscalers']);
  }
  for (const rule of namespaceRules)
    if (rule.resources.includes('secrets') && !rule.verbs.includes('create'))
      t.ok((rule.resourceNames ?? []).length > 0, 'named secrets only');
});

t.test('every object is labelled as ours and is in the namespace that was asked for', async t => {
  const names = new Set(manifests.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  t.equal(names.size, manifests.length, 'no object twice');
  for (const { kind, metadata } of manifests) {
    t.match(metadata.labels, { 'app.kubernetes.io/part-of': 'culvert' }, kind);
    if (metadata.namespace !== undefined) t.equal(metadata.namespace, 'mesh', kind);
  }
});

t.test('the namespace lets the agent in where pod security is enforced', async t => {
  t.match(namespaceManifest(defaultNamespace).metadata.labels, {
    'pod-security.kubernetes.io/enforce': 'privileged',
  });
});

t.test('a volume that is mounted exists, and the other way round', async t => {
  for (const manifest of [one('DaemonSet', agentName), one('Deployment', controlName)]) {
    const { containers, volumes } = podOf(manifest);
    t.strictSame(
      containers.flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name)).sort(),
      volumes.map(({ name }) => name).sort(),
    );
  }
});

t.test('more options and capabilities are added at the end', async t => {
  const [agent] = podOf(
    installation('mesh', {
      ...everything,
      agent: { ...everything.agent, extraArgs: ['--shards=4'], extraCapabilities: ['DAC_OVERRIDE'] },
    }).find(({ kind }) => kind === 'DaemonSet') ?? one('DaemonSet', agentName),
  ).containers;
  t.equal(agent?.args.at(-1), '--shards=4');
  t.equal(agent?.securityContext.capabilities.add?.at(-1), 'DAC_OVERRIDE');
});

t.test('what Helm runs before an uninstall may only do that', async t => {
  const hooks = uninstallHook().map(
    template => render(template, { namespace: 'mesh', values: defaultValues as Json }) as unknown as Manifest,
  );
  t.strictSame(
    hooks.map(({ kind }) => kind),
    ['ServiceAccount', 'Role', 'RoleBinding', 'Job'],
  );
  const job = podOf(hooks[3] ?? one('Job', ''));
  t.match(job.securityContext, { runAsNonRoot: true });
});
