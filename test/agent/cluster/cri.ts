/** Pods by the container runtime: what containerd and CRI-O say, and a runtime that comes, goes, and has no events. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import { Runtime } from '../../../agent/cluster/cri.ts';
import { visibleNetns } from '../../../agent/cluster/netns-path.ts';
import { processNetns } from '../../../agent/cluster/process-netns.ts';
import { readSandbox, type Sandbox } from '../../../agent/cluster/sandbox.ts';
import { createLogger } from '../../../base/log.ts';
import { FakeRuntime, statusOf } from '../../help/fake-runtime.ts';
import { eventually } from '../../lab/eventually.ts';

const log = createLogger({ component: 'test', level: 'silent' });
const none = (): null => null;

/** Where nobody listens yet. A path in the directory of a test would be too long for a socket. */
function socketPath(): string {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-cri-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return join(directory, 'cri.sock');
}

t.test('a sandbox as runtimes describe it', async t => {
  const netns = '/var/run/netns/cni-1';
  t.same(
    readSandbox(statusOf({ id: 's', uid: 'u', netns, ips: ['10.0.0.1', 'fd00::0:1'], createdAt: 7 }), none),
    {
      id: 's',
      podUid: 'u',
      namespace: 'shop',
      name: 'u',
      netns,
      addresses: ['10.0.0.1', 'fd00::1'],
      createdAt: 7,
    },
  );
  t.equal(readSandbox(statusOf({ id: 's', uid: 'u', netns, hostNetwork: true }), none), 'host network');
  t.equal(readSandbox(statusOf({ id: 's', uid: 'u', netns, ready: false }), none), 'not ready');
  t.equal(readSandbox({ status: null, info: {} }, none), 'not ready');
  t.match(readSandbox(statusOf({ id: 's', uid: 'u', netns, ips: ['', 'nonsense'] }), none), {
    addresses: [],
  });
  // No file for it: the namespace of a process of the sandbox.
  const asked: unknown[] = [];
  const ofProcess = (pid: number, id: string): string => {
    asked.push([pid, id]);
    return `/proc/${pid}/ns/net`;
  };
  t.match(readSandbox(statusOf({ id: 's', uid: 'u', pid: 7 }), ofProcess), { netns: '/proc/7/ns/net' });
  t.same(asked, [[7, 's']]);
  t.equal(readSandbox(statusOf({ id: 's', uid: 'u', pid: 7 }), none), 'no namespace');
  t.equal(readSandbox(statusOf({ id: 's', uid: 'u' }), ofProcess), 'no namespace');
  const said = statusOf({ id: 's', uid: 'u' });
  for (const text of [
    '',
    'no JSON',
    'null',
    '[]',
    '{"runtimeSpec":null}',
    '{"pid":"7","runtimeSpec":{"linux":{"namespaces":[{"type":"network","path":7}]}}}',
  ])
    t.equal(readSandbox({ ...said, info: { info: text } }, ofProcess), 'no namespace', text);
  t.equal(readSandbox({ ...said, info: { info: '{"netNamespaceClosed":true}' } }, ofProcess), 'not ready');
});

t.test('the namespace of a process must be its sandbox and not the node', async t => {
  t.equal(processNetns(process.pid, 'no such sandbox'), null);
  t.equal(processNetns(process.pid, ''), null, "the node's own network");
  t.equal(processNetns(4_194_305, ''), null);
  t.equal(visibleNetns('/proc/self/ns/net'), 'node');
  t.equal(visibleNetns('/run/netns/there-is-none'), 'missing');
  if (process.getuid?.() !== 0) return;
  const child = spawn('unshare', ['--net', 'sleep', '60']);
  t.teardown(() => child.kill());
  const path = `/proc/${child.pid}/ns/net`;
  await eventually(() => typeof visibleNetns(path) === 'object', { what: 'a namespace of its own' });
  t.same(visibleNetns(path), { path });
  t.equal(processNetns(child.pid ?? 0, ''), path);
});

