/** What a run leaves behind: distributions put together, a timeline, a file that is read again, pages that are filled. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { histogramOf, percentile, percentiles, pooled } from '../../bench/distribution.ts';
import { filled } from '../../bench/docs.ts';
import { optionsFrom } from '../../bench/options.ts';
import { timelineOf } from '../../bench/restarts.ts';
import { originOf, readResults, type Results, resultsText, writeResults } from '../../bench/results.ts';

t.test('histograms are pooled before anything is read off', async t => {
  const one = histogramOf({
    growth: 2,
    histogram: [
      [3, 90],
      [5, 10],
    ],
  });
  const two = histogramOf({
    growth: 2,
    histogram: [
      [3, 99],
      [8, 1],
    ],
  });
  const both = pooled([one, two].flatMap(histogram => histogram ?? []));
  t.same(
    [...both.counts],
    [
      [3, 189],
      [5, 10],
      [8, 1],
    ],
  );
  t.equal(percentile(both, 50), 2 ** 3.5);
  t.equal(percentile(both, 94.4), 2 ** 3.5);
  t.equal(percentile(both, 94.5), 2 ** 5.5);
  t.equal(percentile(both, 95), 2 ** 5.5);
  t.equal(percentile(both, 99.9), 2 ** 8.5);
  t.equal(percentile(both, 100), 2 ** 8.5);
  t.ok(Number.isNaN(percentile(pooled([]), 50)));
});

t.test('what is no histogram is none', async t => {
  for (const said of [
    null,
    'x',
    {},
    { growth: 2 },
    { growth: 2, histogram: [[1]] },
    { growth: 'a', histogram: [] },
  ])
    t.equal(histogramOf(said), null);
});

t.test('percentiles go from the fastest to one in a thousand', async t => {
  t.equal(percentiles[0], 0);
  t.equal(percentiles[8], 90);
  t.equal(percentiles.at(-1), 99.9);
  t.ok(percentiles.every((at, index) => index === 0 || at > (percentiles[index - 1] ?? 100)));
});

t.test('a timeline has what was begun around the event, answered and failed apart', async t => {
  const at = 1_000_000;
  const each = [
    [990, 1, null],
    [999.5, 2.5, null],
    [1000.1, 400, 'ECONNRESET'],
    [1003, 3, null],
    [1020, 1, null],
  ] as const;
  t.same(timelineOf('killed', 'cross-node', { each }, at), {
    event: 'killed',
    path: 'cross-node',
    answered: { begunMs: [-500, 3000], tookMs: [2.5, 3] },
    failed: { begunMs: [100], tookMs: [400] },
  });
});

t.test('results are read as they were written, a row a line, with figures that mean something', async t => {
  const origin = await originOf(optionsFrom({ ROUNDS: '2', CPU: 'all' }));
  t.match(origin, { version: /^\d+\.\d+\.\d+$/, date: /^\d{4}-\d\d-\d\d$/, kernel: /^\d+\.\d+/, rounds: 2 });
  t.equal(origin.sharedCpus, origin.processors);
  const row = {
    path: 'a',
    measure: 'b',
    unit: '/s',
    direct: 1 / 3,
    culvert: 12_345_678,
    ratio: null,
    spread: 0,
  };
  const results: Results = {
    origin,
    rows: [row],
    curves: [
      {
        curve: 'payload',
        path: 'same-node',
        unit: 'Gbit/s',
        points: [{ at: 64, direct: 1, culvert: 2, ratio: 2, spread: 0 }],
      },
    ],
    timelines: [],
  };
  t.match(
    resultsText(results),
    /\n {4}\{ "path": "a", "measure": "b", .*"direct": 0\.33333, "culvert": 12346000, .*\}\n/,
  );
  const path = join(t.testdir(), 'deep', 'results.json');
  writeResults(path, results);
  t.same(readResults(path), { ...results, rows: [{ ...row, direct: 0.33333, culvert: 12_346_000 }] });
  t.equal(readResults(`${path}.none`), null);
  writeFileSync(path, '[]');
  t.throws(() => readResults(path), { code: 'BENCH_RESULTS' });
  writeFileSync(path, '{');
  t.throws(() => readResults(path), { code: 'BENCH_RESULTS' });
});

t.test('a page is filled between its marks and nowhere else', async t => {
  const page =
    'before\n<!-- bench: table -->\n\nold\n\n<!-- /bench -->\nafter\n<!-- bench: other -->\n<!-- /bench -->\n';
  const once = filled(page, 'table', 'new', 'page.md');
  t.equal(once, page.replace('old', 'new'));
  t.equal(filled(once, 'table', 'new', 'page.md'), once);
  t.throws(() => filled(page, 'nothing', '', 'page.md'), { code: 'BENCH_DOCS', message: /page\.md/ });
});

t.test('the pages that show the results have their marks', async t => {
  const page = (name: string): string => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
  t.doesNotThrow(() => filled(page('docs/performance.md'), 'table', '', 'docs/performance.md'));
  t.doesNotThrow(() => filled(page('README.md'), 'ratios', '', 'README.md'));
});
