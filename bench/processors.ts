/** Which CPUs there are, and on which of them this process runs. */
import { cpus } from 'node:os';
import { command } from '../test/lab/commands.ts';

/** All of the machine's; `availableParallelism` would count those that this process may use just now. */
export const processorCount = cpus().length;
/** As `taskset -c` takes them. */
export const everyProcessor = `0-${processorCount - 1}`;

/** Our own work (starting programs, reading metrics) must not be on the CPU that is measured. */
export async function keepOff(measured: string): Promise<void> {
  const all = Array.from({ length: processorCount }, (_, at) => String(at));
  const others = all.filter(at => at !== measured);
  await allow(measured === everyProcessor || others.length === 0 ? everyProcessor : others.join(','));
}

/** Where this process runs, and what it starts from now on. */
export async function allow(processors: string): Promise<void> {
  await command('taskset', ['-acp', processors, String(process.pid)]);
}
