/**
 * The same agents on the kernels of other distributions' age: each boots in an emulator, guest.ts tries what matters there.
 */
import t from 'tap';
import { buildTools } from '../../bench/tools/build.ts';
import { boot } from './emulator.ts';
import { buildMachine } from './image.ts';

const bootMs = 600_000;
/** Checks that guest.ts makes; fewer mean that it ended early. */
const leastChecks = 8;

/** What a machine that ended early said last, on one line: the only part of a long console that every log keeps. */
function lastWords(console: string): string {
  // oxlint-disable-next-line no-control-regex
  const lines = console.replaceAll(/\u001b\[[0-9;?]*[A-Za-z]|\r/g, '').split('\n');
  return `its console ends: ${lines
    .filter(line => line.trim() !== '')
    .slice(-15)
    .join(' | ')}`;
}

await buildTools();
for (const series of ['6.1', '6.12']) {
  await t.test(`Linux ${series}`, { timeout: bootMs + 60_000 }, async t => {
    const machine = buildMachine(series);
    const console = await boot(machine, bootMs);
    t.match(console, `GUEST ${machine.release}`, 'the kernel booted');
    const checks = [...console.matchAll(/^CHECK (ok|failed) (.*?)\r?$/gm)];
    for (const [, verdict, what] of checks) t.equal(verdict, 'ok', what ?? '');
    const ended = checks.length >= leastChecks && console.includes('GUEST-EXIT 0');
    t.ok(ended, ended ? 'and ended well' : `${checks.length} checks were made; ${lastWords(console)}`);
    if (!ended) t.comment(console.slice(-4000));
  });
}