interface Watched {
  readonly runtime: Runtime;
  readonly lists: (readonly Sandbox[])[];
  /** Waits for a list of just these. */
  readonly until: (...ids: string[]) => Promise<unknown>;
}

function watched(path: string): Watched {
  const lists: (readonly Sandbox[])[] = [];
  const runtime = new Runtime({ socket: path, onSandboxes: list => lists.push(list), log });
  t.teardown(() => runtime.close());
  runtime.start();
  return {
    runtime,
    lists,
    until: (...ids) =>
      eventually(() => (lists.at(-1) ?? [{ id: '-' }]).map(({ id }) => id).join() === ids.join(), {
        what: `a list of ${ids.join()}`,
      }),
  };
}

t.test('what runs is listed at once and at every event', async t => {
  const fake = new FakeRuntime(socketPath());
  fake.sandboxes = [
    { id: 's1', uid: 'u1', netns: '/run/netns/1' },
    { id: 'host', uid: 'u2', hostNetwork: true, netns: '/run/netns/x' },
    { id: 'over', uid: 'u3', netns: '/run/netns/3', ready: false },
  ];
  await fake.start();
  t.teardown(() => fake.stop());
  const { until, runtime, lists } = watched(fake.path);
  await until('s1');
  t.match(runtime.state, { socket: fake.path, runtime: 'fake 1', trouble: null });
  await eventually(() => fake.followers === 1, { what: 'somebody to hear events' });
  fake.calls.length = 0;
  fake.set({ id: 's1', uid: 'u1', netns: '/run/netns/1' }, { id: 's2', uid: 'u4', netns: '/run/netns/2' });
  await until('s1', 's2');
  t.same(fake.calls, ['ListPodSandbox', 'PodSandboxStatus s2'], 'what is known is not asked again');
  t.match(lists.at(-1), [{ podUid: 'u1', netns: '/run/netns/1' }, { podUid: 'u4' }]);
  fake.set();
  await until();
});

t.test('one that is not complete yet is asked about again', async t => {
  const fake = new FakeRuntime(socketPath());
  fake.sandboxes = [{ id: 's1', uid: 'u1' }];
  await fake.start();
  t.teardown(() => fake.stop());
  const { until } = watched(fake.path);
  await until();
  await eventually(() => fake.followers === 1, { what: 'somebody to hear events' });
  fake.set({ id: 's1', uid: 'u1', netns: '/run/netns/1' });
  await until('s1');
});

t.test('a runtime that is away takes no pod with it', async t => {
  const fake = new FakeRuntime(socketPath());
  const { until, runtime, lists } = watched(fake.path);
  await eventually(() => runtime.state.trouble?.includes('UNAVAILABLE'), { what: 'the trouble' });
  fake.sandboxes = [{ id: 's1', uid: 'u1', netns: '/run/netns/1' }];
  await fake.start();
  await until('s1');
  const before = lists.length;
  fake.stop();
  await eventually(() => runtime.state.trouble !== null, { what: 'the trouble' });
  t.equal(lists.length, before, 'no list is said to be empty');
  fake.sandboxes = [{ id: 's2', uid: 'u2', netns: '/run/netns/2' }];
  await fake.start(false);
  await until('s2');
  // It answers, and with an error, as while it recovers.
  fake.trouble = { code: status.UNKNOWN, details: 'server is not initialized yet' };
  fake.stop();
  await fake.start(false);
  await eventually(() => runtime.state.trouble?.includes('not initialized'), { what: 'its words' });
  t.same(
    lists.at(-1)?.map(({ id }) => id),
    ['s2'],
  );
  fake.trouble = null;
  await eventually(() => runtime.state.trouble === null, { what: 'its recovery' });
  fake.stop();
});

t.test('no runtime at all', async t => {
  const { runtime } = watched(socketPath());
  await eventually(() => runtime.state.trouble !== 'not asked yet', { what: 'the trouble' });
  t.match(runtime.state, { runtime: null, socket: /cri\.sock$/ });
});
