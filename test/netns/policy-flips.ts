/**
 * No byte passes after a deny is in force: under load, on all ways between two pods. `make soak-flips` does it a thousand
 * times and says how long it took.
 */
import t from 'tap';
import { Flips } from '../help/flips.ts';
import { eventually } from '../lab/eventually.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const flips = await Flips.create('flips');
t.teardown(() => flips[Symbol.asyncDispose]());

t.test('a policy is flipped under load', { timeout: 120_000 }, async t => {
  const byKernel = (): Promise<number> =>
    flips.stage.agent('node-a').metric('culvert_redirect_decisions_total', { decision: 'path_service' });
  for (let n = 0; n < 8; n += 1) t.match(await flips.flip(), { leaked: 0 });
  // What was denied just now is the agent's for a while, which of both has the load is a matter of moments.
  await eventually(
    async () => {
      t.match(await flips.flip(), { leaked: 0 });
      return (await byKernel()) > 0;
    },
    { timeoutMs: 60_000, what: 'load that is the kernel’s' },
  );
});
