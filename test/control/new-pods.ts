import t from 'tap';
import type { Located } from '../../control/located.ts';
import { NewPods, type NewPodsOptions } from '../../control/new-pods.ts';
import { redirection } from '../../model/kinds/marks.ts';
import { eventually } from '../lab/eventually.ts';
import { objectsOf, pod as podText } from '../help/configuration.ts';

type Pod = Located<'Pod'>;

const starting = { conditions: [{ type: 'Ready', status: 'False' }] };
const ready = { conditions: [{ type: 'Ready', status: 'True' }] };

function pod(status: object, { labels = {}, annotations = {} } = {}): Pod {
  const metadata = {
    name: 'web',
    namespace: 'shop',
    uid: 'u1',
    labels,
    annotations,
  };
  const text = podText({ name: 'web', metadata, status: { ...status } });
  return only(objectsOf(text).filter((object): object is Pod => object.kind === 'Pod'));
}

function only<T>([first]: readonly T[]): T {
  if (first === undefined) throw new Error('nothing was made');
  return first;
}

function namespace(mode: string): Located<'Namespace'> {
  const text = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'shop', labels: { 'culvert.dev/dataplane-mode': mode } },
  });
  return only(
    objectsOf(text).filter((object): object is Located<'Namespace'> => object.kind === 'Namespace'),
  );
}

interface Made {
  readonly pods: NewPods;
  readonly settled: string[];
  mode: string;
  agent: boolean;
}

function make(options: Partial<NewPodsOptions> = {}): Made {
  const made: { -readonly [Key in keyof Made]: Made[Key] } = {
    settled: [],
    mode: 'ambient',
    agent: true,
    pods: new NewPods({
      namespace: () => namespace(made.mode),
      hasAgent: () => made.agent,
      graceMs: 3_600_000,
      onSettled: uids => made.settled.push(...uids),
      ...options,
    }),
  };
  t.teardown(() => made.pods.close());
  return made;
}

/** Whether the builder would take it for redirected by its annotation. */
function isMarked(seen: Pod): boolean {
  return seen.value.metadata.annotations[redirection[0]] === 'enabled';
}

t.test('a pod that becomes ready is waited for, until its agent has spoken', async t => {
  const { pods } = make();
  t.notOk(isMarked(pods.mark(pod(starting))), 'a pod that was never ready needs no mark');
  t.ok(isMarked(pods.mark(pod(ready))));
  const annotated = pod(ready, { annotations: { [redirection[0]]: 'enabled' } });
  t.equal(pods.mark(annotated), annotated, 'it is handed on as it is');
  t.notOk(isMarked(pods.mark(pod(ready))), 'what an agent takes back later is in force at once');
});

t.test('a ready pod that is first heard of is waited for, where there is an agent to speak', async t => {
  t.ok(isMarked(make().pods.mark(pod(ready))));
  const without = make();
  without.agent = false;
  t.notOk(isMarked(without.pods.mark(pod(ready))));
});

t.test('a running pod that gets its label now is reached as before', async t => {
  const made = make();
  made.mode = 'none';
  t.notOk(isMarked(made.pods.mark(pod(ready))));
  made.mode = 'ambient';
  t.notOk(isMarked(made.pods.mark(pod(ready))));
  const own = make();
  own.mode = 'none';
  t.ok(isMarked(own.pods.mark(pod(ready, { labels: { 'culvert.dev/dataplane-mode': 'ambient' } }))));
});

t.test('nobody waits for ever', async t => {
  const { pods, settled } = make({ graceMs: 1 });
  t.ok(isMarked(pods.mark(pod(ready))));
  await eventually(() => settled.length > 0, { what: 'the end of the wait' });
  t.same(settled, ['u1']);
  t.notOk(isMarked(pods.mark(pod(ready))));
  pods.forget('u1');
  t.ok(isMarked(pods.mark(pod(ready))), 'another of that uid is another pod');
});
