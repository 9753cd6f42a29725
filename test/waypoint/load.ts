/** What is under way, held against the limits of a traffic policy. */
import * as fc from 'fast-check';
import t from 'tap';
import { CulvertError } from '../../base/errors.ts';
import { noLimits } from '../../model/traffic-policy.ts';
import { Load, type Slot } from '../../waypoint/load.ts';

function place(result: Slot | CulvertError): Slot {
  if (result instanceof CulvertError) throw result;
  return result;
}

t.test('requests, connections and those that wait for one', async t => {
  const overflows: string[] = [];
  const load = new Load({ ...noLimits, connections: 1, pending: 1, requests: 3 }, limit =>
    overflows.push(limit),
  );
  const begun: string[] = [];
  const enter = (name: string): Slot | CulvertError => load.enter(true, () => begun.push(name));
  const first = place(enter('a'));
  const second = place(enter('b'));
  t.same(begun, ['a']);
  t.match(enter('c'), { code: 'UPSTREAM_OVERFLOW' });
  t.same(overflows, ['pending']);
  first.release();
  t.same(begun, ['a', 'b'], 'who waits is next');
  first.release();
  t.equal(load.requests, 1, 'once');
  const third = place(enter('d'));
  third.release();
  t.equal(load.pending, 0, 'one that gives up waits no more');
  second.release();
  t.same([load.requests, begun], [0, ['a', 'b']]);

  const shared = [1, 2, 3].map(() => place(load.enter(false, () => {})));
  t.match(
    load.enter(false, () => {}),
    { code: 'UPSTREAM_OVERFLOW' },
  );
  t.same(overflows, ['pending', 'requests']);
  for (const slot of shared) slot.release();
  const carried = place(load.connect());
  t.match(load.connect(), { code: 'UPSTREAM_OVERFLOW' });
  carried.release();
  place(load.connect());
});

t.test('a budget of further tries is never exceeded', async t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 0, max: 5 }),
      fc.array(fc.constantFrom('request', 'retry', 'end-request', 'end-retry'), { maxLength: 300 }),
      (percent, minimum, steps) => {
        const load = new Load(noLimits, () => {});
        load.budget = { percent, minimum };
        const requests: Slot[] = [];
        const retries: Slot[] = [];
        for (const step of steps) {
          if (step === 'request') requests.push(place(load.enter(true, () => {})));
          else if (step === 'end-request') requests.pop()?.release();
          else if (step === 'end-retry') retries.pop()?.release();
          else {
            const most = Math.max(minimum, Math.floor((load.requests * percent) / 100));
            const slot = load.retry();
            if (slot !== null) retries.push(slot);
            if (slot !== null && load.retries > most) return false;
          }
        }
        return load.retries === retries.length && load.requests === requests.length;
      },
    ),
  );
  const load = new Load({ ...noLimits, retries: 1 }, () => {});
  const only = load.retry();
  t.equal(load.retry(), null);
  only?.release();
  t.ok(load.retry());
});
