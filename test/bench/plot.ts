/** Plots: where things go, what a file says, and that a whole run becomes files that are right. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { percentiles } from '../../bench/distribution.ts';
import { apart } from '../../bench/plot/labels.ts';
import {
  linearAxis,
  linearTicks,
  logarithmicAxis,
  logarithmicDomain,
  logarithmicTicks,
  ninesAxis,
} from '../../bench/plot/scale.ts';
import { dots, element, rounded, text, through } from '../../bench/plot/svg.ts';
import { drawPlots } from '../../bench/plots.ts';
import type { Curve, Point, Results, Timeline } from '../../bench/results.ts';

t.test('axes put values where they belong', async t => {
  t.same([0, 5, 10].map(linearAxis('', [0, 10], []).part), [0, 0.5, 1]);
  t.same([1, 10, 100].map(logarithmicAxis('', [1, 100], []).part), [0, 0.5, 1]);
  t.same(
    [0, 90, 99].map(ninesAxis('', 99, []).part).map(part => Number(part.toFixed(6))),
    [0, 0.5, 1],
  );
});

t.test('a logarithmic axis begins and ends with a round number', async t => {
  t.same(logarithmicDomain([15.8, 130, 0]), [10, 200]);
  t.same(logarithmicDomain([0.03, 59], [1]), [0.01, 100]);
  t.same(logarithmicDomain([20, 50]), [20, 50]);
  const labels = logarithmicTicks([5, 50], String, [1, 2, 5]).map(({ label }) => label);
  t.same(labels, ['5', '10', '20', '50']);
  t.same(
    logarithmicTicks([0.1, 1_000], String).map(({ at }) => at),
    [0.1, 1, 10, 100, 1_000],
  );
});

t.test('a linear axis begins at zero and has room for the largest', async t => {
  t.same(
    linearTicks(123_000, String).map(({ at }) => at),
    [0, 25_000, 50_000, 75_000, 100_000, 125_000],
  );
  t.same(
    linearTicks(3_000, String, 3).map(({ at }) => at),
    [0, 1_000, 2_000, 3_000],
  );
});

t.test('names that would cover each other move apart, no further than they must', async t => {
  t.same(apart([10, 50, 90], 14, [0, 100]), [10, 50, 90]);
  t.same(apart([50, 50], 14, [0, 100]), [43, 57]);
  t.same(apart([57, 43], 14, [0, 100]), [57, 43]);
  t.same(apart([99, 98, 97], 14, [0, 100]), [100, 86, 72]);
  const many = apart([50, 52, 30, 31, 49], 14, [0, 100]);
  const sorted = many.toSorted((left, right) => left - right);
  t.ok(sorted.every((place, at) => at === 0 || place - (sorted[at - 1] ?? 0) >= 14 - 1e-6));
});

t.test('text of SVG', async t => {
  t.equal(element('path', { d: 'M0 0', x: 1.04 }), '<path d="M0 0" x="1"/>');
  t.equal(text('a < b & "c"', { x: 2.25 }), '<text x="2.3">a &lt; b &amp; &quot;c&quot;</text>');
  t.same([1.04, -0.01, 12.35, 7].map(rounded), ['1', '0', '12.3', '7']);
  t.equal(
    through([
      [0, 1],
      [2.5, 3],
    ]),
    'M0 1L2.5 3',
  );
  t.equal(
    dots([
      [1, 2],
      [3, 4],
    ]),
    'M1 2h0M3 4h0',
  );
});

const points = (at: readonly number[], of: (at: number) => number): Point[] =>
  at.map(place => ({ at: place, direct: of(place), culvert: 2 * of(place), ratio: 2, spread: 0 }));
const curves = (['same-node', 'same-node-join', 'cross-node', 'cross-node-join'] as const).flatMap(
  (path): Curve[] => [
    { curve: 'distribution', path, unit: 'µs', points: points(percentiles, at => 10 + at) },
    { curve: 'payload', path, unit: 'Gbit/s', points: points([64, 1_024, 2 ** 20], at => at / 1e5) },
    { curve: 'connections', path, unit: '/s', points: points([1, 64, 1_000], at => 100 * at) },
  ],
);
const memory: Curve = {
  curve: 'memory',
  path: 'cross-node',
  unit: 'MB',
  points: [0, 300, 3_000].map(at => ({
    at,
    direct: null,
    culvert: 100 + at / 100,
    ratio: null,
    spread: null,
  })),
};
const timeline = (event: Timeline['event'], path: Timeline['path'], failed: number): Timeline => ({
  event,
  path,
  answered: { begunMs: [-1_000, 0, 2_000], tookMs: [1, 300, 0.01] },
  failed: {
    begunMs: Array.from({ length: failed }, () => 5),
    tookMs: Array.from({ length: failed }, () => 8),
  },
});
const results: Results = {
  origin: {
    version: '0.1.0',
    commit: null,
    date: '2026-11-28',
    processor: '',
    processors: 2,
    kernel: '6.18',
    node: 'v26',
    rounds: 1,
    seconds: 1,
    sharedCpus: 1,
    ipv6: false,
  },
  rows: [],
  curves: [...curves, memory],
  timelines: [
    timeline('replaced', 'same-node', 0),
    timeline('replaced', 'cross-node', 0),
    timeline('killed', 'same-node', 0),
    timeline('killed', 'cross-node', 3),
  ],
};

t.test(
  'a whole run becomes all plots, the same each time, for light and dark and for those who listen',
  async t => {
    const directory = t.testdir();
    const drawn = drawPlots(results, directory);
    t.same(readdirSync(directory).toSorted(), [
      'connections.svg',
      'latency.svg',
      'memory.svg',
      'payload.svg',
      'restarts.svg',
    ]);
    const read = (): string[] => drawn.map(path => readFileSync(path, 'utf8'));
    const first = read();
    for (const svg of first) {
      t.notMatch(svg, /NaN|Infinity|undefined/);
      t.match(
        svg,
        /^<svg [^>]*role="img" aria-labelledby="title desc">\n<title id="title">.+<\/title>\n<desc /,
      );
      t.match(svg, /@media \(prefers-color-scheme:dark\)/);
      t.ok(isWellFormed(svg));
    }
    drawPlots(results, directory);
    t.same(read(), first);
    const of = (name: string): string => readFileSync(join(directory, `${name}.svg`), 'utf8');
    for (const name of ['latency', 'payload', 'connections'])
      for (const label of ['no mesh', 'Culvert', 'Culvert, joined', 'both pods on one node', 'two nodes'])
        t.match(of(name), `>${label}</text>`, `${name}: ${label}`);
    t.match(of('restarts'), '>other node: 3 failed</text>');
    t.match(of('restarts'), '<path class="cross joined"');
    t.match(of('memory'), '>both agents</text>');
  },
);

t.test('what was not measured is not drawn', async t => {
  const directory = t.testdir();
  t.same(drawPlots({ ...results, curves: [], timelines: [] }, directory), []);
  const near = curves.filter(({ curve, path }) => curve === 'payload' && path === 'same-node');
  t.same(drawPlots({ ...results, curves: near, timelines: [] }, directory), [join(directory, 'payload.svg')]);
  t.notMatch(readFileSync(join(directory, 'payload.svg'), 'utf8'), 'two nodes</text>');
});

/** Whether each element that is opened is closed in its turn. */
function isWellFormed(svg: string): boolean {
  const open: string[] = [];
  for (const [, closing, name = '', empty] of svg.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (closing === '/') {
      if (open.pop() !== name) return false;
    } else if (empty !== '/') {
      open.push(name);
    }
  }
  return open.length === 0;
}
