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
