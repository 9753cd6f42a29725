import t from 'tap';
import { changedLimits } from '../../cli/limits.ts';

t.test('a limit is changed by name; what is none is a line each', async t => {
  const problems: string[] = [];
  const standard = { dialMs: 5_000, streams: 100 };
  t.same(changedLimits(standard, [], ['dialMs=7'], problems), { dialMs: 7, streams: 100 });
  t.same(changedLimits(standard, ['dialMs'], ['dialMs=0'], problems), { dialMs: 0, streams: 100 });
  t.same(problems, []);
  t.same(
    changedLimits(standard, ['dialMs'], ['dial=7', 'streams=0', 'streams', 'toString=1'], problems),
    standard,
  );
  t.match(problems, [
    /there is no limit "dial"; there are dialMs, streams/,
    /streams=0: a whole number of at least 1/,
    /streams: a whole number of at least 1/,
    /no limit "toString"/,
  ]);
});
