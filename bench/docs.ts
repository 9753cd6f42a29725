/** Puts what was measured into the pages that show it, between two comments of a page. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CulvertError } from '../base/errors.ts';
import { drawPlots } from './plots.ts';
import { fullTables, originText, shortTable } from './report.ts';
import { type Results, writeResults } from './results.ts';

const file = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));

/** Columns of the README's table. */
const shortPaths = {
  'same-node': 'same node',
  'same-node-join': 'same node, joined',
  'same-node-join-all-cpus': 'the same on two CPUs',
  'cross-node': 'cross node',
  'cross-node-join': 'cross node, joined legs',
  waypoint: 'through a waypoint',
} as const;

/** Both pages show these results from now on, and the file beside us has them. */
export function show(results: Results): void {
  const { rows, origin } = results;
  fill(file('docs/performance.md'), 'table', `${fullTables(rows)}\n\n${originText(origin)}`);
  fill(file('README.md'), 'ratios', `${shortTable(rows, shortPaths)}\n\n${originText(origin)}`);
  drawPlots(results, file('docs/plots'));
  writeResults(file('bench/results.json'), results);
}

/** Replaces what stands between `<!-- bench: NAME -->` and `<!-- /bench -->` in a file. */
function fill(path: string, name: string, text: string): void {
  writeFileSync(path, filled(readFileSync(path, 'utf8'), name, text, path));
}

/** The page with other text between the marks. Throws BENCH_DOCS when it has no such marks. */
export function filled(page: string, name: string, text: string, path: string): string {
  const [begin, end] = [`<!-- bench: ${name} -->`, '<!-- /bench -->'];
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < 0)
    throw new CulvertError('BENCH_DOCS', `${path} has no ${begin} … ${end} for what was measured`);
  return `${page.slice(0, from)}${begin}\n\n${text}\n\n${page.slice(to)}`;
}
