/** Which shard carries what comes to one of them: each sees the counts of all. */
import t from 'tap';
import { forgetShard, newCounts, Spread } from '../../agent/spread.ts';

function shards(count: number): { spreads: Spread[]; counts: SharedArrayBuffer; carried: () => number[] } {
  const counts = newCounts(count);
  const spreads = Array.from({ length: count }, (_, own) => new Spread(counts, own));
  for (const spread of spreads) spread.begin();
  return { spreads, counts, carried: () => [...new Int32Array(counts)] };
}

t.test('however the kernel deals them out, each shard carries its share', async t => {
  for (const count of [1, 2, 3, 8]) {
    const { spreads, carried } = shards(count);
    for (let n = 0; n < 5 * count; n += 1) spreads[0]?.place();
    t.same(carried(), Array(count).fill(5), `all come to the first of ${count}`);
  }
});

t.test('who has no more than others keeps what has come', async t => {
  const { spreads } = shards(2);
  t.equal(spreads[1]?.place(), 1, 'the first');
  t.equal(spreads[0]?.place(), 0);
  t.equal(spreads[0]?.place(), 0);
  t.equal(spreads[0]?.place(), 1, 'one more than the other');
});

t.test('among many a little more is not worth handing over', async t => {
  const { spreads, carried } = shards(2);
  for (let n = 0; n < 200; n += 1) spreads[n % 2]?.place();
  for (let n = 0; n < 10; n += 1) t.equal(spreads[0]?.place(), 0);
  for (let n = 0; n < 100; n += 1) spreads[0]?.place();
  const [first = 0, second = 0] = carried();
  t.ok(first > second && first - second <= first / 8 + 1, `${first} and ${second}`);
});

t.test('what is over makes room', async t => {
  const { spreads, carried } = shards(2);
  for (const spread of spreads) for (let n = 0; n < 2; n += 1) spread.place();
  spreads[1]?.over();
  t.equal(spreads[0]?.place(), 1);
  t.same(carried(), [2, 2]);
});

t.test('what the other had no room for stays', async t => {
  const { spreads, carried } = shards(2);
  spreads[0]?.place();
  const meantFor = spreads[0]?.place() ?? -1;
  t.equal(meantFor, 1);
  spreads[0]?.keep(meantFor);
  t.same(carried(), [2, 0]);
});

t.test('a shard that does not listen, or has died, gets nothing until it does again', async t => {
  const { spreads, counts, carried } = shards(2);
  for (const spread of spreads) for (let n = 0; n < 2; n += 1) spread.place();
  forgetShard(counts, 1);
  for (let n = 0; n < 3; n += 1) t.equal(spreads[0]?.place(), 0);
  const successor = new Spread(counts, 1);
  successor.over();
  t.equal(spreads[0]?.place(), 0, 'what it had is not its successor’s');
  successor.begin();
  t.equal(spreads[0]?.place(), 1);
  successor.over();
  successor.over();
  t.same(carried(), [6, 0], 'what waited for the dead one is over as well, and counts for nothing');
  successor.begin();
  t.equal(spreads[0]?.place(), 1, 'to begin twice forgets nothing');
  successor.begin();
  t.same(carried(), [6, 1]);
  successor.end();
  t.equal(spreads[0]?.place(), 0);
});
