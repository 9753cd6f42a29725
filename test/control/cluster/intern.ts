import t from 'tap';
import { Intern } from '../../../control/cluster/intern.ts';

const pod = (name: string, port = 80) => ({
  metadata: { name, labels: { app: 'web' } },
  spec: { nodeName: 'node-1', containers: [{ ports: [{ containerPort: port }] }] },
});

t.test('what pods of one template have alike is there once', async t => {
  const intern = new Intern();
  const [one, two, other] = [pod('a'), pod('b'), pod('c', 81)];
  for (const each of [one, two, other]) intern.object(each);
  t.strictSame([one, two, other], [pod('a'), pod('b'), pod('c', 81)], 'nothing is another than before');
  t.equal(two.metadata.labels, one.metadata.labels);
  t.equal(two.spec.containers, one.spec.containers);
  t.equal(other.metadata.labels, one.metadata.labels);
  t.not(other.spec.containers, one.spec.containers);
});

t.test('conditions of endpoints are a few, those of pods are their own', async t => {
  const intern = new Intern();
  const slice = () => ({ endpoints: [{ conditions: { ready: true } }, { conditions: { ready: true } }] });
  const [one, two] = [slice(), slice()];
  for (const each of [one, two]) intern.object(each);
  t.strictSame([one, two], [slice(), slice()]);
  t.equal(new Set([...one.endpoints, ...two.endpoints].map(({ conditions }) => conditions)).size, 1);
  const status = () => ({ conditions: [{ type: 'Ready', status: 'True' }] });
  const [first, second] = [status(), status()];
  for (const each of [first, second]) intern.object(each);
  t.strictSame([first, second], [status(), status()]);
  t.not(first.conditions, second.conditions);
});

t.test('what each has alone is forgotten when there is much of it', async t => {
  const intern = new Intern();
  const first = { labels: { app: 'web' } };
  intern.object(first);
  for (let n = 0; n < 20_000; n++)
    intern.object({ labels: { 'statefulset.kubernetes.io/pod-name': `db-${n}` } });
  const again = { labels: { app: 'web' } };
  intern.object(again);
  t.not(again.labels, first.labels);
  t.strictSame(again, first);
});
