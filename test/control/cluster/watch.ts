import t, { type Test } from 'tap';
import pino from 'pino';
import { ClusterObjects } from '../../../control/cluster/objects.ts';
import { ClusterWatch } from '../../../control/cluster/watch.ts';
import type { KindName } from '../../../model/kinds/registry.ts';
import { FakeApi, refuse } from './fake-api.ts';
import { until } from './until.ts';

const log = pino({ level: 'silent' });
const kinds: readonly KindName[] = ['Namespace', 'Pod', 'AuthorizationPolicy'];
const timing = { backoffMinMs: 2, backoffMaxMs: 20 };

async function lab(t: Test) {
  const fake = await FakeApi.start();
  const api = fake.client(t.testdir({}));
  const opened: number[] = [];
  const removed: string[] = [];
  const store = new ClusterObjects({
    onChange: ({ set }) => opened.push(set.length),
    onObject: (before, after) => {
      if (before !== null && after === null) removed.push(before.name);
    },
  });
  const watch = new ClusterWatch({ api, store, kinds, log, discoveryMs: 20, timing });
  t.teardown(async () => {
    await watch.stop();
    store.close();
    api.close();
    await fake[Symbol.asyncDispose]();
  });
  return { fake, store, watch, opened, removed };
}

const policy = { metadata: { namespace: 'shop', name: 'deny' }, spec: { action: 'DENY', rules: [{}] } };

t.test('every kind that the server has is read once before anything is handed on', async t => {
  const { fake, store, watch, opened } = await lab(t);
  fake.serve('culvert.dev/v1', 'AuthorizationPolicy', 'authorizationpolicies', true);
  fake.serve('security.istio.io/v1', 'AuthorizationPolicy', 'authorizationpolicies', true);
  fake.put('namespaces', { metadata: { name: 'shop' }, spec: { finalizers: ['kubernetes'] } });
  fake.put('pods', { metadata: { namespace: 'shop', name: 'web' }, spec: {}, status: {} });
  fake.put('authorizationpolicies', policy, 'culvert.dev/v1');
  fake.put('authorizationpolicies', policy, 'security.istio.io/v1');
  await watch.start();
  t.strictSame(opened, [4]);
  t.strictSame(store.counts(), {
    Namespace: 1,
    Pod: 1,
    'AuthorizationPolicy.culvert.dev': 1,
    'AuthorizationPolicy.security.istio.io': 1,
  });
  t.strictSame(watch.problems(), []);
  t.ok(watch.state().every(({ synced }) => synced));
});

t.test('of namespaces only the metadata is asked for', async t => {
  const { fake, watch } = await lab(t);
  const accepts: string[] = [];
  fake.intercept = request => {
    if (request.url?.startsWith('/api/v1/namespaces') === true) accepts.push(String(request.headers.accept));
    return false;
  };
  await watch.start();
  await until('it watches', () => accepts.length === 2);
  t.match(accepts[0], /as=PartialObjectMetadataList;g=meta.k8s.io;v=v1/);
  t.match(accepts[1], /as=PartialObjectMetadata;g=meta.k8s.io;v=v1/);
});

t.test('a kind that is installed later comes in, and one that is removed goes', async t => {
  const { fake, store, watch } = await lab(t);
  await watch.start();
  fake.serve('security.istio.io/v1beta1', 'AuthorizationPolicy', 'authorizationpolicies', true);
  fake.put('authorizationpolicies', policy);
  await until('it comes in', () => store.get('AuthorizationPolicy', 'shop', 'deny') !== null);

  fake.serve('security.istio.io/v1', 'AuthorizationPolicy', 'authorizationpolicies', true);
  fake.put('authorizationpolicies', policy, 'security.istio.io/v1');
  await until('the better version is read', () =>
    fake.requests.some(it => it.includes('security.istio.io/v1/auth')),
  );
  t.ok(store.get('AuthorizationPolicy', 'shop', 'deny'));

  fake.unserve('security.istio.io/v1beta1', 'authorizationpolicies');
  fake.unserve('security.istio.io/v1', 'authorizationpolicies');
  fake.hangUp('authorizationpolicies');
  await until('it goes', () => store.get('AuthorizationPolicy', 'shop', 'deny') === null);
  t.strictSame(Object.keys(store.counts()), ['Namespace', 'Pod']);
});

t.test('a server that for a moment does not know its kinds takes nothing away', async t => {
  const { fake, store, watch, removed } = await lab(t);
  fake.serve('culvert.dev/v1', 'AuthorizationPolicy', 'authorizationpolicies', true);
  fake.put('authorizationpolicies', policy);
  await watch.start();
  for (const [status, body] of [
    [503, '{}'],
    [200, '{"groups":[]}'],
    [200, '{"groups":[]}'],
    [200, '<html>'],
  ] as const) {
    let answered = false;
    fake.intercept = (request, response) => {
      if (request.url !== '/apis' || answered) return false;
      answered = true;
      response.writeHead(status);
      response.end(body);
      return true;
    };
    await until('it has asked', () => answered);
  }
  const { length } = fake.requests;
  await until('it goes on asking', () => fake.requests.length > length + 4);
  t.strictSame(removed, []);
  t.ok(store.get('AuthorizationPolicy', 'shop', 'deny'));
});

t.test('a server that is away at the start is waited for', async t => {
  const { fake, watch } = await lab(t);
  const { port } = fake;
  await fake.close();
  const started = watch.start();
  await until('it says so', () => watch.problems().length > 0);
  t.match(watch.problems()[0], /KUBERNETES_UNREACHABLE/);
  await fake.listen(port);
  await started;
  t.strictSame(watch.problems(), []);
});

t.test('a kind that may not be read holds up the start, and says so', async t => {
  const { fake, watch, opened } = await lab(t);
  fake.intercept = (request, response) => {
    if (request.url?.startsWith('/api/v1/pods') !== true) return false;
    refuse(response, 403, 'Forbidden', 'pods is forbidden');
    return true;
  };
  const started = watch.start();
  await until('it says so', () => watch.findings().length > 0);
  t.match(watch.findings(), [
    {
      severity: 'error',
      code: 'kind-unreadable',
      message: /^Pod can not be followed, nothing of it is in force: .*forbidden/,
    },
  ]);
  t.strictSame(opened, []);
  await Promise.all([t.rejects(started, /stopped/), watch.stop()]);
});
