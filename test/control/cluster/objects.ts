import t from 'tap';
import type { ObjectChanges } from '../../../control/build-incremental.ts';
import type { ServedKind } from '../../../control/cluster/discovery.ts';
import { ClusterObjects, type ClusterObjectsOptions } from '../../../control/cluster/objects.ts';
import type { ApiObject } from '../../../control/cluster/api-events.ts';
import { objectName } from '../../../control/located.ts';
import { until } from './until.ts';

const pods: ServedKind = {
  kind: 'Pod',
  group: '',
  apiVersion: 'v1',
  plural: 'pods',
  namespaced: true,
  hasStatus: true,
};
const policies: ServedKind = {
  kind: 'AuthorizationPolicy',
  group: 'culvert.dev',
  apiVersion: 'culvert.dev/v1',
  plural: 'authorizationpolicies',
  namespaced: true,
  hasStatus: true,
};
const istioPolicies: ServedKind = {
  ...policies,
  group: 'security.istio.io',
  apiVersion: 'security.istio.io/v1',
};

let version = 0;

function pod(
  name: string,
  extra: Record<string, unknown> = {},
  metadata: Record<string, unknown> = {},
): ApiObject {
  version += 1;
  return {
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-${name}`,
      resourceVersion: String(version),
      managedFields: [{ manager: 'kubelet' }],
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
      ...metadata,
    },
    spec: { nodeName: 'node-a', containers: [{ name: 'c', image: 'x', env: [{ name: 'A', value: 'b' }] }] },
    status: { phase: 'Running', podIP: '10.0.0.1', ...extra },
  };
}

function policy(name: string, spec: unknown, metadata: Record<string, unknown> = {}): ApiObject {
  version += 1;
  return {
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-${name}`,
      resourceVersion: String(version),
      generation: 1,
      ...metadata,
    },
    spec,
  };
}

const denyAll = { action: 'DENY', rules: [{}] };
const misspelt = { ...denyAll, selectr: { matchLabels: { app: 'web' } } };

function store(options: Partial<ClusterObjectsOptions> = {}) {
  const changes: ObjectChanges[] = [];
  const store = new ClusterObjects({ onChange: change => changes.push(change), ...options });
  return { store, changes };
}

t.test('objects become what the builder reads, without what nobody reads', async t => {
  const { store: objects, changes } = store();
  objects.sink(pods).set(pod('web'));
  objects.open();
  t.match(changes, [{ set: [{ kind: 'Pod', namespace: 'shop', name: 'web' }], removed: [] }]);
  const object = objects.get('Pod', 'shop', 'web');
  t.match(object?.value, { spec: { nodeName: 'node-a' }, status: { podIP: '10.0.0.1' } });
  t.strictSame(object?.value.metadata.annotations, {});
  t.notMatch(JSON.stringify(object?.value), /managedFields|env|image/);
  t.strictSame(object?.origin.file, null);
  t.strictSame(objects.counts(), { Pod: 1 });
});

t.test('nothing is handed on before all is there, then everything at once', async t => {
  const { store: objects, changes } = store();
  const sink = objects.sink(pods);
  sink.begin();
  sink.set(pod('a'));
  sink.set(pod('b'));
  sink.end();
  objects.sink(policies).set(policy('deny', denyAll));
  sink.delete(pod('b'));
  await new Promise(resolve => setTimeout(resolve, 150));
  t.strictSame(changes, []);
  objects.open();
  objects.open();
  t.strictSame(
    changes.map(({ set }) => set.map(objectName)),
    [['Pod shop/a', 'AuthorizationPolicy shop/deny']],
  );
});

t.test('changes come together, and what came and went in between does not come', async t => {
  const { store: objects, changes } = store();
  const sink = objects.sink(pods);
  sink.set(pod('stays'));
  sink.set(pod('goes'));
  objects.open();
  sink.set(pod('stays', { podIP: '10.0.0.9' }));
  sink.set(pod('passing'));
  sink.delete(pod('passing'));
  sink.delete(pod('goes'));
  sink.set(pod('new'));
  await until('they come', () => changes.length === 2);
  t.strictSame(changes[1]?.set.map(objectName), ['Pod shop/stays', 'Pod shop/new']);
  t.strictSame(changes[1]?.removed.map(objectName), ['Pod shop/goes']);
});

t.test('a change of what nobody reads is none', async t => {
  const { store: objects, changes } = store();
  const sink = objects.sink(pods);
  sink.set(pod('web'));
  objects.open();
  const count = objects.changes;
  sink.set(pod('web', { containerStatuses: [{ restartCount: 3 }] }));
  t.equal(objects.changes, count);
  sink.set(pod('other'));
  await until('the other comes', () => changes.length === 2);
  t.strictSame(changes[1]?.set.map(objectName), ['Pod shop/other']);
});

