import * as fc from 'fast-check';
import t from 'tap';
import { columnsOf } from '../../agent/kernel-path-service-abi.ts';

/** What each gets of all draws. */
function sharesOf(weights: readonly number[]): number[] {
  const shares = weights.map(() => 0);
  const columns = columnsOf(weights);
  for (const [index, { share, other }] of columns.entries()) {
    shares[index] = (shares[index] ?? 0) + share / columns.length;
    shares[other] = (shares[other] ?? 0) + (1 - share) / columns.length;
  }
  return shares;
}

t.test('equal weights need no second number', async t => {
  t.same(
    columnsOf([1, 1, 1]),
    [0, 1, 2].map(other => ({ share: 1, other })),
  );
});

t.test('whatever the weights are, all get their share', async t => {
  const weights = fc.array(fc.integer({ min: 1, max: 10_000 }), { minLength: 1, maxLength: 64 });
  fc.assert(
    fc.property(weights, weights => {
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return sharesOf(weights).every((share, at) => Math.abs(share - (weights[at] ?? 0) / total) < 1e-9);
    }),
  );
  t.pass();
});
