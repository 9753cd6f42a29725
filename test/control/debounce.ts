import t from 'tap';
import { Debounce } from '../../control/debounce.ts';
import { FakeClock } from '../tunnel/fake-clock.ts';

function make(): { clock: FakeClock; calls: number[]; debounce: Debounce; start: number } {
  const clock = new FakeClock();
  const start = clock.now();
  const calls: number[] = [];
  const debounce = new Debounce({ quietMs: 20, maxMs: 100, clock }, () => calls.push(clock.now() - start));
  return { clock, calls, debounce, start };
}

t.test('one call after a silence', async t => {
  const { clock, calls, debounce } = make();
  debounce.add();
  await clock.advance(10);
  debounce.add();
  await clock.advance(100);
  t.same(calls, [30]);
  debounce.add();
  await clock.advance(100);
  t.same(calls, [30, 130]);
});

t.test('constant change is told of all the same', async t => {
  const { clock, calls, debounce } = make();
  for (let ms = 0; ms < 350; ms += 5) {
    debounce.add();
    await clock.advance(5);
  }
  t.same(calls, [100, 200, 300]);
});

t.test('a clock that is set back makes nobody wait', async t => {
  const { clock, calls, debounce } = make();
  debounce.add();
  clock.set(clock.now() - 3_600_000);
  await clock.advance(20);
  t.equal(calls.length, 1);
});

t.test('after close nothing is called', async t => {
  const { clock, calls, debounce } = make();
  debounce.add();
  debounce.close();
  await clock.advance(1_000);
  t.same(calls, []);
});
