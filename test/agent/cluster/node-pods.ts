/**
 * Who is enrolled where: what the control plane, the runtime and the plugin say is joined by UID, in whatever order it
 * comes, and nothing but a UID gives an identity.
 */
import * as fc from 'fast-check';
import t from 'tap';
import { NodePods } from '../../../agent/cluster/node-pods.ts';
import type { EnrolmentStates } from '../../../agent/mesh-source.ts';
import { CulvertError } from '../../../base/errors.ts';
import { nodePod, sandbox, settings } from './fixtures.ts';

const states = (enrolled: readonly string[], failed: readonly string[] = []): EnrolmentStates => ({
  enrolled: new Set(enrolled),
  failures: new Map(failed.map(uid => [uid, new CulvertError('ENROL_FAILED', 'no')])),
});

function pods(): NodePods {
  const made = new NodePods();
  made.setSettings(settings());
  return made;
}

const names = (of: NodePods): string[] => of.wanted().map(({ podUid, netns }) => `${podUid}@${netns}`);

t.test('a pod is wanted when it is wished for and runs', async t => {
  const node = new NodePods();
  node.setWishes([nodePod('u1')], []);
  node.setSandboxes([sandbox('s1', 'u1')], 0);
  t.same(node.wanted(), [], 'not before there are settings');
  t.equal(node.progress('u1', 's1'), 'unknown');
  node.setSettings(settings());
  t.same(node.wanted(), [
    {
      podUid: 'u1',
      workloadUid: 'c//Pod/shop/u1',
      namespace: 'shop',
      name: 'u1',
      identity: 'spiffe://mesh.test/ns/shop/sa/sa-u1',
      netns: '/run/netns/s1',
      addresses: ['10.0.0.1'],
      failMode: 'closed',
      dnsCapture: true,
    },
  ]);
  node.setWishes([nodePod('u1', { wanted: false })], []);
  t.same(node.wanted(), []);
  t.equal(node.progress('u1', 's1'), 'unwanted');
  node.setStates(states([]));
  node.setWishes([nodePod('u1')], []);
  t.same(names(node), ['u1@/run/netns/s1']);
  node.setWishes([], ['u1']);
  t.same(node.wanted(), []);
  t.equal(node.progress('u1', 's1'), 'unknown');
});

t.test('what has no sandbox, or no address, waits', async t => {
  const node = pods();
  node.setWishes([nodePod('u1', { addresses: [] })], []);
  t.same(node.wanted(), []);
  t.equal(node.progress('u1', 's1'), 'waiting');
  node.addSandbox(sandbox('s1', 'u1', { addresses: [] }));
  t.same(node.wanted(), [], 'there would be nothing to redirect');
  node.setSandboxes([sandbox('s1', 'u1', { addresses: ['10.0.0.9'] })], 0);
  t.same(
    node.wanted().map(({ addresses }) => addresses),
    [['10.0.0.9']],
  );
});

t.test('a sandbox gives nobody an identity without its UID', async t => {
  const node = pods();
  node.setWishes([nodePod('old', { name: 'web', addresses: ['10.0.0.1'] })], []);
  // Same name, same address, another pod: of the one before, only its name and address were known.
  node.setSandboxes([sandbox('s2', 'new', { name: 'web', addresses: ['10.0.0.1'] })], 0);
  t.same(node.wanted(), []);
  node.setWishes([nodePod('new', { name: 'web', serviceAccount: 'other' })], ['old']);
  t.match(node.wanted(), [{ podUid: 'new', identity: 'spiffe://mesh.test/ns/shop/sa/other' }]);
});

t.test('a sandbox is what was first said of it', async t => {
  const node = pods();
  node.setWishes([nodePod('u1', { addresses: ['fd00::1', '10.0.0.1'] })], []);
  node.addSandbox(sandbox('s1', 'u1', { netns: '/run/netns/x', addresses: ['10.0.0.1', 'fd00::1'] }));
  const before = node.wanted();
  node.setSandboxes(
    [sandbox('s1', 'u1', { netns: '/proc/7/ns/net', addresses: ['fd00::1', '10.0.0.1'] })],
    0,
  );
  t.same(node.wanted(), before, 'to say it in another way does not cut connections');
});

t.test('a new sandbox is asked for when the pod has left the old one', async t => {
  const node = pods();
  node.setWishes([nodePod('u1')], []);
  node.setSandboxes([sandbox('s1', 'u1')], 0);
  t.same(names(node), ['u1@/run/netns/s1']);
  node.setStates(states(['u1']));
  t.equal(node.progress('u1', 's1'), 'enrolled');
  t.same(node.report(), [{ podUid: 'u1', enrolled: true, code: '', message: '' }]);
  node.addSandbox(sandbox('s2', 'u1', { createdAt: 2 }));
  t.same(names(node), [], 'first it leaves');
  t.same(node.report(), []);
  t.equal(node.progress('u1', 's2'), 'waiting', 'what is enrolled is the old one');
  node.setStates(states(['u1']));
  t.same(names(node), [], 'still the old one');
  t.equal(node.progress('u1', 's2'), 'waiting');
  node.setStates(states([]));
  t.same(names(node), ['u1@/run/netns/s2']);
  node.setStates(states([], ['u1']));
  t.match(node.progress('u1', 's2'), { code: 'ENROL_FAILED' });
  t.same(node.report(), [{ podUid: 'u1', enrolled: false, code: 'ENROL_FAILED', message: 'no' }]);
  node.setStates(states(['u1']));
  t.equal(node.progress('u1', 's2'), 'enrolled');
  t.equal(node.progress('u1', 's1'), 'waiting', 'nobody is enrolled in a sandbox that was replaced');
});

