import t, { type Test } from 'tap';
import pino from 'pino';
import { ClusterObjects } from '../../../control/cluster/objects.ts';
import { PodIndex } from '../../../control/cluster/pod-index.ts';
import { RedirectionWriter } from '../../../control/cluster/redirection.ts';
import { ClusterWatch } from '../../../control/cluster/watch.ts';
import type { Report } from '../../../control/node-reports.ts';
import { FakeApi, refuse } from './fake-api.ts';
import { until } from './until.ts';

const log = pino({ level: 'silent' });

async function lab(t: Test) {
  const fake = await FakeApi.start();
  const api = fake.client(t.testdir({}));
  const pods = new PodIndex();
  const writer = new RedirectionWriter({
    api,
    pods,
    log,
    timing: { backoffMinMs: 2, backoffMaxMs: 20, believeMs: 100, absentMs: 60, settledMs: 30 },
  });
  const store = new ClusterObjects({
    onChange: () => {},
    onObject: (before, after) => {
      pods.apply(before, after);
      const [old, pod] = [before, after].map(object => (object?.kind === 'Pod' ? object : null));
      if (old !== null || pod !== null) writer.podChanged(old ?? null, pod ?? null);
    },
  });
  const watch = new ClusterWatch({ api, store, kinds: ['Pod'], log, timing: { backoffMinMs: 2 } });
  await watch.start();
  t.teardown(async () => {
    await watch.stop();
    await writer.stop();
    api.close();
    await fake[Symbol.asyncDispose]();
  });
  return { fake, writer, pods };
}

function pod(fake: FakeApi, name: string, extra: Record<string, unknown> = {}, metadata = {}): string {
  const { metadata: made } = fake.put('pods', {
    metadata: { namespace: 'shop', name, ...metadata },
    spec: { nodeName: 'node-a', ...extra },
    status: { phase: 'Running' },
  });
  return made.uid ?? '';
}

function annotation(fake: FakeApi, name: string): unknown {
  const annotations = fake.get('pods', 'shop', name)?.metadata.annotations as
    | Record<string, unknown>
    | undefined;
  return annotations?.['culvert.dev/redirection'];
}

const agent = { node: 'node-a', podUid: 'agent-1' };

function report(uids: readonly string[], more: Partial<Report> = {}): Report {
  const pods = uids.map(podUid => ({ podUid, enrolled: true, problem: null }));
  return { full: true, pods, gone: [], agentVersion: '1', ...more };
}

function patches(fake: FakeApi): string[] {
  return fake.requests.filter(request => request.startsWith('PATCH'));
}

t.test('what an agent enrolled is written onto the pod, once', async t => {
  const { fake, writer, pods } = await lab(t);
  const uid = pod(fake, 'web');
  await until('it is known', () => pods.size === 1);
  writer.report(agent, report([uid]));
  await until('it is written', () => annotation(fake, 'web') === 'enabled');
  writer.report(agent, report([uid]));
  writer.report(agent, report([uid], { full: false }));
  await until('nothing is left to do', () => writer.counts.waiting === 0);
  await until(
    'the watch has brought it back',
    () => pods.pod(uid)?.value.metadata.annotations['culvert.dev/redirection'] === 'enabled',
  );
  writer.report(agent, report([uid]));
  t.equal(patches(fake).length, 1);
  t.strictSame(writer.counts, { written: 1, failed: 0, waiting: 0 });
});

t.test('it is removed when the agent says so, or says nothing of it in a full report', async t => {
  const { fake, writer, pods } = await lab(t);
  const a = pod(fake, 'a');
  const b = pod(fake, 'b');
  const c = pod(fake, 'c', {}, { annotations: { 'culvert.dev/redirection': 'enabled', mine: 'stays' } });
  await until('they are known', () => pods.size === 3);
  writer.report(agent, report([a, b]));
  await until('written', () => annotation(fake, 'a') === 'enabled' && annotation(fake, 'b') === 'enabled');
  await until('c is not enrolled', () => annotation(fake, 'c') === undefined);
  t.match(fake.get('pods', 'shop', 'c')?.metadata.annotations, { mine: 'stays' });
  writer.report(agent, { full: false, pods: [], gone: [a], agentVersion: '1' });
  writer.report(agent, {
    full: false,
    pods: [{ podUid: b, enrolled: false, problem: { code: 'ENROL_FAILED', message: 'no such netns' } }],
    gone: [],
    agentVersion: '1',
  });
  await until('removed', () => annotation(fake, 'a') === undefined && annotation(fake, 'b') === undefined);
  t.match(writer.findings(), [
    {
      severity: 'error',
      code: 'enrolment-failed',
      object: 'Pod shop/b',
      message: 'the agent of node node-a could not enrol it: ENROL_FAILED: no such netns',
    },
  ]);
  t.ok(c);
});

