/** The choice among endpoints: shares, keys, nearness, ejection, and when a try is worth another. */
import * as fc from 'fast-check';
import t from 'tap';
import { leastRequest, randomOne, RoundRobin } from '../../model/balancers.ts';
import { HashTable, hash32 } from '../../model/hash-table.ts';
import type { HttpRetry } from '../../model/http-route.ts';
import { chooseLevel, isWithin, sharesFor } from '../../model/nearness.ts';
import { Outliers } from '../../model/outliers.ts';
import { backoffMs, defaultRetry, isWorthRetry } from '../../model/retries.ts';
import type { HashTable as Shape, OutlierRule } from '../../model/traffic-policy.ts';

const picks = 10_000;

/** Numbers that look random and are the same in every run. */
function seeded(seed = 1): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return hash32(String(state)) / 2 ** 32;
  };
}

function candidates(weights: readonly number[]) {
  return weights.map((weight, at) => ({ uid: `e${at}`, weight, active: 0 }));
}

t.test('shares are as the weights within one percent over ten thousand picks', async t => {
  const random = seeded();
  for (const weights of [
    [1, 1, 1, 1],
    [90, 10],
    [1, 2, 3],
  ]) {
    const total = weights.reduce((a, b) => a + b);
    const turns = new RoundRobin();
    for (const [name, pick] of [
      ['random', () => randomOne(candidates(weights), random)],
      ['least request', () => leastRequest(candidates(weights), random)],
      ['round robin', () => turns.pick(candidates(weights))],
    ] as const) {
      const counts = new Map<string, number>();
      for (let n = 0; n < picks; n += 1) {
        const uid = pick()?.uid ?? '';
        counts.set(uid, (counts.get(uid) ?? 0) + 1);
      }
      for (const [at, weight] of weights.entries()) {
        const share = (counts.get(`e${at}`) ?? 0) / picks;
        t.ok(Math.abs(share - weight / total) < 0.01, `${name} ${weights.join('/')}: ${share}`);
      }
    }
  }
});

t.test('the one with less to do is chosen of two, by what it can carry', async t => {
  const both = [
    { uid: 'busy', weight: 1, active: 5 },
    { uid: 'idle', weight: 1, active: 0 },
  ];
  const random = seeded();
  let idle = 0;
  for (let n = 0; n < 1_000; n += 1) if (leastRequest(both, random)?.uid === 'idle') idle += 1;
  t.ok(idle > 700 && idle < 800, `${idle}: all but where the busy one is drawn twice`);
  t.equal(leastRequest([], random), null);
});

const shapes: readonly Shape[] = [
  { type: 'ring', minimumSize: 1_024 },
  { type: 'maglev', size: 65_537 },
];

t.test('a key keeps its endpoint, and only the keys of one that goes move', async t => {
  for (const shape of shapes) {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 12 }), fc.nat(), (count, which) => {
        const all = Array.from({ length: count }, (_, at) => ({ uid: `pod-${at}`, capacity: 1 }));
        const gone = which % count;
        const table = new HashTable(shape, all);
        for (let n = 0; n < 200; n += 1) {
          const key = hash32(`user-${n}`);
          const before = table.pick(key, () => true);
          const after = table.pick(key, at => at !== gone);
          if (before !== gone && after !== before) return false;
          if (after === gone || after === null) return false;
        }
        return true;
      }),
      { numRuns: 20 },
    );
    const nine = Array.from({ length: 9 }, (_, at) => ({ uid: `pod-${at}`, capacity: 1 }));
    const [small, large] = [nine.slice(0, 8), nine].map(all => new HashTable(shape, all));
    let moved = 0;
    for (let n = 0; n < picks; n += 1) {
      const key = hash32(`user-${n}`);
      const [before, after] = [small?.pick(key, () => true), large?.pick(key, () => true)];
      if (before !== after) moved += 1;
    }
    t.ok(moved / picks < 0.2, `${shape.type}: ${moved} of ${picks} keys moved for one more of nine`);
    t.equal(
      new HashTable(shape, []).pick(1, () => true),
      null,
    );
    t.equal(
      small?.pick(1, () => false),
      null,
      'none fits',
    );
  }
});

t.test('capacity is the share of the keys', async t => {
  for (const shape of shapes) {
    const table = new HashTable(shape, [
      { uid: 'a', capacity: 3 },
      { uid: 'b', capacity: 1 },
    ]);
    let a = 0;
    for (let n = 0; n < picks; n += 1) if (table.pick(hash32(`k${n}`), () => true) === 0) a += 1;
    t.ok(Math.abs(a / picks - 0.75) < 0.05, `${shape.type}: ${a}`);
  }
});

t.test('near levels keep the load until too much of them is gone', async t => {
  const share = (levels: { all: number; fit: number }[], level: number): number => {
    const random = seeded();
    let hits = 0;
    for (let n = 0; n < picks; n += 1) if (chooseLevel(levels, random()) === level) hits += 1;
    return hits / picks;
  };
  t.equal(
    share(
      [
        { all: 10, fit: 8 },
        { all: 10, fit: 10 },
      ],
      0,
    ),
    1,
    '80 % of 140 % is enough',
  );
  t.ok(
    Math.abs(
      share(
        [
          { all: 10, fit: 5 },
          { all: 10, fit: 10 },
        ],
        0,
      ) - 0.7,
    ) < 0.02,
  );
  t.equal(
    share(
      [
        { all: 10, fit: 0 },
        { all: 10, fit: 1 },
      ],
      1,
    ),
    1,
  );
  const place = { region: 'eu', zone: 'a', subzone: '' };
  t.ok(isWithin(place, 'eu') && isWithin(place, 'eu/*') && isWithin(place, 'eu/a') && isWithin(place, '*'));
  t.notOk(isWithin(place, 'eu/b') || isWithin(null, 'eu'));
  t.same(
    sharesFor(
      [
        { from: 'us/*', to: [] },
        { from: 'eu/a/*', to: [{ locality: 'eu', weight: 1 }] },
      ],
      place,
    ),
    [{ locality: 'eu', weight: 1 }],
  );
});

