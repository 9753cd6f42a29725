import t from 'tap';
import { Turns } from '../../control/turns.ts';
import { FakeClock } from '../tunnel/fake-clock.ts';

t.test('so many at once, the others in the order they came', async t => {
  const turns = new Turns({ atOnce: 2, maxMs: 1_000, clock: new FakeClock() });
  const held = new Map<string, () => void>();
  const ask = (who: string): (() => void) => {
    const again = (): void => {
      const end = turns.take(again);
      if (end !== null) held.set(who, end);
    };
    again();
    return again;
  };
  for (const who of ['a', 'b', 'c', 'd']) ask(who);
  t.same([...held.keys()], ['a', 'b']);
  t.equal(turns.waiting, 2);
  held.get('a')?.();
  held.get('a')?.();
  t.same([...held.keys()], ['a', 'b', 'c'], 'a turn ends once');
  held.get('b')?.();
  t.same([...held.keys()], ['a', 'b', 'c', 'd']);
});

t.test('one that does not want its turn any more does not stop the next', async t => {
  const turns = new Turns({ atOnce: 1, maxMs: 1_000, clock: new FakeClock() });
  const end = turns.take(() => {});
  let got = false;
  const gone = (): void => {};
  turns.take(gone);
  turns.take(() => {});
  const last = (): void => {
    got = turns.take(last) !== null;
  };
  turns.take(last);
  turns.leave(gone);
  end?.();
  t.ok(got);
});

t.test('a turn that is held too long keeps nobody waiting', async t => {
  const clock = new FakeClock();
  const turns = new Turns({ atOnce: 1, maxMs: 1_000, clock });
  turns.take(() => {});
  let got = false;
  const again = (): void => {
    got = turns.take(again) !== null;
  };
  again();
  await clock.advance(999);
  t.notOk(got);
  await clock.advance(1);
  t.ok(got);
});
