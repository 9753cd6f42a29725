import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { applyAll } from '../../cli/install.ts';
import { readRecord, refuseHelm } from '../../cli/install-record.ts';
import { changesOf, valuesOf } from '../../cli/install-values.ts';
import { rolloutOf } from '../../cli/cluster-rollout.ts';
import { waitFor } from '../../cli/cluster-wait.ts';
import { installation } from '../../daemonset/installation.ts';
import { type Json } from '../../daemonset/template.ts';
import { defaultValues } from '../../daemonset/values.ts';
import { FakeApi } from './fake-api.ts';

const patience = { timeoutMs: 1000, show: () => {}, intervalMs: 1 };

const apply = (api: FakeApi, changes: Json, dryRun = false) =>
  applyAll(api, {
    namespace: 'mesh',
    objects: installation('mesh', valuesOf(changes)),
    changes,
    dryRun,
    patience,
  });

t.test('values: defaults, then a file, then settings', async t => {
  const file = join(t.testdir(), 'values.yaml');
  writeFileSync(file, 'control: { replicas: 3 }\nlogLevel: debug\n');
  const changes = changesOf({ networkPolicy: false }, file, [
    'control.replicas=4',
    'agent.extraArgs=[--a, --b]',
    'control.annotations.a\\.b/c=d',
  ]);
  t.match(valuesOf(changes), {
    ...defaultValues,
    networkPolicy: false,
    logLevel: 'debug',
    agent: { extraArgs: ['--a', '--b'] },
    control: { replicas: 4, annotations: { 'a.b/c': 'd' } },
  });
  t.strictSame(valuesOf({}), defaultValues);
  const without = changesOf({}, null, [
    'agent.resources.limits=null',
    'agent.nodeSelector={kubernetes.io/os: null}',
  ]);
  t.strictSame(valuesOf(without).agent.resources, { requests: defaultValues.agent.resources.requests });
  t.strictSame(valuesOf(without).agent.nodeSelector, {});
});

t.test('values that do not exist or are of another kind are refused, all at once', async t => {
  t.throws(() => valuesOf({ agents: {}, control: { replicas: 'two' } }), {
    code: 'BAD_USAGE',
    message: /control\.replicas: .*\n.*"agents"/,
  });
  t.throws(() => changesOf({}, null, ['control']), { code: 'BAD_USAGE' });
  t.throws(() => changesOf({}, '/does/not/exist', []), { code: 'BAD_USAGE' });
  t.throws(() => changesOf({}, null, ['a=[']), { code: 'BAD_USAGE' });
});

t.test('kinds and rights are there before what needs them, and a second time changes nothing', async t => {
  const api = new FakeApi();
  const first = await apply(api, { mesh: { trustDomain: 'example.org' } });
  const order = first.map(({ object }) => object.split(' ')[0]);
  t.equal(order[0], 'Namespace');
  t.ok(order.lastIndexOf('CustomResourceDefinition') < order.indexOf('MeshConfig'));
  t.ok(order.indexOf('ServiceAccount') < order.indexOf('DaemonSet'));
  t.same(
    first.filter(({ change }) => change !== 'created'),
    [],
  );
  t.same(
    (await apply(api, { mesh: { trustDomain: 'example.org' } })).filter(
      ({ change }) => change !== 'unchanged',
    ),
    [],
  );
});

t.test('what is no longer wanted goes, also after an interruption', async t => {
  const api = new FakeApi();
  await apply(api, { mesh: { trustDomain: 'example.org' } });
  // Stopped when the record is written and nothing else.
  api.onChange = change => {
    if (change.includes('daemonsets')) throw new Error('interrupted');
  };
  await t.rejects(apply(api, { agent: { extraArgs: ['--x'] } }), /interrupted/);
  api.onChange = () => {};
  const changes = (await apply(api, { agent: { extraArgs: ['--x'] } })).filter(it => it.change === 'removed');
  t.strictSame(changes, [{ object: 'MeshConfig default', change: 'removed' }]);
  t.match(await readRecord(api, 'mesh'), { values: { agent: { extraArgs: ['--x'] } } });
});

t.test('a dry run keeps nothing', async t => {
  const api = new FakeApi();
  const planned = await apply(api, {}, true);
  t.ok(planned.every(({ change }) => change === 'created'));
  t.equal(api.objects.size, 0);
});

t.test('a namespace that was there before is not marked as ours', async t => {
  const api = new FakeApi();
  api.objects.set('/api/v1/namespaces/mesh', { metadata: { name: 'mesh' } });
  await apply(api, {});
  t.strictSame(Object.keys(api.objects.get('/api/v1/namespaces/mesh')?.metadata['labels'] ?? {}), [
    'pod-security.kubernetes.io/enforce',
    'pod-security.kubernetes.io/audit',
    'pod-security.kubernetes.io/warn',
  ]);
});

t.test("Helm's installation is left to Helm", async t => {
  const api = new FakeApi();
  await refuseHelm(api, 'mesh', 'x');
  api.objects.set('/apis/apps/v1/namespaces/mesh/daemonsets/culvert-agent', {
    metadata: { name: 'culvert-agent', labels: { 'app.kubernetes.io/managed-by': 'Helm' } },
  });
  await t.rejects(refuseHelm(api, 'mesh', 'use `helm upgrade`'), { code: 'HELM_INSTALLATION' });
});

t.test('a rollout is done when all pods are new and ready', async t => {
  const api = new FakeApi();
  const path = '/apis/apps/v1/namespaces/mesh/daemonsets/culvert-agent';
  const status = {
    observedGeneration: 2,
    desiredNumberScheduled: 3,
    updatedNumberScheduled: 3,
    numberReady: 3,
  };
  for (const [change, done] of [
    [{}, true],
    [{ observedGeneration: 1 }, false],
    [{ updatedNumberScheduled: 2 }, false],
    [{ numberReady: 2 }, false],
  ] as const) {
    api.objects.set(path, { metadata: { generation: 2 }, spec: {}, status: { ...status, ...change } });
    t.equal((await rolloutOf(api, 'mesh', 'DaemonSet')).done, done, JSON.stringify(change));
  }
});

t.test('waiting shows every state once, and ends with the last one', async t => {
  const states = ['a', 'a', 'b'];
  const shown: string[] = [];
  const look = async () => ({
    done: states.length === 1,
    state: states.length > 1 ? (states.shift() ?? '') : 'b',
  });
  await waitFor(look, { ...patience, show: state => shown.push(state) });
  t.strictSame(shown, ['a', 'b']);
  await t.rejects(
    waitFor(async () => ({ done: false, state: 'half' }), { ...patience, timeoutMs: 0 }),
    { code: 'CLUSTER_TIMEOUT', message: /half/ },
  );
});
