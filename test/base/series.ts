import * as fc from 'fast-check';
import t from 'tap';
import { SeriesTable, SeriesTotals, type Row, type SeriesDelta } from '../../base/series.ts';

class Count implements Row {
  expired = false;
  busy = false;
  count = 0;

  read(): readonly number[] {
    return [this.count];
  }
}

function table(given: { max?: number; now?: () => number } = {}): {
  get(name: string): Count;
  delta(): SeriesDelta;
  size(): number;
} {
  const series = new SeriesTable<Count>({
    make: () => new Count(),
    overflow: () => ({ name: 'overflow' }),
    max: given.max ?? 100,
    expireMs: 1_000,
    now: given.now ?? (() => 0),
  });
  return {
    get: name => series.get(name, () => ({ name })),
    delta: () => series.delta(),
    size: () => series.size,
  };
}

function totals(now: () => number = () => 0): { series: SeriesTotals; sums(): Record<string, number> } {
  const series = new SeriesTotals({ expireMs: 1_000, now });
  return {
    series,
    sums: () => Object.fromEntries(series.rows().map(({ labels, values }) => [labels.name, values[0] ?? 0])),
  };
}

t.test('only changes travel, and labels once', async t => {
  const shard = table();
  shard.get('a').count += 1;
  shard.get('b').count += 2;
  t.equal(shard.get('a'), shard.get('a'));
  const first = shard.delta();
  t.match(first, {
    full: true,
    created: [{ id: 1, labels: { name: 'a' } }, { id: 2 }],
    removed: [],
    width: 2,
  });
  t.strictSame([...first.rows], [1, 1, 2, 2]);
  t.strictSame(shard.delta(), { full: false, created: [], removed: [], width: 2, rows: new Float64Array() });
  shard.get('b').count += 1;
  t.strictSame([...shard.delta().rows], [2, 3]);
});

t.test('what is over the limit shares one row', async t => {
  const shard = table({ max: 2 });
  for (const name of ['a', 'b', 'c', 'd', 'c']) shard.get(name).count += 1;
  t.equal(shard.size(), 3);
  const main = totals();
  main.series.apply(1, shard.delta());
  t.strictSame(main.sums(), { a: 1, b: 1, overflow: 3 });
});

t.test('a row that is unused expires, one in use does not', async t => {
  let now = 0;
  const shard = table({ now: () => now });
  const main = totals(() => now);
  const [idle, held] = [shard.get('idle'), shard.get('held')];
  held.busy = true;
  main.series.apply(1, shard.delta());
  now = 999;
  main.series.apply(1, shard.delta());
  t.strictSame([idle.expired, held.expired], [false, false]);
  now = 1_000;
  main.series.apply(1, shard.delta());
  t.strictSame([idle.expired, held.expired], [true, false]);
  t.strictSame(main.sums(), { held: 0 });
  held.busy = false;
  held.count += 1;
  now = 1_999;
  main.series.apply(1, shard.delta());
  now = 2_998;
  main.series.apply(1, shard.delta());
  t.equal(held.expired, false, 'counting is use');
  t.not(shard.get('idle'), idle, 'its name starts anew');
});

t.test('sums over shards never go down when one of them forgets or dies', async t => {
  let now = 0;
  const [one, two] = [table({ now: () => now }), table()];
  const main = totals(() => now);
  one.get('a').count = 10;
  two.get('a').count = 5;
  main.series.apply(1, one.delta());
  main.series.apply(2, two.delta());
  t.strictSame(main.sums(), { a: 15 });
  now = 1_000;
  main.series.apply(1, one.delta());
  t.strictSame(main.sums(), { a: 15 }, 'shard one forgot it');
  main.series.retire(2);
  t.strictSame(main.sums(), { a: 15 }, 'shard two is dead');
  const three = table();
  three.get('a').count = 1;
  main.series.apply(3, three.delta());
  t.strictSame(main.sums(), { a: 16 }, 'its successor counts on');
  main.series.retire(3);
  now = 1_999;
  t.strictSame(main.sums(), { a: 16 });
  now = 2_000;
  t.strictSame(main.sums(), {}, 'nobody counts it any more');
});

t.test('what a dead shard had counted may be corrected', async t => {
  const main = new SeriesTotals({ expireMs: 1_000, now: () => 0, settle: ([count = 0]) => [count * 2] });
  const shard = table();
  shard.get('a').count = 3;
  main.apply(1, shard.delta());
  main.retire(1);
  t.strictSame(main.rows()[0]?.values, [6]);
});

t.test('a lost message does harm for a while only', async t => {
  let now = 0;
  const shard = table({ now: () => now });
  const main = totals(() => now);
  const old = shard.get('old');
  old.count = 1;
  main.series.apply(1, shard.delta());
  shard.get('lost').count = 7;
  now = 1_000;
  shard.delta();
  t.ok(old.expired, 'and of this the main thread hears nothing');
  t.strictSame(main.sums(), { old: 1 });
  for (let sent = 2; sent < 10; sent += 1) main.series.apply(1, shard.delta());
  t.strictSame(main.sums(), { old: 1 }, 'not yet');
  main.series.apply(1, shard.delta());
  t.strictSame(main.sums(), { lost: 7 });
});

t.test('whatever shards do, sums are what was counted', async t => {
  const step = fc.record({
    shard: fc.nat(2),
    name: fc.constantFrom('a', 'b', 'c'),
    add: fc.nat(5),
    act: fc.constantFrom('count', 'report', 'die'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const main = totals();
      const shards = [0, 1, 2].map(source => ({ source, table: table() }));
      const expected: Record<string, number> = {};
      let next = 3;
      for (const { shard, name, add, act } of steps) {
        const it = shards[shard];
        if (it === undefined) continue;
        if (act === 'count') {
          it.table.get(name).count += add;
          expected[name] = (expected[name] ?? 0) + add;
          continue;
        }
        main.series.apply(it.source, it.table.delta());
        if (act === 'die') {
          main.series.retire(it.source);
          shards[shard] = { source: next++, table: table() };
        }
      }
      for (const { source, table } of shards) main.series.apply(source, table.delta());
      const sums = main.sums();
      return (
        Object.keys(expected).every(name => sums[name] === expected[name]) &&
        Object.keys(sums).length === Object.keys(expected).length
      );
    }),
  );
  t.pass('in any order');
});
