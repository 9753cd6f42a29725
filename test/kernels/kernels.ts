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

await buildTools();
for (const series of ['6.1', '6.12']) {
  await t.test(`Linux ${series}`, { timeout: bootMs + 60_000 }, async t => {
    const machine = buildMachine(series);
    const console = await boot(machine, bootMs);
    t.match(console, `GUEST ${machine.release}`, 'the kernel booted');
    const checks = [...console.matchAll(/^CHECK (ok|failed) (.*?)\r?$/gm)];
    for (const [, verdict, what] of checks) t.equal(verdict, 'ok', what ?? '');
    if (!t.ok(checks.length >= leastChecks, `${checks.length} checks were made`))
      t.comment(console.slice(-4000));
    t.match(console, /GUEST-EXIT 0/, 'and ended well');
  });
}
