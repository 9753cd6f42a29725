/** Token buckets: how many get through, for whom, and that many keys never mean more. */
import * as fc from 'fast-check';
import t from 'tap';
import { RateBuckets } from '../../model/rate-buckets.ts';
import type { LocalLimit } from '../../model/rate-limit.ts';

const limit: LocalLimit = { requests: 10, perMs: 1_000, burst: 10, by: [], maxKeys: 3 };

t.test('so many at once, and then as many as time brings', async t => {
  let now = 0;
  const buckets = new RateBuckets(() => now);
  const take = () => buckets.take(limit, '');
  const states = Array.from({ length: 11 }, take);
  t.same(
    states.map(({ allowed }) => allowed),
    [...Array<boolean>(10).fill(true), false],
  );
  t.match(states[0], { limit: 10, remaining: 9, waitMs: 100 });
  t.match(states[10], { remaining: 0, waitMs: 100 });
  now = 100;
  t.same([take().allowed, take().allowed], [true, false]);
  now = 60_000;
  t.equal(take().remaining, 9, 'never more than the burst');
});

t.test('never more than burst and rate permit, whatever the times', async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 200 }), pauses => {
      let now = 0;
      let passed = 0;
      const buckets = new RateBuckets(() => now);
      for (const pause of pauses) {
        now += pause;
        if (buckets.take(limit, 'a').allowed) passed += 1;
      }
      return passed <= limit.burst + (now * limit.requests) / limit.perMs;
    }),
  );
});

t.test('keys are bounded: what is beyond shares one count', async t => {
  let now = 0;
  const buckets = new RateBuckets(() => now);
  for (const key of ['a', 'b', 'c']) buckets.take(limit, key);
  let passed = 0;
  for (let n = 0; n < 1_000; n += 1) if (buckets.take(limit, `key-${n}`).allowed) passed += 1;
  t.equal(passed, 10);
  t.ok(buckets.size <= 4, `${buckets.size} are kept`);
  now = 2_000;
  t.equal(buckets.take(limit, 'new').remaining, 9, 'those that are full again made room');
  t.ok(buckets.size <= 4);
});
