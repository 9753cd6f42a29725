/** New figures held against those of the last release: what moved, what is noise, what can't be compared, what is said of it. */
import t from 'tap';
import type { Row } from '../../bench/compare.ts';
import { differences, incomparable, lessIsBetter, movement, worsened } from '../../bench/release.ts';
import { fullTables, originText, report, shortTable } from '../../bench/report.ts';
import type { Origin, Results } from '../../bench/results.ts';

const rate: Row = {
  path: 'no-mesh',
  measure: 'HTTP',
  unit: '/s',
  direct: 100,
  culvert: 80,
  ratio: 0.8,
  spread: 0.01,
};
const time: Row = {
  path: 'cross-node',
  measure: 'round trip',
  unit: 'µs',
  direct: 20,
  culvert: 60,
  ratio: 3,
  spread: 0.02,
};
const memory: Row = {
  path: 'cross-node',
  measure: 'idle agent',
  unit: 'MB',
  direct: null,
  culvert: 50,
  ratio: null,
  spread: null,
};
const origin: Origin = {
  version: '0.1.0',
  commit: 'abc1234',
  date: '2026-11-28',
  processor: 'a processor',
  processors: 2,
  kernel: '6.18.44',
  node: 'v26.10.0',
  rounds: 3,
  seconds: 1,
  sharedCpus: 1,
  ipv6: false,
};
const results = (rows: readonly Row[], changed: Partial<Origin> = {}): Results => ({
  origin: { ...origin, ...changed },
  rows,
  curves: [],
  timelines: [],
});

t.test('a ratio that moved by more than noise is better or worse, by what is measured', async t => {
  t.match(movement({ ...rate, ratio: 0.7 }, [rate]), { verdict: 'worse', before: 0.8, now: 0.7 });
  t.match(movement({ ...rate, ratio: 0.9 }, [rate]), { verdict: 'better' });
  t.match(movement({ ...time, ratio: 3.6 }, [time]), { verdict: 'worse' });
  t.match(movement({ ...time, ratio: 2.4 }, [time]), { verdict: 'better' });
  t.match(
    movement({ ...rate, culvert: 40, direct: 50 }, [rate]),
    { verdict: 'same', change: 0 },
    'ratios alone',
  );
  t.equal(movement(rate, [time, memory]), null);
});

t.test('noise is what both scatter by, and what two runs of one version differ by', async t => {
  t.match(movement({ ...rate, ratio: 0.77 }, [rate]), { verdict: 'same', noise: 0.05 });
  t.match(movement({ ...rate, ratio: 0.7, spread: 0.15 }, [rate]), { verdict: 'same', noise: 0.16 });
  t.match(movement({ ...memory, culvert: 54 }, [memory]), { verdict: 'same', noise: 0.1 });
  t.match(movement({ ...memory, culvert: 60 }, [memory]), { verdict: 'worse', before: 50, now: 60 });
});

t.test('less is better but of what is counted by the second', async t => {
  t.same(['µs', 'ms', 'MB', 'kB', '/s', 'Gbit/s'].map(lessIsBetter), [true, true, true, true, false, false]);
});

t.test('what is worse is named, the most first', async t => {
  const now = results([{ ...rate, ratio: 0.7 }, { ...time, ratio: 4.5 }, memory]);
  t.same(
    worsened(now, results([rate, time, memory])).map(({ row }) => row.measure),
    ['round trip', 'HTTP'],
  );
});

t.test('one CPU is not held against two, nor IPv4 against IPv6; another machine is said', async t => {
  t.match(incomparable({ ...origin, sharedCpus: 2 }, origin), /one CPU then and 2 CPUs now/);
  t.match(incomparable({ ...origin, ipv6: true }, origin), /IPv4 then and over IPv6 now/);
  const elsewhere = { ...origin, kernel: '5.15.0', rounds: 9, commit: null };
  t.equal(incomparable(elsewhere, origin), null);
  t.same(differences(elsewhere, origin), ['kernel: 6.18.44 then, 5.15.0 now']);
});

t.test('the table says how each row moved, and names what is worse', async t => {
  const released = results([rate, time]);
  const text = report(results([{ ...rate, ratio: 0.7 }, { ...time, ratio: 3.05 }, memory]), released);
  t.match(text, /HTTP .* 0\.7× +1\.0 % +−12\.5 % worse\n/);
  t.match(text, /round trip .* 3\.05× +2\.0 % +\+1\.7 %\n/);
  t.match(text, /idle agent .* – +new\n/);
  t.match(text, /Worse than release 0\.1\.0 \(abc1234\) of 2026-11-28:\n {2}no-mesh: HTTP: 0\.8 → 0\.7 \(/);
  t.match(report(released, released), /Nothing is worse than release/);
  t.match(report(released, null), /No release was kept/);
  t.match(report(results([{ ...rate, path: 'no-mesh-2-cpus' }]), null), /direct is one CPU/);
  t.notMatch(text, /direct is one CPU/);
  const shared = report(released, results([rate], { sharedCpus: 2 }));
  t.match(shared, /Not held against the release/);
  t.notMatch(shared, /since release/);
});

t.test('tables for pages', async t => {
  t.equal(
    fullTables([time, memory]),
    [
      '| path | measure | unit | no mesh | Culvert | ratio | spread |',
      '|---|---|---|---|---|---|---|',
      '| cross-node | round trip | µs | 20 | 60 | 3× | 2.0 % |',
      '| cross-node | idle agent | MB | – | 50 | – | – |',
    ].join('\n'),
  );
  t.match(
    fullTables([time, { ...rate, path: 'no-mesh-2-cpus' }]),
    /^\| path .* no mesh \| Culvert [^]*\n\n\| path .* one CPU \| two CPUs [^]*\n\| no-mesh-2-cpus [^\n]*$/,
  );
  t.equal(
    shortTable([rate, { ...rate, path: 'waypoint', ratio: 0.2 }], {
      waypoint: 'by a waypoint',
      other: 'other',
    }),
    '|  | by a waypoint | other |\n|---|---|---|\n| HTTP | 0.2× | – |',
  );
  t.equal(
    originText(origin),
    'Culvert 0.1.0 (abc1234), 2026-11-28; a processor, Linux 6.18.44, Node 26.10.0; one CPU for everything, or all where it says so; medians of 3 pairs.',
  );
});
