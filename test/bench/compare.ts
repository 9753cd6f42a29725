/** From runs to ratios, and the small things that print them. */
import t from 'tap';
import { compare, directFirst, quantile } from '../../bench/compare.ts';
import { requestsPerSecond } from '../../bench/measures.ts';
import { measureNames, optionsFrom, pathNames } from '../../bench/options.ts';
import { figures, table } from '../../bench/table.ts';

t.test('a ratio is the median of the ratios of neighbours', async t => {
  // The machine was half as fast in the third round; the median of the runs alone would say 3×.
  const samples = [
    { direct: 10, culvert: 20 },
    { direct: 15, culvert: 30 },
    { direct: 20, culvert: 40 },
    { direct: 5, culvert: 40 },
  ];
  const { ratio, direct, culvert } = compare(samples);
  t.equal(ratio, 2);
  t.equal(direct, 12.5);
  t.equal(culvert, 35);
});

t.test('spread is the distance of the quartiles relative to the median', async t => {
  const samples = [1, 2, 3, 4, 5].map(culvert => ({ direct: 1, culvert }));
  t.equal(compare(samples).spread, (4 - 2) / 3);
  t.equal(compare([{ direct: 2, culvert: 3 }]).spread, 0);
});

t.test('a quantile lies between the two nearest values', async t => {
  t.equal(quantile([4, 1], 0.5), 2.5);
  t.equal(quantile([3, 1, 2], 1), 3);
  t.equal(quantile([7], 0.25), 7);
  t.ok(Number.isNaN(quantile([], 0.5)));
});

t.test('neither system is always the first', async t => {
  t.same([0, 1, 2, 3].map(directFirst), [true, false, true, false]);
});

t.test('columns line up', async t => {
  const columns = [
    { title: 'name', align: 'left' },
    { title: 'n', align: 'right' },
  ] as const;
  t.equal(
    table(columns, [
      ['a', '1'],
      ['longer', '23'],
    ]),
    'name     n\n──────  ──\na        1\nlonger  23',
  );
});

t.test('numbers are printed with three figures', async t => {
  t.same([0.012345, 4.5678, 78.91, 123.4, 12_345, 1_234_567, null].map(figures), [
    '0.0123',
    '4.57',
    '78.9',
    '123',
    '12 300',
    '1 230 000',
    '–',
  ]);
});

t.test('wrk with failed requests is no measurement', async t => {
  const good = '  1000 requests in 1.00s, 1.00MB read\nRequests/sec:  12345.67\nTransfer/sec:      1.00MB\n';
  t.equal(requestsPerSecond(good), 12345.67);
  const socket = '  Socket errors: connect 0, read 3, write 0, timeout 0\n';
  t.throws(() => requestsPerSecond(socket + good), { code: 'BENCH_RUN', message: /read 3/ });
  t.throws(() => requestsPerSecond(`  Non-2xx or 3xx responses: 7\n${good}`), { code: 'BENCH_RUN' });
  t.throws(() => requestsPerSecond('unable to connect'), { code: 'BENCH_RUN', message: /unable to connect/ });
});

t.test('options come from the environment and unknown ones are refused', async t => {
  t.match(optionsFrom({}), { rounds: 3, seconds: 1, idleConnections: 3_000, ipv6: false, docs: false });
  t.notOk(optionsFrom({}).measures.includes('soak'), 'a million connections only on demand');
  t.match(
    optionsFrom({
      PATHS: 'no-mesh, same-node',
      DOCS: '1',
      MEASURES: measureNames.join(','),
      SECONDS: '0.2',
      ROUNDS: '',
    }),
    {
      paths: ['no-mesh', 'same-node'],
      docs: true,
      measures: measureNames,
      seconds: 0.2,
      rounds: 3,
    },
  );
  t.match(optionsFrom({ PATHS: pathNames.join(',') }), { paths: pathNames });
  t.throws(() => optionsFrom({ PATHS: 'nowhere' }), { code: 'BENCH_OPTION', message: /nowhere/ });
  t.throws(() => optionsFrom({ ROUNDS: '0' }), { code: 'BENCH_OPTION', message: /ROUNDS/ });
  t.throws(() => optionsFrom({ SECONDS: 'long' }), { code: 'BENCH_OPTION', message: /SECONDS/ });
});
