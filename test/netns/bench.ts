/** `make bench` from the lab to the table, the JSON and the plots, as short as it can be; and its figures shown once more. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readResults } from '../../bench/results.ts';
import { run } from '../lab/run.ts';

if (process.getuid?.() !== 0) {
  t.plan(0, 'network namespaces need root');
  process.exit();
}

const directory = t.testdir();
const files = {
  OUTPUT: join(directory, 'results.json'),
  RELEASE: join(directory, 'release.json'),
  PLOTS: join(directory, 'plots'),
};
const bench = async (env: Readonly<Record<string, string>>): Promise<string> => {
  const program = join(import.meta.dirname, '../../bench/run.ts');
  const { stdout } = await run(process.execPath, [program], {
    env: { ...files, ...env },
    timeoutMs: 120_000,
  });
  return stdout;
};

t.test('a short run has its rows and curves, and draws them', async t => {
  const measures = { PATHS: 'cross-node', MEASURES: 'rtt,distribution,payload', SECONDS: '0.5', ROUNDS: '1' };
  const said = await bench({ ...measures, KEEP_AS_RELEASE: '1' });
  t.match(said, /cross-node +round trip of 64 B, p50 .*×/);
  t.match(said, /No release was kept/);
  const results = readResults(files.OUTPUT);
  t.match(results, { rows: [{ path: 'cross-node', unit: 'µs' }], timelines: [] });
  t.same(results?.curves.map(({ curve }) => curve).toSorted(), ['distribution', 'payload']);
  for (const { points } of results?.curves ?? [])
    t.ok(points.every(({ direct, culvert }) => culvert > 0 && direct !== null && direct > 0));
  t.same(readdirSync(files.PLOTS).toSorted(), ['latency.svg', 'payload.svg']);
});

t.test('shown once more, they are what was kept', async t => {
  t.match(await bench({ FROM: files.OUTPUT }), /\+0\.0 %\n[^]*Nothing is worse than release/);
  await t.rejects(bench({ FROM: join(directory, 'none.json') }), /there is no such file/);
});
