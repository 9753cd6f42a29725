import t from 'tap';
import { Rate } from '../../control/rate.ts';

t.test('so much at once, then so much a second', async t => {
  const rate = new Rate({ perSecond: 10, burst: 3 }, 0);
  t.same([rate.take(0), rate.take(0), rate.take(0)], [0, 0, 0]);
  t.ok(rate.isEmpty(0));
  t.equal(rate.take(0), 100);
  t.equal(rate.take(0), 200);
  t.ok(rate.isEmpty(250));
  t.notOk(rate.isEmpty(300));
  t.equal(rate.take(300), 0);
  t.same([rate.take(60_000), rate.take(60_000), rate.take(60_000)], [0, 0, 0], 'no more than at the start');
  t.equal(rate.take(60_000), 100);
});

t.test('a clock that is set back gives nothing and takes nothing', async t => {
  const rate = new Rate({ perSecond: 10, burst: 1 }, 1_000_000);
  rate.take(1_000_000);
  t.ok(rate.isEmpty(0));
  t.notOk(rate.isEmpty(100));
});
