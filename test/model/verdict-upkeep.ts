/** model/verdict-upkeep.ts: all that can become of a verdict. */
import t from 'tap';
import { type Decision, upkeep, type Upkeep } from '../../model/verdict-upkeep.ts';

const destination = 7n;
const uid = 'cluster//Pod/shop/near';
const cases: readonly [Decision, inForce: Upkeep, taken: Upkeep][] = [
  [{ kind: 'allowed', destination, uid }, 'stays', 'returns'],
  [{ kind: 'allowed', destination: 8n, uid }, 'goes', 'rests'],
  [{ kind: 'allowed', destination, uid: 'cluster//Pod/shop/other' }, 'goes', 'rests'],
  [{ kind: 'denied' }, 'goes', 'rests'],
  [{ kind: 'elsewhere' }, 'goes', 'rests'],
];
for (const [decision, inForce, taken] of cases) {
  const said = JSON.stringify(decision, (_, value: unknown) =>
    typeof value === 'bigint' ? Number(value) : value,
  );
  t.equal(upkeep({ inForce: true, destination, uid }, decision), inForce, `in force: ${said}`);
  t.equal(upkeep({ inForce: false, destination, uid }, decision), taken, `taken away: ${said}`);
}