t.test('lists of the runtime and words of the plugin', async t => {
  const node = pods();
  node.setWishes([nodePod('u1'), nodePod('u2')], []);
  node.addSandbox(sandbox('s1', 'u1', { createdAt: 1_000 }));
  node.setSandboxes([], 2_000);
  t.same(names(node), ['u1@/run/netns/s1'], 'while it is made it is in no list');
  node.setSandboxes([sandbox('s1', 'u1')], 3_000);
  node.setSandboxes([sandbox('s2', 'u2')], 4_000);
  t.same(names(node), ['u2@/run/netns/s2'], 'one that was in a list and is in none is gone');
  node.removeSandbox('s2');
  t.same(names(node), []);
  node.setStates(states([]));
  node.addSandbox(sandbox('s3', 'u1', { createdAt: 5_000 }));
  node.setSandboxes([], 305_001);
  t.same(names(node), [], 'the runtime has given up on it without a word');
  t.same(node.counts(), { known: 2, wanted: 2, sandboxes: 0 });
});

/** One thing that is said about the node, by whom it may be. */
const event = fc.oneof(
  fc.record({ kind: fc.constant('wish'), uid: fc.nat(2), wanted: fc.boolean() }),
  fc.record({ kind: fc.constant('unwish'), uid: fc.nat(2) }),
  fc.record({ kind: fc.constant('add'), uid: fc.nat(2), sandbox: fc.nat(5) }),
  fc.record({ kind: fc.constant('del'), sandbox: fc.nat(5) }),
  fc.record({ kind: fc.constant('agent') }),
);

t.test('whatever comes in whatever order: nobody counts as enrolled where he is not', async t => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), events => {
      const node = pods();
      /** What an agent has enrolled: UID to path, as far as it was told. */
      const enrolled = new Map<string, string>();
      let clock = 0;
      for (const it of events) {
        clock += 1;
        if (it.kind === 'wish') node.setWishes([nodePod(`u${it.uid}`, { wanted: it.wanted })], []);
        else if (it.kind === 'unwish') node.setWishes([], [`u${it.uid}`]);
        else if (it.kind === 'add')
          node.addSandbox(sandbox(`u${it.uid}-s${it.sandbox}`, `u${it.uid}`, { createdAt: clock }));
        else if (it.kind === 'del') for (const uid of [0, 1, 2]) node.removeSandbox(`u${uid}-s${it.sandbox}`);
        const wanted = node.wanted();
        if (it.kind === 'agent') {
          // It has caught up with its orders.
          enrolled.clear();
          for (const pod of wanted) enrolled.set(pod.podUid, pod.netns);
          node.setStates(states([...enrolled.keys()]));
        }
        for (const uid of ['u0', 'u1', 'u2']) {
          for (const id of [0, 1, 2, 3, 4, 5].map(number => `${uid}-s${number}`)) {
            if (node.progress(uid, id) !== 'enrolled') continue;
            if (enrolled.get(uid) !== `/run/netns/${id}`) throw new Error(`${uid} in ${id}`);
          }
        }
        for (const pod of wanted)
          if (!pod.netns.startsWith(`/run/netns/${pod.podUid}-`)) throw new Error('whose?');
      }
    }),
  );
  t.pass();
});

t.test('a static pod is the one that its mirror names, by UID and name', async t => {
  const node = pods();
  const mirror = nodePod('mirror', { name: 'etcd', runtimeUid: 'hash' });
  node.setWishes([mirror], []);
  node.addSandbox(sandbox('s1', 'hash', { name: 'etcd' }));
  t.same(names(node), ['mirror@/run/netns/s1']);
  t.equal(node.progress('hash', 's1'), 'waiting');
  t.equal(node.wish('hash', 's1')?.podUid, 'mirror');
  node.setStates(states(['mirror']));
  t.equal(node.progress('hash', 's1'), 'enrolled');
  t.same(node.report(), [{ podUid: 'mirror', enrolled: true, code: '', message: '' }]);
  t.equal(node.progress('mirror', 's1'), 'unknown', 'the runtime knows no such pod');

  node.setWishes([nodePod('next', { name: 'etcd', runtimeUid: 'hash' })], ['mirror']);
  t.same(names(node), ['next@/run/netns/s1'], 'the mirror was made anew');
  node.setWishes([], ['next']);
  t.equal(node.progress('hash', 's1'), 'unknown');
});

t.test('whoever calls himself the mirror of somebody else gets nothing of him', async t => {
  const node = pods();
  node.setWishes([nodePod('u1'), nodePod('thief', { runtimeUid: 'u1' })], []);
  node.setSandboxes([sandbox('s1', 'u1')], 0);
  t.same(names(node), ['u1@/run/netns/s1']);
  t.equal(node.wish('u1', 's1')?.podUid, 'u1');
  node.setWishes([], ['u1']);
  t.same(names(node), []);
  t.equal(node.progress('u1', 's1'), 'unknown');
});
