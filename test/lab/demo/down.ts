/**
 * `make demo-down`: takes down the demo that is up, whether it was kept, is still running, or was killed.
 */
import { eventually } from '../eventually.ts';
import { Lab } from '../lab.ts';
import { isAlive, loadRecord } from '../record.ts';
import { reportLeftovers } from './leftovers.ts';
import type { Report } from './report.ts';

/** Returns whether nothing is left. */
export async function takeDownDemo(name: string, report: Report): Promise<boolean> {
  const record = loadRecord(name);
  if (record === null) {
    report.line('No demo is up.');
    return true;
  }
  const { owner, directory } = record;
  if (owner !== null && isAlive(owner)) {
    report.line(`A demo is running as process ${owner.pid}; it is asked to end.`);
    process.kill(owner.pid, 'SIGTERM');
    await eventually(() => !isAlive(owner), { timeoutMs: 30_000, what: `the end of process ${owner.pid}` });
  }
  // Nothing to do where the running demo has done it all.
  await Lab.sweep(name);
  return reportLeftovers({ name, directory, maps: [] }, report);
}