const rule: OutlierRule = {
  serverErrors: 3,
  gatewayErrors: 0,
  localErrors: null,
  statuses: [[500, 599]],
  intervalMs: 10_000,
  ejectionMs: 30_000,
  maxEjectionPercent: 50,
  minHealthPercent: 0,
};

t.test('errors in a row eject, for longer each time, and time brings back', async t => {
  let now = 0;
  const outliers = new Outliers(() => now);
  outliers.rule = rule;
  const all = ['a', 'b', 'c', 'd'];
  const fail = (uid: string, times = 3): boolean[] =>
    Array.from({ length: times }, () => outliers.report(uid, 503, all));
  t.same(fail('a', 2), [false, false]);
  outliers.report('a', 200, all);
  t.same(fail('a'), [false, false, true], 'a good answer begins the count anew');
  t.ok(outliers.has('a'));
  now = 29_999;
  t.ok(outliers.has('a'));
  now = 30_000;
  t.notOk(outliers.has('a'));
  fail('a');
  now += 59_999;
  t.ok(outliers.has('a'), 'twice as long');
  now += 1;
  t.notOk(outliers.has('a'));
  now += 20_000;
  fail('a');
  now += 30_000;
  t.notOk(outliers.has('a'), 'two good intervals are two times less');

  fail('b');
  fail('c');
  t.notOk(outliers.has('d'));
  t.same(fail('d'), [false, false, false], 'half of four is two');
  t.same(
    all.filter(uid => outliers.has(uid)),
    ['b', 'c'],
  );
});

t.test('one of few is ejected, the only one never; what counts can be chosen', async t => {
  const make = (changes: Partial<OutlierRule>): Outliers => {
    const outliers = new Outliers(() => 0);
    outliers.rule = { ...rule, serverErrors: 1, ...changes };
    return outliers;
  };
  t.equal(make({ maxEjectionPercent: 10 }).report('a', 500, ['a', 'b']), true);
  t.equal(make({ maxEjectionPercent: 10 }).report('a', 500, ['a']), false);
  t.equal(make({ maxEjectionPercent: 0 }).report('a', 500, ['a', 'b']), false);
  t.equal(make({ serverErrors: 0, gatewayErrors: 1 }).report('a', 500, ['a', 'b']), false);
  t.equal(make({ serverErrors: 0, gatewayErrors: 1 }).report('a', 503, ['a', 'b']), true);
  t.equal(make({}).report('a', 'local', ['a', 'b']), true, 'no answer counts as an error');
  const split = make({ localErrors: 2 });
  t.same(
    [1, 2].map(() => split.report('a', 'local', ['a', 'b'])),
    [false, true],
  );
  t.equal(make({ statuses: [[429, 429]] }).report('a', 429, ['a', 'b']), true);
  t.equal(make({ statuses: [[429, 429]] }).report('a', 500, ['a', 'b']), false);
});

t.test('what a try comes to is worth another as the rule says', async t => {
  const on = (...conditions: HttpRetry['on'][number][]): HttpRetry => ({ ...defaultRetry, on: conditions });
  const status = (code: number, grpcStatus: string | null = null) =>
    ({ type: 'status', status: code, grpcStatus }) as const;
  const seen = { type: 'reset', seen: true } as const;
  const unseen = { type: 'reset', seen: false } as const;
  for (const [retry, result, worth] of [
    [on('5xx'), status(500), true],
    [on('5xx'), status(499), false],
    [on('5xx'), { type: 'timeout' }, true],
    [on('gateway-error'), status(503), true],
    [on('gateway-error'), status(500), false],
    [on('retriable-4xx'), status(409), true],
    [on('retriable-4xx'), status(404), false],
    [{ ...on(), codes: [418] }, status(418), true],
    [on('unavailable'), status(200, '14'), true],
    [on('unavailable'), status(200, '13'), false],
    [on('cancelled'), status(200, '1'), true],
    [on('connect-failure'), { type: 'connect' }, true],
    [on('connect-failure'), seen, false],
    [on('reset'), seen, true],
    [on('refused-stream'), unseen, true],
    [on('refused-stream'), seen, false],
    [on('timeout'), { type: 'timeout' }, true],
    [on('connect-failure'), { type: 'timeout' }, false],
    [defaultRetry, unseen, true],
    [defaultRetry, seen, false],
  ] as const)
    t.equal(isWorthRetry(retry, result), worth, JSON.stringify([retry.on, result]));
});

t.test('pauses grow, are never below what the rule says, and are bounded', async t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (tried, random) => {
        const pause = backoffMs({ ...defaultRetry, backoffMs: 100 }, tried, random);
        return pause >= 100 && pause <= 1_000;
      },
    ),
  );
  t.equal(backoffMs(defaultRetry, 1, 0.5), 0);
  t.equal(backoffMs({ ...defaultRetry, backoffMs: 100 }, 3, 0.5), 300);
});
