/**
 * `make bench-control`: what a control plane costs that a thousand agents of a large cluster listen to.
 *
 * BENCH_HELP=1 lists what can be set. A quick look: PODS=3000 SERVICES=300 NODES=100 AGENTS=100 SECONDS=10 RESTARTS=0
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { describeError } from '../base/errors.ts';
import type { Row } from './compare.ts';
import { measureControl } from './control/measures.ts';
import { controlOptions, variables } from './control/options.ts';
import { figures, table } from './table.ts';

async function main(): Promise<void> {
  if (process.env['BENCH_HELP'] !== undefined) {
    const columns = ['variable', 'default', 'meaning'].map(title => ({ title, align: 'left' as const }));
    const rows = Object.entries(variables).map(([name, variable]) => [
      name,
      variable.default,
      variable.meaning,
    ]);
    process.stdout.write(`${table(columns, rows)}\n`);
    return;
  }
  const options = controlOptions(process.env);
  const rows: Row[] = [];
  for await (const row of measureControl(options)) {
    rows.push(row);
    process.stderr.write(`${row.path}: ${row.measure}: ${figures(row.culvert)} ${row.unit}\n`);
  }
  const output = resolve(options.output);
  mkdirSync(dirname(output), { recursive: true });
  writeFileSync(output, `${JSON.stringify(rows, null, 2)}\n`);
  const columns = [
    { title: 'path', align: 'left' },
    { title: 'measure', align: 'left' },
    { title: 'value', align: 'right' },
    { title: 'unit', align: 'left' },
  ] as const;
  const cells = rows.map(row => [row.path, row.measure, figures(row.culvert), row.unit]);
  process.stdout.write(`\n${table(columns, cells)}\n\nRows: ${output}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${describeError(error)}\n`);
  process.exitCode = 1;
}
