/** Which new pods wait, for what, and what they are told when it does not come. Deadlines are short; nothing is timed. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Admission, type AdmissionLimits } from '../../../agent/cluster/admission.ts';
import {
  type CniAnswer,
  type CniQuestion,
  isEnrolled,
  mayStart,
} from '../../../agent/cluster/cni-protocol.ts';
import { EnrolledNamespaces } from '../../../agent/cluster/enrolled-namespaces.ts';
import { NodePods } from '../../../agent/cluster/node-pods.ts';
import { CulvertError } from '../../../base/errors.ts';
import { createLogger } from '../../../base/log.ts';
import { nodePod, settings } from './fixtures.ts';

const log = createLogger({ component: 'test', level: 'silent' });
const long: AdmissionLimits = { enrolMs: 60_000, unknownMs: 60_000 };
const never = new AbortController().signal;

function question(uid: string, more: Partial<CniQuestion> & { namespace?: string } = {}): CniQuestion {
  const { namespace = 'shop', ...rest } = more;
  return {
    command: 'ADD',
    sandboxId: `box-${uid}`,
    netns: `/run/netns/${uid}`,
    interfaceName: 'eth0',
    pod: { uid, namespace, name: 'web' },
    addresses: ['10.0.0.1'],
    ...rest,
  };
}

/** A node whose agent does what it is told when the test says so. */
function stage(limits: AdmissionLimits = long, connected = true) {
  const file = join(t.testdir(), 'namespaces');
  writeFileSync(file, 'shop\n');
  const pods = new NodePods();
  pods.setSettings(settings());
  const namespaces = new EnrolledNamespaces(file);
  let wanted = pods.wanted();
  const admission = new Admission({
    pods,
    namespaces,
    connected: () => connected,
    onSandbox: () => {
      wanted = pods.wanted();
    },
    limits,
    log,
  });
  return {
    pods,
    admission,
    ask: (asked: CniQuestion, signal = never): Promise<CniAnswer> => admission.answer(asked, signal),
    wish: (...wishes: Parameters<NodePods['setWishes']>): void => {
      pods.setWishes(...wishes);
      wanted = pods.wanted();
      admission.reconsider();
    },
    /** What the agent has done with each pod that it was told to enrol. */
    enrol: (failure: CulvertError | null = null): string[] => {
      const uids = wanted.map(({ podUid }) => podUid);
      pods.setStates(
        failure === null
          ? { enrolled: new Set(uids), failures: new Map() }
          : { enrolled: new Set(), failures: new Map(uids.map(uid => [uid, failure])) },
      );
      admission.reconsider();
      return uids;
    },
  };
}

/** Whether an answer has come by now. */
async function settled(answer: Promise<CniAnswer>): Promise<boolean> {
  const notYet = {};
  return (
    (await Promise.race([answer, new Promise(resolve => setImmediate(() => resolve(notYet)))])) !== notYet
  );
}

t.test('a pod of the mesh waits until it is enrolled', async t => {
  const node = stage();
  const answer = node.ask(question('u1'));
  t.notOk(await settled(answer), 'nobody has spoken of it');
  node.wish([nodePod('u1')], []);
  t.notOk(await settled(answer), 'it is not enrolled');
  t.same(node.enrol(), ['u1']);
  t.same(await answer, isEnrolled);
});

t.test('a pod that is not wanted starts when that is known', async t => {
  const node = stage();
  const answer = node.ask(question('u1'));
  t.notOk(await settled(answer));
  node.wish([nodePod('u1', { wanted: false })], []);
  t.same(await answer, mayStart);
});