t.test(
  'an agent has nothing to say about pods of another node, of the host network, or that have ended',
  async t => {
    const { fake, writer, pods } = await lab(t);
    const uids = [
      pod(fake, 'elsewhere', { nodeName: 'node-b' }),
      pod(fake, 'host', { hostNetwork: true }),
      pod(fake, 'pending', { nodeName: undefined }),
    ];
    const annotated = { annotations: { 'culvert.dev/redirection': 'enabled' } };
    pod(fake, 'stays', { nodeName: 'node-b' }, annotated);
    fake.put('pods', {
      metadata: { namespace: 'shop', name: 'ended', ...annotated },
      spec: { nodeName: 'node-a' },
      status: { phase: 'Succeeded' },
    });
    await until('they are known', () => pods.size === 5);
    writer.report(agent, report(uids));
    const real = pod(fake, 'real');
    writer.report(agent, report([...uids, real]));
    await until('the real one is written', () => annotation(fake, 'real') === 'enabled');
    for (const name of ['elsewhere', 'host', 'pending']) t.equal(annotation(fake, name), undefined, name);
    t.equal(annotation(fake, 'stays'), 'enabled');
    t.equal(annotation(fake, 'ended'), 'enabled');
    t.equal(patches(fake).length, 1);
  },
);

t.test('without a full report first, nothing is believed', async t => {
  const { fake, writer, pods } = await lab(t);
  const uid = pod(fake, 'web');
  await until('it is known', () => pods.size === 1);
  writer.report(agent, report([uid], { full: false }));
  t.equal(writer.counts.waiting, 0);
  t.equal(annotation(fake, 'web'), undefined);
});

t.test('a pod that the agent knows before we do is written when it comes', async t => {
  const { fake, writer } = await lab(t);
  writer.report(agent, report(['uid-1']));
  t.equal(pod(fake, 'web'), 'uid-1');
  await until('it is written', () => annotation(fake, 'web') === 'enabled');
});

t.test('a pod that was made anew under its name is another', async t => {
  const { fake, writer, pods } = await lab(t);
  const uid = pod(fake, 'web');
  await until('it is known', () => pods.size === 1);
  fake.silently(() => {
    fake.delete('pods', 'shop', 'web');
    pod(fake, 'web', {}, { uid: 'another' });
  });
  writer.report(agent, report([uid]));
  await until('it was refused for its uid', () => patches(fake).length > 2);
  t.equal(annotation(fake, 'web'), undefined);
  fake.hangUp('pods');
  await until('the watch says so', () => pods.pod(uid) === null);
  await until('nothing is left to do', () => writer.counts.waiting === 0);
  t.equal(annotation(fake, 'web'), undefined);
});

t.test('what fails is tried again; what changed meanwhile is what is written', async t => {
  const { fake, writer, pods } = await lab(t);
  const uid = pod(fake, 'web');
  await until('it is known', () => pods.size === 1);
  let failures = 0;
  fake.intercept = (request, response) => {
    if (request.method !== 'PATCH' || failures > 4) return false;
    failures += 1;
    if (failures === 2) response.destroy();
    else refuse(response, failures === 1 ? 403 : 500, 'Nope', 'not now');
    return true;
  };
  writer.report(agent, report([uid]));
  await until('it is written', () => annotation(fake, 'web') === 'enabled');
  t.ok(
    writer.counts.failed >= 4,
    'one of five was a connection that went stale, which is tried again at once',
  );
  failures = 0;
  writer.report(agent, report([]));
  await until('it fails', () => failures > 2);
  writer.report(agent, report([uid]));
  await until('nothing is left to do', () => writer.counts.waiting === 0);
  t.equal(annotation(fake, 'web'), 'enabled');
});

