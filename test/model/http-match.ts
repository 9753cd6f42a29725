/** Which rule a request hits. */
import * as fc from 'fast-check';
import t from 'tap';
import { chooseBackend, RouteTable } from '../../model/http-match.ts';
import { headerOf, hostOf } from '../../model/http-head.ts';
import type { HttpMatch } from '../../model/http-route.ts';
import { exact, head, match, prefix, route, rule } from './http-help.ts';

/** The name of the rule that is hit. */
function hit(matches: Readonly<Record<string, HttpMatch>>, request: ReturnType<typeof head>): string | null {
  const table = new RouteTable([
    route(
      'r',
      Object.entries(matches).map(([name, one]) => rule([one], { name })),
    ),
  ]);
  return table.find(request)?.rule.name ?? null;
}

t.test('paths', async t => {
  const cases: readonly [HttpMatch, string, boolean][] = [
    [prefix('/abc'), '/abc', true],
    [prefix('/abc'), '/abc/', true],
    [prefix('/abc'), '/abc/d', true],
    [prefix('/abc'), '/abcd', false],
    [prefix('/abc'), '/x/abc', false],
    [prefix(''), '/', true],
    [prefix(''), '/x', true],
    [exact('/abc'), '/abc', true],
    [exact('/abc'), '/abc/', false],
    [exact('/abc'), '/ABC', false],
    [match({ path: { type: 'regex', value: '/v[0-9]+|/w' } }), '/v12', true],
    [match({ path: { type: 'regex', value: '/v[0-9]+|/w' } }), '/v12/x', false],
    [match({ path: { type: 'regex', value: '/v[0-9]+|/w' } }), '/x/w', false],
  ];
  for (const [one, path, fits] of cases)
    t.equal(hit({ one }, head(path)), fits ? 'one' : null, `${JSON.stringify(one.path)} and ${path}`);
});

t.test('headers, parameters and methods', async t => {
  const header = match({ headers: [{ name: 'version', type: 'exact', value: 'two' }] });
  t.equal(hit({ header }, head('/', { headers: ['Version', 'two'] })), 'header', 'a name in any case');
  t.equal(hit({ header }, head('/', { headers: ['version', 'TWO'] })), null, 'a value as it is');
  t.equal(
    hit({ header }, head('/', { headers: ['version', 'two', 'version', 'three'] })),
    null,
    'all values count',
  );
  const joined = match({ headers: [{ name: 'a', type: 'regex', value: 'x, y' }] });
  t.equal(hit({ joined }, head('/', { headers: ['A', 'x', 'b', '-', 'a', 'y'] })), 'joined');
  const query = match({ query: [{ name: 'animal', type: 'exact', value: 'a b' }] });
  t.equal(hit({ query }, head('/?animal=a%20b&animal=other')), 'query', 'the first, decoded');
  t.equal(hit({ query }, head('/?x=1')), null);
  t.equal(hit({ query }, head('/')), null);
  const both = match({ method: 'POST', path: { type: 'prefix', value: '/a' } });
  t.equal(hit({ both }, head('/a')), null, 'all conditions of a match');
  t.equal(hit({ both }, head('/a', { method: 'POST' })), 'both');
});

t.test('the more specific match is in force, whatever the order', async t => {
  const matches = {
    regex: match({ path: { type: 'regex', value: '/.*' } }),
    root: prefix(''),
    shorter: prefix('/a'),
    longer: prefix('/a/b'),
    exact: exact('/a/b'),
    method: match({ path: { type: 'prefix', value: '/a' }, method: 'PUT' }),
    header: match({ headers: [{ name: 'v', type: 'exact', value: '1' }] }),
    query: match({ query: [{ name: 'q', type: 'exact', value: '1' }] }),
  };
  const reversed = Object.fromEntries(Object.entries(matches).toReversed());
  for (const all of [matches, reversed]) {
    t.equal(hit(all, head('/a/b')), 'exact');
    t.equal(hit(all, head('/a/b/c')), 'longer');
    t.equal(hit(all, head('/a/x')), 'shorter');
    t.equal(hit(all, head('/a/x', { method: 'PUT' })), 'method');
    t.equal(hit(all, head('/x', { headers: ['v', '1'] })), 'header');
    t.equal(hit(all, head('/x?q=1', { headers: ['v', '1'] })), 'header', 'headers before parameters');
    t.equal(hit(all, head('/x?q=1')), 'query');
    t.equal(hit(all, head('/x')), 'root', 'regular expressions come last');
  }
});

