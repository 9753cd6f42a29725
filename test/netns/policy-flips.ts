/**
 * No byte passes after a deny is in force: under load, on all ways between two pods. `make soak-flips` does it a thousand
 * times and says how long it took.
 */
import t from 'tap';
import { Flips } from '../help/flips.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const flips = await Flips.create('flips');
t.teardown(() => flips[Symbol.asyncDispose]());

t.test('a policy is flipped under load', { timeout: 120_000 }, async t => {
  for (let n = 0; n < 8; n += 1) t.match(await flips.flip(), { leaked: 0 });
  const decisions = await flips.stage.agent('node-a').metric('culvert_redirect_decisions_total', {
    decision: 'path_service',
  });
  t.ok(decisions > 0, 'some of the load was the kernel’s');
});
