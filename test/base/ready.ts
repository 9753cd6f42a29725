import t from 'tap';
import { Ready, readyRoutes } from '../../base/ready.ts';

t.test('ready when each declared task is done', async t => {
  const changes: boolean[] = [];
  const ready = new Ready(now => changes.push(now));
  t.equal(ready.ready, false, 'nothing declared is not ready');
  t.equal(String(ready), 'not ready, starting');
  const [first, second] = [ready.task('configuration'), ready.task('shards')];
  t.equal(String(ready), 'not ready, pending: configuration, shards');
  second.done();
  second.done();
  t.equal(String(ready), 'not ready, pending: configuration');
  t.notOk(first.isDone);
  first.done();
  t.equal(String(ready), 'ready');
  second.undo('shard 0 died');
  t.equal(String(ready), 'not ready, pending: shards (shard 0 died)');
  t.strictSame([first.isDone, second.isDone], [true, false]);
  second.done();
  t.strictSame(changes, [true, false, true]);
});

t.test('a task that comes late makes it unready again, and names are taken once', async t => {
  const ready = new Ready();
  ready.task('a').done();
  t.ok(ready.ready);
  ready.task('b');
  t.notOk(ready.ready);
  t.throws(() => ready.task('a'), /exists already/);
});

t.test('kubelet is told by status', async t => {
  const ready = new Ready();
  let draining = false;
  const answer = readyRoutes(ready, () => draining)['GET /healthz/ready'];
  const ask = async (): Promise<unknown> => answer?.({ query: new URLSearchParams(), body: '' });
  const task = ready.task('pods');
  t.strictSame(await ask(), { status: 500, body: 'not ready, pending: pods\n' });
  task.done();
  t.strictSame(await ask(), { status: 200, body: 'ready\n' });
  draining = true;
  t.strictSame(await ask(), { status: 500, body: 'not ready, draining\n' });
});

t.test('whoever answers at all is alive, ready or not', async t => {
  const answer = readyRoutes(new Ready())['GET /healthz/live'];
  t.strictSame(await answer?.({ query: new URLSearchParams(), body: '' }), { status: 200, body: 'alive\n' });
});