t.test('under constant change nobody waits longer than the maximum', async t => {
  const { store: objects, changes } = store();
  const sink = objects.sink(pods);
  objects.open();
  let index = 0;
  const churn = setInterval(() => sink.set(pod(`p${(index += 1)}`)), 2);
  await until('changes come in spite of it', () => changes.length > 4);
  clearInterval(churn);
  t.pass();
});

t.test('what a list does not bring is gone, also of a list that had to begin again', async t => {
  const { store: objects } = store();
  const sink = objects.sink(pods);
  for (const name of ['a', 'b', 'c']) sink.set(pod(name));
  sink.begin();
  sink.set(pod('a'));
  sink.begin();
  sink.set(pod('c'));
  sink.end();
  t.strictSame(
    objects.all().map(({ name }) => name),
    ['c'],
  );
});

t.test('the last good version of an object that is refused stays in force', async t => {
  const { store: objects, changes } = store();
  const sink = objects.sink(policies);
  sink.set(policy('deny', denyAll));
  objects.open();
  sink.set(policy('deny', misspelt, { generation: 2 }));
  t.match(objects.get('AuthorizationPolicy', 'shop', 'deny')?.value.spec, denyAll);
  const findings = objects.findings();
  t.strictSame(
    findings.map(({ severity, code, object, file }) => ({ severity, code, object, file })),
    ['object-refused', 'unknown-field'].map(code => ({
      severity: 'error',
      code,
      object: 'AuthorizationPolicy shop/deny',
      file: null,
    })),
  );
  t.match(findings[0]?.message, /last good version stays in force/);
  t.match(findings[1]?.message, /did you mean selector/);
  t.match(objects.own(), [{ name: 'deny', generation: 2, findings: { length: 2 } }]);
  await until('whoever writes status hears of it', () => changes.length === 2);
  t.strictSame(changes[1], { set: [], removed: [] });

  sink.set(policy('deny', { action: 'ALLOW' }, { generation: 3 }));
  t.strictSame(objects.findings(), []);
  t.match(objects.get('AuthorizationPolicy', 'shop', 'deny')?.value.spec, { action: 'ALLOW' });
});

t.test('an object that was never good is in force nowhere, and neither is that of another uid', async t => {
  const { store: objects } = store();
  const sink = objects.sink(policies);
  sink.set(policy('new', misspelt));
  t.equal(objects.get('AuthorizationPolicy', 'shop', 'new'), null);
  t.match(objects.findings()[0]?.message, /nothing of it is in force/);
  sink.set(policy('deny', denyAll));
  sink.set(policy('deny', misspelt, { uid: 'another' }));
  t.equal(objects.get('AuthorizationPolicy', 'shop', 'deny'), null);
  sink.delete(policy('new', misspelt));
  sink.delete(policy('deny', misspelt));
  t.strictSame(objects.findings(), []);
  t.strictSame(objects.own(), []);
});

t.test('fields that only a newer server knows are no findings', async t => {
  const { store: objects } = store();
  objects.sink(pods).set(pod('web', { somethingNew: true }));
  t.strictSame(objects.findings(), []);
  t.ok(objects.get('Pod', 'shop', 'web'));
});

t.test('a kind in two groups: both are there, and the order between them is fixed', async t => {
  const { store: objects } = store();
  objects.sink(istioPolicies).set(policy('deny', { action: 'ALLOW' }));
  objects.sink(policies).set(policy('deny', denyAll));
  t.equal(objects.all().length, 2);
  t.match(objects.get('AuthorizationPolicy', 'shop', 'deny')?.value.spec, denyAll);
  t.strictSame(
    objects.all().map(({ origin }) => origin.index),
    [1, 0],
  );
  objects.drop(policies);
  t.match(objects.get('AuthorizationPolicy', 'shop', 'deny')?.value.spec, { action: 'ALLOW' });
});

t.test('another version of a kind takes over what there is', async t => {
  const { store: objects } = store();
  objects.sink(istioPolicies).set(policy('deny', denyAll));
  const sink = objects.sink({ ...istioPolicies, apiVersion: 'security.istio.io/v1beta1' });
  t.equal(objects.all().length, 1);
  sink.begin();
  sink.end();
  t.equal(objects.all().length, 0);
});

t.test('single changes are told at once', async t => {
  const told: string[] = [];
  const { store: objects } = store({
    onObject: (before, after) => told.push(`${before?.name ?? '-'} ${after?.name ?? '-'}`),
  });
  const sink = objects.sink(pods);
  sink.set(pod('web'));
  sink.set(pod('web', { phase: 'Failed' }));
  sink.delete(pod('web'));
  t.strictSame(told, ['- web', 'web web', 'web -']);
});
