/**
 * `make conformance`: the conformance suite of Gateway API with all its tests of meshes, twelve right answers in a row each,
 * several times one after the other, and the report of the last run where every run was without a fault.
 *
 *   node test/kube/conform.ts [--runs N] [--report FILE] [--control]
 *
 * With --control there is no mesh in the cluster: what passes then is worth nothing as a proof.
 */
import { parseArgs } from 'node:util';
import { versionString } from '../../base/version.ts';
import { Cluster } from '../lab/cluster/cluster.ts';
import { Conformance } from './conformance-mesh.ts';
import { type SuiteOptions, installGatewayApi, meshTests, runSuite, suiteImage } from './gateway-suite.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    report: { type: 'string' },
    control: { type: 'boolean', default: false },
  },
});
const suite: SuiteOptions = { consecutive: 12, patienceSeconds: values.control ? 4 : 15 };
const say = (line: string): void => void process.stdout.write(`${line}\n`);
process.exitCode = (values.control ? await control() : await conform()) ? 0 : 1;

async function conform(): Promise<boolean> {
  const conformance = await Conformance.up();
  try {
    const runs = Number(values.runs);
    let good = 0;
    for (let run = 1; run <= runs; run += 1) {
      const from = performance.now();
      const isLast = run === runs && good === runs - 1;
      const { report: file } = values;
      const report = isLast && file !== undefined ? { report: file, version: versionString() } : {};
      const { passed, failed } = await conformance.run({ ...suite, ...report });
      if (failed.length === 0 && passed.length === meshTests.length) good += 1;
      const seconds = ((performance.now() - from) / 1_000).toFixed(0);
      say(`run ${run}: ${passed.length} of ${meshTests.length} in ${seconds} s ${failed.join(' ')}`);
    }
    say(`${good} of ${runs} runs without a fault`);
    return good === runs;
  } finally {
    await conformance.mesh.cluster.dispose();
  }
}

async function control(): Promise<boolean> {
  const archives = suiteImage().then(archive => [archive]);
  await using cluster = await Cluster.up({ cgroups: 'unified', archives });
  await installGatewayApi(cluster.kubectl);
  const { passed } = await runSuite(cluster.kubectl, suite);
  say(`without a mesh: ${passed.join(' ')}`);
  return true;
}
