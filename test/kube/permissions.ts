/**
 * What each component's own token may do on the API server, asked of the API server itself: what it needs, and nothing that
 * somebody who steals it could use.
 */
import t from 'tap';
import { agentName, controlName, tokenAudience } from '../../daemonset/names.ts';
import { Kubectl } from '../lab/cluster/kubectl.ts';
import { Mesh, system } from './mesh.ts';

interface Wish {
  readonly verb: string;
  /** With its group, and with the part of it that is meant behind a slash. */
  readonly resource: string;
  /** All, unless said. */
  readonly namespace?: string;
}

const mesh = await Mesh.up('kustomize');
t.teardown(() => mesh.cluster.dispose());
const { kubectl } = mesh.cluster;

async function granted(account: string, { verb, resource, namespace }: Wish): Promise<boolean> {
  const [kind = '', subresource] = resource.split('/');
  const part = subresource === undefined ? [] : [`--subresource=${subresource}`];
  const where = namespace === undefined ? '--all-namespaces' : `--namespace=${namespace}`;
  const as = `--as=system:serviceaccount:${system}:${account}`;
  const answer = await kubectl.run(['auth', 'can-i', verb, kind, ...part, where, as], { check: false });
  return answer.stdout.trim() === 'yes';
}

const desires: readonly Wish[] = [
  { verb: 'get', resource: 'secrets' },
  { verb: 'list', resource: 'secrets', namespace: system },
  { verb: 'get', resource: 'secrets', namespace: 'kube-system' },
  { verb: 'create', resource: 'secrets', namespace: 'default' },
  { verb: 'delete', resource: 'secrets', namespace: system },
  { verb: 'create', resource: 'pods', namespace: system },
  { verb: 'delete', resource: 'pods' },
  { verb: 'create', resource: 'pods/exec' },
  { verb: 'update', resource: 'pods' },
  { verb: 'create', resource: 'serviceaccounts/token', namespace: system },
  { verb: 'impersonate', resource: 'users' },
  { verb: 'bind', resource: 'clusterroles' },
  { verb: 'escalate', resource: 'clusterroles' },
  { verb: 'create', resource: 'clusterrolebindings.rbac.authorization.k8s.io' },
  { verb: 'update', resource: 'nodes' },
  { verb: 'get', resource: 'nodes/proxy' },
  { verb: 'update', resource: 'namespaces' },
  { verb: 'list', resource: 'configmaps' },
  { verb: 'create', resource: 'configmaps', namespace: 'default' },
  { verb: 'delete', resource: 'deployments.apps' },
  { verb: 'delete', resource: 'services' },
  { verb: 'update', resource: 'daemonsets.apps', namespace: system },
  { verb: 'create', resource: 'mutatingwebhookconfigurations.admissionregistration.k8s.io' },
  { verb: 'update', resource: 'customresourcedefinitions.apiextensions.k8s.io' },
];

for (const account of [agentName, controlName]) {
  t.test(`${account} may do nothing that would make it more than it is`, async t => {
    for (const wish of desires) t.notOk(await granted(account, wish), JSON.stringify(wish));
  });
}

t.test('the agent may not even look', async t => {
  for (const resource of ['pods', 'services', 'namespaces', 'nodes', 'authorizationpolicies.culvert.dev'])
    t.notOk(await granted(agentName, { verb: 'list', resource }), resource);
});

t.test('the control plane may do what it is there for', async t => {
  const needs: readonly Wish[] = [
    { verb: 'watch', resource: 'pods' },
    { verb: 'patch', resource: 'pods' },
    { verb: 'create', resource: 'tokenreviews.authentication.k8s.io' },
    { verb: 'patch', resource: 'peerauthentications.culvert.dev/status' },
    { verb: 'patch', resource: 'deployments.apps' },
    { verb: 'create', resource: 'services', namespace: 'default' },
  ];
  for (const wish of needs) t.ok(await granted(controlName, wish), JSON.stringify(wish));
});

t.test("the agent's token is no key to the API server", async t => {
  const { name } = await mesh.agentOn('node-a');
  const about = ['create', 'token', agentName, `--namespace=${system}`, '--bound-object-kind=Pod'];
  const token = await kubectl.text(...about, `--bound-object-name=${name}`, `--audience=${tokenAudience}`);
  const server = await kubectl.text(
    'config',
    'view',
    '--raw',
    '--output=jsonpath={.clusters[0].cluster.server}',
  );
  const bearer = new Kubectl(kubectl.program, '/dev/null');
  const answer = await bearer.run(
    [`--server=${server}`, '--insecure-skip-tls-verify', `--token=${token}`, 'get', '--raw=/api'],
    { check: false },
  );
  t.not(answer.code, 0);
  t.match(answer.stderr, /Unauthorized|must be logged in/);
});
