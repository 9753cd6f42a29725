/**
 * The agent is gone: its sockets are closed, or it hangs and its heartbeat grows old. A fail-open pod talks as if there
 * were no mesh, a fail-closed pod to nobody; both at once, in both directions, and each verdict is counted.
 */
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { PodAgent } from './redirect-agent.ts';
import { type Call, RedirectLab } from './redirect-lab.ts';

const stage = await RedirectLab.create('failure', ['open', 'closed', 'peer']);
t.teardown(() => stage[Symbol.asyncDispose]());
const open = stage.pod('open');
const closed = stage.pod('closed');
const peer = stage.pod('peer');
await stage.serve(peer, '::', 8000, '46');
await stage.serve(open, '::', 8000, '46');
await stage.serve(closed, '::', 8000, '46');

const out: Call[] = [
  { to: [peer.address, 8000] },
  { to: [peer.address6, 8000], family: 6 },
  { to: [`::ffff:${peer.address}`, 8000], family: 6 },
];
const into = (pod: typeof open): Call[] => [
  { to: [pod.address, 8000] },
  { to: [pod.address6, 8000], family: 6 },
];

/** Every way in and out of both pods, when the reason is `why` in the names of the counters. */
async function withoutAgent(t: Tap, why: 'stale' | 'listener'): Promise<void> {
  const counted = await stage.counted(async () => {
    for (const one of await stage.calls(open, out))
      t.match(one.received, /getpeername/, 'fail-open, outbound: served');
    for (const one of await stage.calls(closed, out))
      t.equal(one.error, 'ECONNREFUSED', 'fail-closed, outbound: refused');
    for (const one of await stage.calls(peer, into(open)))
      t.match(one.received, /getpeername/, 'fail-open, inbound: served');
    for (const one of await stage.calls(peer, into(closed)))
      t.equal(one.error, 'ECONNREFUSED', 'fail-closed, inbound: refused');
    const own = await stage.calls(closed, [{ to: ['127.0.0.1', 8000] }, { to: [closed.address, 8000] }]);
    for (const one of own) t.match(one.received, /getpeername/, 'fail-closed: the pod still reaches itself');
  });
  t.same(counted, {
    [`connect_passed_${why}`]: 3,
    [`connect_refused_${why}`]: 3,
    [`lookup_passed_${why}`]: 2,
    [`lookup_dropped_${why}`]: 2,
    connect_local: 2,
    lookup_local: 2,
  });
}
type Tap = Test;

async function enrolBoth(): Promise<PodAgent[]> {
  return [await stage.enrol(open), await stage.enrol(closed, { failMode: 'closed' })];
}

async function captured(t: Tap): Promise<void> {
  for (const pod of [open, closed]) {
    for (const one of await stage.calls(pod, out)) t.match(one.received, /"port":"outbound"/);
    for (const one of await stage.calls(peer, into(pod))) t.match(one.received, /"port":"plaintext"/);
  }
}

t.test('listeners closed', async t => {
  const agents = await enrolBoth();
  await captured(t);
  for (const agent of agents) await agent.stop();
  await withoutAgent(t, 'listener');
});

t.test('heartbeat too old, and fresh again', async t => {
  const agents = await enrolBoth();
  const before = stage.redirect;
  stage.redirect = stage.open({ heartbeatTimeoutMs: 1 });
  t.ok(stage.redirect.adopted);
  await withoutAgent(t, 'stale');
  stage.redirect.close();
  stage.redirect = stage.open();
  await captured(t);
  before.close();
  for (const agent of agents) await agent.stop();
});

t.test('an agent that is killed leaves each pod in its mode, and the next one takes over', async t => {
  stage.redirect.close();
  const child = stage.spawnAgent(fileURLToPath(new URL('redirect-agent-process.ts', import.meta.url)), [
    { netns: open.netnsPath, addresses: [open.address, open.address6], failMode: 'open' },
    { netns: closed.netnsPath, addresses: [closed.address, closed.address6], failMode: 'closed' },
  ]);
  await child.says(/enrolled/);
  await captured(t);
  child.kill('SIGKILL');
  await child.exited;
  stage.redirect = stage.open();
  t.ok(stage.redirect.adopted);
  t.same(
    stage.redirect
      .enrolled()
      .map(({ failMode }) => failMode)
      .sort(),
    ['closed', 'open'],
    'the modes are still known',
  );
  await withoutAgent(t, 'listener');
  const agents = await enrolBoth();
  await captured(t);
  for (const agent of agents) await agent.stop();
});
