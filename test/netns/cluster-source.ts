/**
 * The source of a cluster's agent as a whole: a control plane over gRPC and TLS, a container runtime, and the real CNI
 * plugin, each in the state that the test puts it into; the test itself does what an agent does with its pods.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ClusterSource } from '../../agent/cluster/cluster-source.ts';
import type { MeshUpdate } from '../../agent/mesh-source.ts';
import { CulvertError } from '../../base/errors.ts';
import { createLogger } from '../../base/log.ts';
import type { NodePod } from '../../model/node-pod.ts';
import {
  encodeNodePod,
  encodeSettings,
  encodeWorkload,
  type ResourceType,
  resourceTypes,
} from '../../xds/codec.ts';
import { FakeRuntime } from '../help/fake-runtime.ts';
import { ReportService } from '../help/report-service.ts';
import { eventually } from '../lab/eventually.ts';
import { workload } from '../model/objects.ts';
import { FakeControl, type FakeStream } from '../xds/fake-control.ts';
import { nodePod, settings } from '../agent/cluster/fixtures.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

execFileSync('make', ['-s', '-C', join(import.meta.dirname, '../../native/cni'), 'all']);
const log = createLogger({ component: 'test', level: 'silent' });
const directory = mkdtempSync(join(tmpdir(), 'culvert-cluster-'));
t.teardown(() => rmSync(directory, { recursive: true }));
const path = (name: string): string => join(directory, name);

const reports = new ReportService();
const control = await FakeControl.start({ services: reports.addTo });
t.teardown(() => control.stop());
writeFileSync(path('root.pem'), control.root.pem);
const runtime = new FakeRuntime(path('cri.sock'));
t.teardown(() => runtime.stop());
execFileSync('mkdir', [path('conf')]);
writeFileSync(
  path('conf/10-net.conflist'),
  '{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}',
);

/** Processes with namespaces of their own, which stand for pods. */
const places = new Map<string, ChildProcess>();
async function place(name: string): Promise<string> {
  const child = spawn('unshare', ['--net', 'sleep', '600'], { stdio: 'ignore' });
  places.set(name, child);
  const netns = `/proc/${child.pid}/ns/net`;
  const own = execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' });
  await eventually(() => execFileSync('readlink', [netns], { encoding: 'utf8' }) !== own, {
    what: 'a namespace of its own',
  });
  return netns;
}
t.teardown(() => {
  for (const child of places.values()) child.kill('SIGKILL');
});

const source = new ClusterSource({
  endpoint: control.endpoint({ rootPath: path('root.pem') }),
  certificates: control.endpoint({ rootPath: path('root.pem') }),
  node: { id: 'n', cluster: '', metadata: { fields: {} }, buildVersion: '', clientFeatures: [] },
  criSocket: runtime.path,
  cni: {
    socket: path('cni.sock'),
    enrolledNamespaces: path('conf/culvert-enrolled-namespaces'),
    enrolledNamespacesOnNode: path('conf/culvert-enrolled-namespaces'),
    install: { binDir: path('bin'), confDir: path('conf') },
  },
  onDemand: false,
  admission: { enrolMs: 30_000, unknownMs: 30_000 },
  log,
});
const updates: MeshUpdate[] = [];
source.onUpdate = update => updates.push(update);
let closed = false;
t.teardown(() => (closed ? undefined : source.close()));

const newest = (): readonly string[] => (updates.at(-1)?.wanted ?? []).map(({ podUid }) => podUid);
/** As an agent that has done what it was told. */
const enrolAll = (): void => source.enrolled({ enrolled: new Set(newest()), failures: new Map() });

interface Plugin {
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string }>;
}

