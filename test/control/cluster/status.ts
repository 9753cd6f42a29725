import t, { type Test } from 'tap';
import pino from 'pino';
import { ClusterObjects } from '../../../control/cluster/objects.ts';
import { StatusWriter } from '../../../control/cluster/status.ts';
import { ClusterWatch } from '../../../control/cluster/watch.ts';
import type { Finding } from '../../../control/finding.ts';
import { FakeApi, refuse } from './fake-api.ts';
import { until } from './until.ts';

const log = pino({ level: 'silent' });

async function lab(t: Test) {
  const fake = await FakeApi.start();
  fake.serve('culvert.dev/v1', 'AuthorizationPolicy', 'authorizationpolicies', true);
  fake.serve('security.istio.io/v1', 'PeerAuthentication', 'peerauthentications', true, false);
  fake.serve('networking.istio.io/v1', 'ServiceEntry', 'serviceentries', true);
  fake.serve('gateway.networking.k8s.io/v1', 'HTTPRoute', 'httproutes', true);
  const api = fake.client(t.testdir({}));
  const state = { leads: true, findings: new Map<string, Finding[]>() };
  const writer = new StatusWriter({
    api,
    knowledge: {
      findingsOf: object => state.findings.get(object) ?? [],
      allocated: (_, name) => [{ host: `${name}.example`, value: '240.240.0.7' }],
      hasWaypoint: () => true,
      waypoint: () => null,
      controllerOf: () => null,
    },
    mayWrite: () => state.leads,
    log,
    timing: { lookMs: 5, settledMs: 50 },
  });
  const store = new ClusterObjects({ onChange: () => writer.update(store.own()) });
  const kinds = ['AuthorizationPolicy', 'PeerAuthentication', 'HTTPRoute', 'ServiceEntry'] as const;
  const watch = new ClusterWatch({ api, store, kinds, log, timing: { backoffMinMs: 2 } });
  t.teardown(async () => {
    await watch.stop();
    await writer.stop();
    api.close();
    await fake[Symbol.asyncDispose]();
  });
  return { fake, writer, store, watch, state };
}

interface Status {
  observedGeneration?: number;
  conditions: { type: string; status: string; reason: string; observedGeneration: number }[];
}

function put(fake: FakeApi, spec: unknown, generation = 1): void {
  const before = fake.get('authorizationpolicies', 'shop', 'deny');
  fake.put('authorizationpolicies', {
    metadata: { namespace: 'shop', name: 'deny', generation },
    spec,
    ...(before?.status === undefined ? {} : { status: before.status }),
  });
}

function statusOf(fake: FakeApi): Status | undefined {
  return fake.get('authorizationpolicies', 'shop', 'deny')?.status as Status | undefined;
}

function writes(fake: FakeApi): string[] {
  return fake.requests.filter(request => request.startsWith('PATCH'));
}

const good = { action: 'DENY', rules: [{}] };

t.test('a policy gets its status, once, and again with each generation', async t => {
  const { fake, watch, writer } = await lab(t);
  put(fake, good);
  await watch.start();
  await until('it is written', () => statusOf(fake) !== undefined);
  t.match(statusOf(fake), {
    observedGeneration: 1,
    conditions: [
      { type: 'Accepted', status: 'True' },
      { type: 'Enforced', status: 'True' },
    ],
  });
  put(fake, { ...good, oops: 1 }, 2);
  await until('the new version is judged', () => statusOf(fake)?.observedGeneration === 2);
  t.match(statusOf(fake)?.conditions, [{ status: 'False', reason: 'UnknownField' }, { status: 'False' }]);
  put(fake, good, 3);
  await until('the next version is judged', () => statusOf(fake)?.observedGeneration === 3);
  await until('all answers are there', () => writer.counts.written === 3);
});

