import t from 'tap';
import { clusterChecks } from '../../cli/cluster-check.ts';
import { FakeApi } from './fake-api.ts';

const node = (name: string, kernelVersion: string, containerRuntimeVersion: string) => ({
  metadata: { name },
  status: {
    nodeInfo: { kernelVersion, containerRuntimeVersion, operatingSystem: 'linux', architecture: 'amd64' },
  },
});

function cluster(minor: string, allowed: boolean, nodes: readonly object[]): FakeApi {
  const api = new FakeApi();
  api.answers.set('/version', { major: '1', minor, gitVersion: `v1.${minor}.0` });
  api.answers.set('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { status: { allowed } });
  api.answers.set('/api/v1/nodes', { items: nodes });
  return api;
}

const states = async (api: FakeApi) =>
  Object.fromEntries((await clusterChecks(api, 'mesh')).map(({ name, state }) => [name, state]));

t.test('a cluster that is fit', async t => {
  const api = cluster('34+', true, [node('a', '6.1.0-18-amd64', 'containerd://1.7.2')]);
  t.strictSame(await states(api), {
    'API server': 'ok',
    permissions: 'ok',
    kernels: 'ok',
    'container runtimes': 'ok',
    processors: 'ok',
    installation: 'ok',
  });
});

t.test('what is wrong is named, with the nodes that have it', async t => {
  const api = cluster('34', false, [
    node('a', '6.1.0', 'cri-o://1.30.0'),
    node('old', '5.4.0-150-generic', 'containerd://1.7.2'),
  ]);
  const results = await clusterChecks(api, 'mesh');
  const of = (name: string) => results.find(it => it.name === name);
  t.match(of('permissions'), { state: 'missing', found: /create clusterroles/ });
  t.match(of('kernels'), {
    state: 'missing',
    found: /6\.1\.0 \(1 nodes\), 5\.4/,
    fix: /^old: needs Linux 5\.15/,
  });
  t.match(of('container runtimes'), { state: 'warning', fix: /^a: set node\.criSocket/ });
});

t.test('an old server, and none at all', async t => {
  t.equal((await states(cluster('29', true, [])))['API server'], 'missing');
  t.match(await clusterChecks(new FakeApi(), 'mesh'), [{ name: 'API server', state: 'missing' }]);
});
