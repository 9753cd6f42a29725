/** One thing that `culvert check` looked at, and how all of them are shown. */
import { table } from './table.ts';

export interface CheckResult {
  readonly name: string;
  readonly state: 'ok' | 'warning' | 'missing';
  readonly found: string;
  /** What to do about it; null where all is well. */
  readonly fix: string | null;
}

/** Writes the results, and makes the exit code 1 where something is missing. */
export function showChecks(results: readonly CheckResult[], output: string): void {
  if (output === 'json') process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  else {
    const rows = results.map(it => [
      it.state === 'ok' ? 'ok' : it.state.toUpperCase(),
      it.name,
      it.found,
      it.fix ?? '',
    ]);
    process.stdout.write(table(['', 'WHAT', 'FOUND', 'WHAT TO DO'], rows));
  }
  if (results.some(it => it.state === 'missing')) process.exitCode = 1;
}