t.test('ties: the older route, the name, the order', async t => {
  const tables = (first: number, second: number) =>
    new RouteTable([
      route('b', [rule([prefix('/')])], { createdAt: first }),
      route('a', [rule([prefix('/')], { name: 'one' }), rule([prefix('/')], { name: 'two' })], {
        createdAt: second,
      }),
    ]).find(head('/'));
  t.equal(tables(1, 2)?.route.name, 'b');
  t.equal(tables(2, 1)?.route.name, 'a');
  t.equal(tables(1, 1)?.route.name, 'a');
  t.equal(tables(1, 1)?.rule.name, 'one');
});

t.test('explains itself', async t => {
  const table = new RouteTable([
    route('canary', [
      rule([match({ headers: [{ name: 'x-canary', type: 'exact', value: 'yes' }] })], { name: 'beta' }),
      rule([prefix('/v2')]),
      rule([prefix('')]),
    ]),
  ]);
  t.same(table.explain(head('/v3')), {
    hit: table.find(head('/v3')),
    steps: [
      { rule: 'HTTPRoute shop/canary rule 2', hit: false, reason: 'path /v3 is not below /v2' },
      { rule: 'HTTPRoute shop/canary rule 1 (beta)', hit: false, reason: 'header x-canary is absent' },
      { rule: 'HTTPRoute shop/canary rule 3', hit: true, reason: 'matches path below /' },
    ],
  });
});

t.test('what explains and what decides are the same', async () => {
  const value = fc.constantFrom('', 'a', 'b', 'ab');
  const path = fc
    .array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 3 })
    .map(parts => `/${parts.join('/')}`);
  const anyMatch = fc
    .record({
      path: fc.record({
        type: fc.constantFrom('exact' as const, 'prefix' as const, 'regex' as const),
        value: path.map(text => (text === '/' ? '' : text)),
      }),
      method: fc.constantFrom(null, 'GET', 'POST'),
      headers: fc.array(
        fc.record({ name: value, type: fc.constantFrom('exact' as const, 'regex' as const), value }),
        {
          maxLength: 2,
        },
      ),
      query: fc.array(
        fc.record({ name: value, type: fc.constantFrom('exact' as const, 'regex' as const), value }),
        {
          maxLength: 2,
        },
      ),
    })
    .map(match);
  const request = fc
    .tuple(path, fc.constantFrom('GET', 'POST'), fc.array(value, { minLength: 4, maxLength: 4 }), value)
    .map(([at, method, headers, query]) => head(`${at}?a=${query}`, { method, headers }));
  fc.assert(
    fc.property(fc.array(anyMatch, { maxLength: 6 }), request, (matches, asked) => {
      const table = new RouteTable([
        route(
          'r',
          matches.map(one => rule([one])),
        ),
      ]);
      const { hit, steps } = table.explain(asked);
      const found = table.find(asked);
      return found === hit && steps.filter(step => step.hit).length === (found === null ? 0 : 1);
    }),
    { numRuns: 300 },
  );
});

t.test('weights', async t => {
  const backends = [{ weight: 0 }, { weight: 70 }, { weight: 30 }, { weight: 0 }];
  const counts = backends.map(() => 0);
  for (let n = 0; n < 1000; n += 1) {
    const chosen = chooseBackend(backends, n / 1000);
    if (chosen !== null) counts[backends.indexOf(chosen)] = (counts[backends.indexOf(chosen)] ?? 0) + 1;
  }
  t.same(counts, [0, 700, 300, 0]);
  t.equal(chooseBackend([{ weight: 0 }], 0), null, 'all weights zero');
  t.equal(chooseBackend([], 0.5), null);
  fc.assert(
    fc.property(
      fc.array(fc.nat(5)),
      fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
      (weights, random) => {
        const chosen = chooseBackend(
          weights.map(weight => ({ weight })),
          random,
        );
        return weights.some(weight => weight > 0) ? (chosen?.weight ?? 0) > 0 : chosen === null;
      },
    ),
  );
});

t.test('heads', async t => {
  t.equal(headerOf(['A', '1', 'b', '2', 'a', '3'], 'a'), '1, 3');
  t.equal(headerOf([], 'a'), null);
  t.equal(hostOf('web.shop:80'), 'web.shop');
  t.equal(hostOf('[::1]:80'), '[::1]');
  t.equal(hostOf('[::1]'), '[::1]');
});
