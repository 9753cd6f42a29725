import t from 'tap';
import { clusterVersions, imageVersion, isAlike, versionsOf } from '../../cli/version.ts';
import { FakeApi } from './fake-api.ts';

const pod = (name: string, component: string, image: string, node?: string) => ({
  metadata: { name, labels: { 'app.kubernetes.io/component': component } },
  spec: { ...(node === undefined ? {} : { nodeName: node }), containers: [{ image }] },
  status: { conditions: [{ type: 'Ready', status: node === undefined ? 'False' : 'True' }] },
});

t.test('the control plane first, then the agents by node', async t => {
  const api = new FakeApi();
  api.answers.set('/api/v1/namespaces/mesh/pods', {
    items: [
      pod('agent-2', 'agent', 'registry:5000/culvert:0.2.0', 'b'),
      pod('agent-1', 'agent', 'culvert:0.1.0', 'a'),
      pod('control-1', 'control', 'culvert:0.2.0'),
    ],
  });
  const cluster = await clusterVersions(api, 'mesh');
  t.strictSame(
    cluster.pods.map(({ component, node, version, ready }) => [component, node, version, ready]),
    [
      ['culvert-control', null, '0.2.0', false],
      ['culvert-agent', 'a', '0.1.0', true],
      ['culvert-agent', 'b', '0.2.0', true],
    ],
  );
  const client = { version: '0.2.0', node: '26' };
  t.notOk(isAlike({ client, cluster, problem: null }), 'an agent is behind');
  const rest = { ...cluster, pods: cluster.pods.filter(({ node }) => node !== 'a') };
  t.ok(isAlike({ client, cluster: rest, problem: null }));
});

t.test('an image without a tag goes by its digest', async t => {
  t.equal(imageVersion('registry:5000/mesh/culvert:1.2@sha256:0123456789abcdef'), '1.2');
  t.equal(imageVersion('registry:5000/mesh/culvert@sha256:0123456789abcdef'), 'sha256:0123456789ab');
  t.equal(imageVersion('registry:5000/mesh/culvert'), 'latest');
});

t.test('where no cluster can be reached it says why, and this version all the same', async t => {
  const options = { namespace: 'mesh', kubeconfig: `${t.testdir({})}/none`, output: 'table' };
  t.match(await versionsOf(options), {
    client: { version: /^\d/ },
    cluster: null,
    problem: /^CONFIG_KUBECONFIG/,
  });
  t.match(await versionsOf({ ...options, client: true }), { cluster: null, problem: null });
});