t.test('who has nothing to do with the mesh does not wait for it', async t => {
  const away = stage(long, false);
  t.same(await away.ask(question('u1', { namespace: 'other' })), mayStart, 'no control plane, no wait');
  const node = stage();
  t.same(await node.ask(question('u1', { namespace: 'kube-system' })), mayStart, 'excluded');
  t.same(await node.ask(question('', { namespace: '' })), mayStart, 'no pod of Kubernetes');
  t.same(await node.ask(question('', { namespace: 'other' })), mayStart);
  const brief = stage({ ...long, unknownMs: 1 });
  t.same(
    await brief.ask(question('u1', { namespace: 'other' })),
    mayStart,
    'a moment for who has a label alone',
  );
  const labelled = node.ask(question('u2', { namespace: 'other' }));
  node.wish([nodePod('u2', { namespace: 'other' })], []);
  t.notOk(await settled(labelled), 'one that is of the mesh by its own label waits');
  node.enrol();
  t.same(await labelled, isEnrolled);
});

t.test('a pod of the mesh that cannot be enrolled does not start', async t => {
  const failure = new CulvertError('ENROL_FAILED', 'port 15001 is taken', { fix: 'free it' });
  const node = stage();
  node.wish([nodePod('u1')], []);
  const answer = node.ask(question('u1'));
  node.enrol(failure);
  t.same(await answer, {
    code: 101,
    message: 'culvert: port 15001 is taken',
    details: 'ENROL_FAILED: port 15001 is taken (free it)',
  });
  const open = stage();
  open.wish([nodePod('u1', { failMode: 'open' })], []);
  const passes = open.ask(question('u1'));
  open.enrol(failure);
  t.same(await passes, mayStart, 'but one that is declared fail-open does');
});

t.test('deadlines', async t => {
  const limits = { enrolMs: 1, unknownMs: 1 };
  t.match(await stage(limits).ask(question('u1')), { code: 11, message: /has not said yet who/ });
  const node = stage(limits);
  node.wish([nodePod('u1')], []);
  t.match(await node.ask(question('u1')), { code: 101, message: /not enrolled within 1 ms/ });
  node.wish([nodePod('u2', { failMode: 'open' })], []);
  t.same(await node.ask(question('u2')), mayStart);
});

t.test('a runtime that does not say the UID', async t => {
  t.match(await stage().ask(question('')), { code: 101, details: /^ENROL_NO_UID/ });
});

t.test('who has given up waits no more', async t => {
  const node = stage();
  const gone = new AbortController();
  const answer = node.ask(question('u1'), gone.signal);
  gone.abort();
  t.match(await answer, { details: /ENROL_ABANDONED/ });
  t.match(await node.ask(question('u1'), AbortSignal.abort()), { details: /ENROL_ABANDONED/ });
});

t.test('DEL forgets the sandbox, CHECK says how it is', async t => {
  const node = stage();
  node.wish([nodePod('u1')], []);
  const answer = node.ask(question('u1'));
  node.enrol(new CulvertError('ENROL_FAILED', 'no'));
  await answer;
  t.match(await node.ask(question('u1', { command: 'CHECK' })), { code: 101 });
  t.same(await node.ask(question('u1', { command: 'DEL' })), mayStart);
  t.same(node.pods.wanted(), []);
  t.same(await node.ask(question('u1', { command: 'CHECK' })), mayStart);
  t.match(await node.ask(question('u1', { command: 'REBOOT' })), { code: 4 });
});

t.test('the file of namespaces', async t => {
  const path = join(t.testdir(), 'etc', 'enrolled');
  const namespaces = new EnrolledNamespaces(path);
  t.notOk(namespaces.has('shop'));
  namespaces.set(['shop', 'bank', 'kube-system'], ['kube-system']);
  t.equal(readFileSync(path, 'utf8'), 'bank\nshop\n');
  t.ok(namespaces.has('shop'));
  t.ok(new EnrolledNamespaces(path).has('bank'), 'known to the next agent before it has heard anything');
  writeFileSync(path, 'untouched');
  namespaces.set(['bank', 'shop'], []);
  t.equal(readFileSync(path, 'utf8'), 'untouched', 'not written when nothing has changed');
  namespaces.set([], []);
  t.equal(readFileSync(path, 'utf8'), '');
  namespaces.remove();
  t.notOk(existsSync(path));
  t.throws(() => new EnrolledNamespaces(join(path, '..')), { code: 'EISDIR' });
});