/** What a runtime does for a new pod. */
function plugin(command: string, uid: string, netns: string, sandbox = `box-${uid}`): Plugin {
  const list = JSON.parse(readFileSync(path('conf/10-net.conflist'), 'utf8')) as { plugins: object[] };
  const prevResult = { cniVersion: '1.0.0', ips: [{ address: '10.0.0.7/24' }] };
  const config = { cniVersion: '1.0.0', name: 'net', ...list.plugins.at(-1), prevResult };
  const child = spawn(path('bin/culvert-cni'), [], {
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: sandbox,
      CNI_NETNS: netns,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${uid};K8S_POD_UID=${uid}`,
    },
  });
  let stdout = '';
  child.stdout.on('data', chunk => (stdout += chunk));
  child.stdin.end(JSON.stringify(config));
  return { ended: new Promise(resolve => child.on('close', code => resolve({ code, stdout }))) };
}

const stream: { current: FakeStream | null } = { current: null };
let nonce = 0;
function tell(
  type: ResourceType,
  resources: readonly (readonly [string, Buffer])[],
  removed: string[] = [],
): void {
  nonce += 1;
  stream.current?.send({
    typeUrl: resourceTypes[type],
    nonce: String(nonce),
    resources: resources.map(([name, value]) => ({
      name,
      version: String(nonce),
      resource: { typeUrl: resourceTypes[type], value },
    })),
    removedResources: removed,
  });
}
const tellPods = (...pods: readonly NodePod[]): void =>
  tell(
    'nodePod',
    pods.map(pod => [pod.podUid, encodeNodePod(pod)]),
  );

t.test('the first whole state is the beginning', async t => {
  runtime.set({ id: 'box-old', uid: 'old', netns: await place('old'), ips: ['10.0.0.1'] });
  await source.begin();
  const beginning = source.start();
  stream.current = await control.streams.take();
  const web = workload('web', { addresses: ['10.0.0.1'] });
  tell('address', [[web.uid, encodeWorkload(web)]]);
  tell('authorization', []);
  tellPods(nodePod('old'));
  tell('settings', [['mesh', encodeSettings(settings())]]);
  await eventually(() => source.clusterState().xds.synced, { what: 'the whole mesh' });
  t.notOk(
    await Promise.race([beginning, Promise.resolve(null)]),
    'nothing begins before it is known what runs',
  );
  await runtime.start();
  const first = await beginning;
  t.strictSame(
    first.wanted.map(({ podUid }) => podUid),
    ['old'],
    'so that nobody is taken for gone',
  );
  updates.push(first);
  t.match(first.delta.workloads, [{ name: 'web' }], 'what came before the end is in it');
  t.match(first.settings, { trustDomain: 'mesh.test' });
  await eventually(() => source.podsKnown, { what: 'the runtime to list its pods' });
  t.equal(newest().join(), 'old', 'the pod that runs already is wanted by then');
  t.equal(readFileSync(path('conf/culvert-enrolled-namespaces'), 'utf8'), 'shop\n');
  t.match(source.clusterState(), { cni: { trouble: null }, pods: { known: 1, wanted: 1, sandboxes: 1 } });
  t.match(source.state(), { refused: [] });
  const before = updates.length;
  enrolAll();
  t.equal(updates.length, before, 'that they are enrolled is no news');
});

t.test('what is enrolled is reported', async t => {
  const told = await reports.streams.take();
  const full = await told.reports.take();
  t.ok(full.full);
  t.match(full.pods, [{ podUid: 'old', enrolled: true }], 'and before there was something, nothing was said');
  source.enrolled({
    enrolled: new Set(),
    failures: new Map([['old', new CulvertError('ENROL_FAILED', 'port 15001 is taken')]]),
  });
  t.match(await told.reports.take(), {
    full: false,
    pods: [{ podUid: 'old', enrolled: false, code: 'ENROL_FAILED', message: 'port 15001 is taken' }],
  });
  enrolAll();
  t.match(await told.reports.take(), { pods: [{ podUid: 'old', enrolled: true }] });
});

t.test('a new pod starts when it is enrolled', async t => {
  const netns = await place('new');
  const { ended } = plugin('ADD', 'new', netns);
  await eventually(() => source.clusterState().cniWaiting === 1, { what: 'the question' });
  t.same(newest(), ['old'], 'nobody has said who it is');
  tellPods(nodePod('new', { addresses: [] }));
  await eventually(() => newest().join() === 'new,old', { what: 'the wish' });
  t.match(updates.at(-1)?.wanted[0], {
    netns,
    addresses: ['10.0.0.7'],
    identity: 'spiffe://mesh.test/ns/shop/sa/sa-new',
  });
  t.equal(source.clusterState().cniWaiting, 1);
  enrolAll();
  t.same(await ended, { code: 0, stdout: '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.7/24"}]}\n' });
});

t.test('one that never was of the mesh, and one of the node itself', async t => {
  const { ended } = plugin('ADD', 'plain', await place('plain'));
  tellPods(nodePod('plain', { wanted: false }));
  t.match(await ended, { code: 0 });
  tellPods(nodePod('host'));
  t.match(await plugin('ADD', 'host', '/proc/self/ns/net').ended, { code: 0 });
  t.notOk(newest().includes('host'), "nobody enrols the node's own network");
});

t.test('the same pod in a new sandbox', async t => {
  const before = updates.length;
  const again = await place('again');
  const { ended } = plugin('ADD', 'new', again, 'box-again');
  await eventually(() => updates.length > before, { what: 'a change' });
  t.same(newest(), ['old'], 'first it leaves the old one');
  enrolAll();
  await eventually(() => newest().join() === 'new,old', { what: 'the new one' });
  t.equal(updates.at(-1)?.wanted[0]?.netns, again);
  t.equal(source.clusterState().cniWaiting, 1, 'what was enrolled was another');
  enrolAll();
  t.match(await ended, { code: 0 });
  await plugin('DEL', 'new', again, 'box-again').ended;
  await eventually(() => !newest().includes('new') || updates.at(-1)?.wanted[0]?.netns !== again, {
    what: 'its end',
  });
});

t.test('without a control plane everything stays as it is', async t => {
  enrolAll();
  const before = updates.length;
  control.stop();
  await eventually(() => !source.clusterState().xds.connected, { what: 'its absence' });
  t.equal(updates.length, before);
  t.ok(source.clusterState().xds.trouble);
});

t.test('without an agent a pod of the mesh waits, and the plugin stays', async t => {
  await source.close();
  closed = true;
  t.notOk(existsSync(path('cni.sock')));
  t.match(await plugin('ADD', 'late', '/run/netns/x').ended, { code: 1, stdout: /does not answer/ });
  t.match(readFileSync(path('conf/10-net.conflist'), 'utf8'), /culvert-cni/);
});