t.test('addresses of hosts are written where they are missing, and what others wrote stays', async t => {
  const { fake, watch, writer } = await lab(t);
  const theirs = { type: 'Ready', status: 'True' };
  fake.put('serviceentries', {
    metadata: { namespace: 'shop', name: 'x', generation: 1 },
    spec: { hosts: ['x.example'], resolution: 'DNS' },
    status: { addresses: [{ host: 'x.example', value: '10.0.0.1' }], conditions: [theirs] },
  });
  await watch.start();
  await until('it is written', () => writer.counts.written === 1);
  t.match(fake.get('serviceentries', 'shop', 'x')?.status, {
    addresses: [{ host: 'x.example', value: '240.240.0.7' }],
    conditions: [theirs, { type: 'culvert.dev/Accepted', status: 'True' }],
  });
  t.equal(writes(fake).length, 1);
});

t.test('nothing is written where status has no path of its own, or another shape', async t => {
  const { fake, watch, store } = await lab(t);
  fake.put('httproutes', { metadata: { namespace: 'shop', name: 'x' }, spec: {}, status: { parents: [] } });
  fake.put('peerauthentications', {
    metadata: { namespace: 'shop', name: 'x' },
    spec: { mtls: { mode: 'STRICT' } },
  });
  put(fake, good);
  await watch.start();
  await until('the other is written', () => statusOf(fake) !== undefined);
  t.equal(store.own().length, 3);
  t.strictSame(writes(fake).length, 1);
});

t.test('only who leads writes, and begins when it does', async t => {
  const { fake, watch, writer, state } = await lab(t);
  state.leads = false;
  put(fake, good);
  await watch.start();
  put(fake, good, 2);
  await until('it watches', () => fake.watching('authorizationpolicies') === 1);
  t.strictSame(writes(fake), []);
  state.leads = true;
  writer.lead();
  await until('it is written', () => statusOf(fake)?.observedGeneration === 2);
});

t.test('a message that changes all the time is written now and then', async t => {
  const { fake, watch, writer, store, state } = await lab(t);
  put(fake, good);
  await watch.start();
  const name = 'AuthorizationPolicy shop/deny';
  let count = 0;
  const flap = setInterval(() => {
    count += 1;
    const message = `${count} pods are not in the mesh`;
    const place = { file: null, line: null, field: null };
    state.findings.set(name, [
      { ...place, severity: 'warning', code: 'policy-not-enforced', object: name, message },
    ]);
    writer.update(store.own());
  }, 2);
  await until('it has changed often', () => count > 100);
  clearInterval(flap);
  t.ok(writes(fake).length <= 10, `${writes(fake).length} writes`);
  await until('the last one is written', () => JSON.stringify(statusOf(fake)).includes(`${count} pods are`));
});

t.test('what fails is tried again, a conflict with what has changed', async t => {
  const { fake, watch, writer } = await lab(t);
  put(fake, good);
  let refusals = 0;
  fake.intercept = (request, response) => {
    if (request.method !== 'PATCH' || refusals >= 3) return false;
    refusals += 1;
    if (refusals === 1) refuse(response, 409, 'Conflict', 'the object has been modified');
    else refuse(response, 500, 'InternalError', 'etcdserver: request timed out');
    return true;
  };
  await watch.start();
  await until('it is written', () => writer.counts.written === 1);
  t.ok(statusOf(fake));
  t.equal(writer.counts.failed, 2);
});

t.test('what another has written meanwhile is not lost', async t => {
  const { fake, watch } = await lab(t);
  put(fake, good);
  const theirs = { type: 'Theirs', status: 'True', reason: 'Theirs', observedGeneration: 1 };
  let isFirst = true;
  fake.intercept = request => {
    // Between what was seen last and the write, on a watch that is slow to tell.
    if (request.method === 'PATCH' && isFirst) {
      isFirst = false;
      const there = fake.get('authorizationpolicies', 'shop', 'deny');
      if (there !== undefined)
        fake.put('authorizationpolicies', { ...there, status: { conditions: [theirs] } });
    }
    return false;
  };
  await watch.start();
  await until('ours are there', () => (statusOf(fake)?.conditions.length ?? 0) > 1);
  t.strictSame(
    statusOf(fake)?.conditions.map(({ type }) => type),
    ['Theirs', 'Accepted', 'Enforced'],
  );
});
