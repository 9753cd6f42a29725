/**
 * `make soak-flips`: a policy is flipped again and again while pods send on every way there is between two of them, and what
 * still arrives after a deny is in force is counted.
 *
 *   node bench/soak-flips.ts [--flips 1000] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Flips, type Flip } from '../test/help/flips.ts';
import { quantile } from './compare.ts';

const { values } = parseArgs({
  options: { flips: { type: 'string', default: '1000' }, json: { type: 'string' } },
});
const wanted = Number(values.flips);
await using flips = await Flips.create('soak-flips');
const begun = performance.now();
const all: Flip[] = [];
while (all.length < wanted) {
  all.push(await flips.flip());
  if (all.length % 50 === 0) process.stderr.write(`${all.length} of ${wanted}\n`);
}
const late = all.map(({ lateMs }) => lateMs);
const result = {
  flips: all.length,
  seconds: Math.round((performance.now() - begun) / 1000),
  leakedBytes: all.reduce((sum, { leaked }) => sum + leaked, 0),
  refused: all.reduce((sum, { refused }) => sum + refused, 0),
  lastByteMs: { median: quantile(late, 0.5), p99: quantile(late, 0.99), most: Math.max(...late) },
};
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
process.exitCode = result.leakedBytes === 0 ? 0 : 1;
