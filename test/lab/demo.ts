/**
 * `make demo`: two nodes and their pods on this machine, real programs in them, real agents, and a report of what was seen.
 *
 *   node test/lab/demo.ts [--keep] [--name NAME] [--seconds N]     --keep leaves everything up
 *   node test/lab/demo.ts --down [--name NAME]                     takes down what --keep, or a kill -9, has left
 *
 * Exit: 0 all was as it should be, 64 usage, 69 this machine can't, 70 it was not, 130 Ctrl-C.
 */
import { parseArgs } from 'node:util';
import { CulvertError, describeError } from '../../base/errors.ts';
import { exitCodeOf } from '../../cli/exit.ts';
import { takeDownDemo } from './demo/down.ts';
import { isUnfit, requireFitness } from './demo/fitness.ts';
import { Interruption } from './demo/interruption.ts';
import { perform } from './demo/perform.ts';
import { Report } from './demo/report.ts';

const report = new Report(process.stdout);
const interruption = new Interruption(report);
// Somebody who closes the pipe that we write to has seen enough.
process.stdout.on('error', () => process.exit(70));

try {
  const { name, keep, down, seconds } = options();
  requireFitness();
  const well = down
    ? await takeDownDemo(name, report)
    : await perform({ name, keep, seconds }, report, interruption);
  process.exitCode = well ? 0 : 70;
} catch (error) {
  if (!interruption.happened) process.stderr.write(`\ndemo: ${describeError(error)}\n`);
  process.exitCode = exitCodeOf(error) === 64 ? 64 : isUnfit(error) ? 69 : 70;
}
process.exit(interruption.exitCode ?? process.exitCode);

function options(): { keep: boolean; down: boolean; name: string; seconds: number } {
  try {
    const { values } = parseArgs({
      options: {
        keep: { type: 'boolean', default: false },
        down: { type: 'boolean', default: false },
        // Demos of different names may run side by side.
        name: { type: 'string', default: 'demo' },
        // For each of the four comparisons.
        seconds: { type: 'string', default: '1.2' },
      },
    });
    const seconds = Number(values.seconds);
    if (seconds > 0) return { ...values, seconds };
    throw new Error(`--seconds ${values.seconds}: a number above 0 is needed`);
  } catch (cause) {
    throw new CulvertError('BAD_USAGE', describeError(cause), { cause });
  }
}
