/** The rows of a run as people read them: in a terminal, held against the last release, and in Markdown. Pure. */
import type { Row } from './compare.ts';
import { differences, incomparable, type Movement, movement, worsened } from './release.ts';
import type { Origin, Results } from './results.ts';
import { figures, table } from './table.ts';

/** The table and what there is to say about it. `released` is null where no release was kept. */
export function report(results: Results, released: Results | null): string {
  const { origin, rows } = results;
  const hindrance = released === null ? null : incomparable(origin, released.origin);
  const reference = hindrance === null ? released : null;
  const columns = [
    { title: 'path', align: 'left' },
    { title: 'measure', align: 'left' },
    { title: 'direct', align: 'right' },
    { title: 'culvert', align: 'right' },
    { title: 'unit', align: 'left' },
    { title: 'ratio', align: 'right' },
    { title: 'spread', align: 'right' },
    ...(reference === null ? [] : [{ title: 'since release', align: 'left' } as const]),
  ] as const;
  const cells = rows.map(row => [
    row.path,
    row.measure,
    figures(row.direct),
    figures(row.culvert),
    row.unit,
    ratioText(row.ratio),
    percent(row.spread),
    ...(reference === null ? [] : [movementText(movement(row, reference.rows))]),
  ]);
  const notes = [
    `${originText(origin)} Ratios are culvert ÷ direct; spread is the distance of their quartiles.`,
  ];
  if (rows.some(isScaling)) notes.push('In rows of …-2-cpus, direct is one CPU and culvert is two.');
  if (hindrance !== null) notes.push(`Not held against the release: ${hindrance}.`);
  else notes.push(...comparison(results, reference));
  return `${table(columns, cells)}\n\n${notes.join('\n')}\n`;
}

function comparison(results: Results, released: Results | null): string[] {
  if (released === null) return ['No release was kept to hold it against.'];
  const { version, commit, date } = released.origin;
  const name = `${version}${commit === null ? '' : ` (${commit})`} of ${date}`;
  const worse = worsened(results, released).map(
    ({ row, moved }) =>
      `  ${row.path}: ${row.measure}: ${figures(moved.before)} → ${figures(moved.now)} (${signed(moved.change)}; up to ${percent(moved.noise)} is noise)`,
  );
  return [
    worse.length === 0 ? `Nothing is worse than release ${name}.` : `Worse than release ${name}:`,
    ...worse,
    ...differences(results.origin, released.origin).map(difference => `Measured elsewhere: ${difference}.`),
  ];
}

/** How a run was made, in a sentence or two. */
export function originText(origin: Origin): string {
  const { commit, version, date, processor, kernel, sharedCpus, rounds } = origin;
  const where =
    sharedCpus === 1
      ? 'one CPU for everything, or all where it says so'
      : `${sharedCpus} CPUs for everything`;
  const what = `Culvert ${version}${commit === null ? '' : ` (${commit})`}, ${date}`;
  const family = origin.ipv6 ? ', IPv6' : '';
  return `${what}; ${processor}, Linux ${kernel}, Node ${origin.node.slice(1)}; ${where}${family}; medians of ${rounds} pairs.`;
}

/** Cells of Markdown under heads; lines of `|` as GitHub reads them. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

/** The tables of docs/performance.md: what is held against no mesh, and two CPUs against one. */
export function fullTables(rows: readonly Row[]): string {
  const columns = (direct: string, culvert: string): string[] => [
    'path',
    'measure',
    'unit',
    direct,
    culvert,
    'ratio',
    'spread',
  ];
  const ofMesh = rows.filter(row => !isScaling(row));
  const scaling = rows.filter(isScaling);
  const tables = [markdown(columns('no mesh', 'Culvert'), ofMesh.map(cellsOf))];
  if (scaling.length > 0) tables.push(markdown(columns('one CPU', 'two CPUs'), scaling.map(cellsOf)));
  return tables.join('\n\n');
}

function isScaling({ path }: Row): boolean {
  return path.endsWith('-2-cpus');
}

function cellsOf(row: Row): string[] {
  return [
    row.path,
    row.measure,
    row.unit,
    figures(row.direct),
    figures(row.culvert),
    ratioText(row.ratio),
    percent(row.spread),
  ];
}

/** The table of the README: a column for each path, ratios alone. */
export function shortTable(rows: readonly Row[], paths: Readonly<Record<string, string>>): string {
  const columns = Object.keys(paths);
  const ratioOf = (path: string, measure: string): number | null =>
    rows.find(row => row.path === path && row.measure === measure)?.ratio ?? null;
  const measures = [...new Set(rows.filter(row => row.path === 'no-mesh').map(row => row.measure))];
  return markdown(
    ['', ...Object.values(paths)],
    measures.map(measure => [measure, ...columns.map(path => ratioText(ratioOf(path, measure)))]),
  );
}

function movementText(moved: Movement | null): string {
  if (moved === null) return 'new';
  const { change, verdict } = moved;
  return verdict === 'same' ? signed(change) : `${signed(change)} ${verdict}`;
}

function ratioText(ratio: number | null): string {
  return ratio === null ? '–' : `${figures(ratio)}×`;
}

function percent(part: number | null): string {
  return part === null ? '–' : `${(part * 100).toFixed(1)} %`;
}

function signed(change: number): string {
  const text = percent(Math.abs(change));
  return change < 0 ? `−${text}` : `+${text}`;
}