t.test('what another replica wrote wrongly after us is put right', async t => {
  const { fake, writer, pods } = await lab(t);
  const uid = pod(fake, 'web');
  await until('it is known', () => pods.size === 1);
  writer.report(agent, report([uid]));
  await until('it is written', () => annotation(fake, 'web') === 'enabled');
  const written = fake.get('pods', 'shop', 'web');
  fake.put('pods', { ...written, metadata: { ...written?.metadata, name: 'web', annotations: {} } });
  await until('it is put right', () => annotation(fake, 'web') === 'enabled');
});

t.test('an agent that reports elsewhere now is no longer ours to write for', async t => {
  const { fake, writer, pods } = await lab(t);
  const uid = pod(fake, 'web');
  await until('it is known', () => pods.size === 1);
  fake.intercept = (request, response) => {
    if (request.method !== 'PATCH') return false;
    refuse(response, 500, 'Nope', 'not now');
    return true;
  };
  writer.report(agent, report([uid]));
  await until('it fails', () => writer.counts.failed > 0);
  writer.keep([{ node: 'node-a', podUid: 'another' }]);
  await until('nothing is left to do', () => writer.counts.waiting === 0);
  fake.intercept = () => false;
  pod(fake, 'web', {}, { labels: { changed: 'yes' } });
  await until('the change is known', () => pods.pod(uid)?.value.metadata.labels.changed === 'yes');
  t.equal(writer.counts.waiting, 0);
  t.equal(annotation(fake, 'web'), undefined);
  t.strictSame(writer.findings(), []);
});

t.test('a node full of pods at once', async t => {
  const { fake, writer, pods } = await lab(t);
  const uids = Array.from({ length: 150 }, (_, index) => pod(fake, `p${index}`));
  await until('they are known', () => pods.size === 150);
  writer.report(agent, report(uids));
  await until('all are written', () => uids.every((_, index) => annotation(fake, `p${index}`) === 'enabled'));
  await until('nothing is left to do', () => writer.counts.waiting === 0);
  t.equal(patches(fake).length, 150);
  t.ok(fake.connections < 25, `${fake.connections} connections`);
});

t.test('while one agent takes over from another, what either has is redirected', async t => {
  const { fake, writer, pods } = await lab(t);
  const uid = pod(fake, 'web');
  await until('it is known', () => pods.size === 1);
  const next = { node: 'node-a', podUid: 'agent-2' };
  writer.report(agent, report([uid]));
  await until('it is written', () => annotation(fake, 'web') === 'enabled' && writer.counts.waiting === 0);
  writer.report(next, report([]));
  t.equal(writer.counts.waiting, 0);
  writer.report(next, report([uid], { full: false }));
  writer.keep([next]);
  pod(fake, 'other');
  await until('the other is known', () => pods.size === 2);
  t.equal(annotation(fake, 'web'), 'enabled');
  t.equal(patches(fake).length, 1);
  writer.report(next, report([], { full: false, gone: [uid] }));
  await until('it is removed', () => annotation(fake, 'web') === undefined);
});

t.test('a pod that an agent has not found yet when it starts keeps what it has', async t => {
  const { fake, writer, pods } = await lab(t);
  const uid = pod(fake, 'web', {}, { annotations: { 'culvert.dev/redirection': 'enabled' } });
  await until('it is known', () => pods.size === 1);
  writer.report(agent, report([]));
  t.equal(writer.counts.waiting, 1, 'it is looked at again, later');
  writer.report(agent, report([uid], { full: false }));
  await until('nothing is left to do', () => writer.counts.waiting === 0);
  t.strictSame(patches(fake), []);
});

t.test(
  'two replicas that are told different things do not write against each other at full speed',
  async t => {
    const { fake, writer, pods } = await lab(t);
    const uid = pod(fake, 'web');
    await until('it is known', () => pods.size === 1);
    writer.report(agent, report([uid]));
    let rewrites = 0;
    const other = setInterval(() => {
      const there = fake.get('pods', 'shop', 'web');
      if (there === undefined || annotation(fake, 'web') !== 'enabled') return;
      rewrites += 1;
      fake.put('pods', { ...there, metadata: { ...there.metadata, annotations: {} } });
    }, 1);
    await until('it was rewritten often', () => rewrites === 5);
    clearInterval(other);
    t.ok(patches(fake).length <= 7);
  },
);
