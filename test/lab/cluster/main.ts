/**
 * A cluster for people:
 *
 *   node test/lab/cluster/main.ts up [--name kube] [--nodes 2] [--ipv6] [--cgroups hybrid|unified] [--product]
 *   node test/lab/cluster/main.ts shell [NODE]     kubectl is in the PATH; with a node: inside that node
 *   node test/lab/cluster/main.ts down
 *
 * Tests that are started by hand use the cluster that is up, and leave it up.
 */
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { CulvertError, describeError } from '../../../base/errors.ts';
import { exitCodeOf } from '../../../cli/exit.ts';
import { sweep } from '../sweep.ts';
import type { CgroupLayout } from './cgroups.ts';
import { Cluster, defaultName } from './cluster.ts';
import { buildProductImage } from './images.ts';

const usage =
  'usage: main.ts up|down|shell [NODE] [--name NAME] [--nodes N] [--ipv6] [--cgroups hybrid|unified] [--product]';

const { values, positionals } = parseArgs({
  options: {
    name: { type: 'string', default: defaultName() },
    nodes: { type: 'string', default: '2' },
    ipv6: { type: 'boolean', default: false },
    cgroups: { type: 'string' },
    // Loads the product's image, of this checkout as it is now.
    product: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

try {
  const [verb, node] = positionals;
  if (verb === 'up') await up();
  else if (verb === 'down') await down();
  else if (verb === 'shell') await shell(node ?? null);
  else throw new CulvertError('BAD_USAGE', usage);
} catch (error) {
  process.stderr.write(`${describeError(error)}\n`);
  process.exitCode = exitCodeOf(error);
}

async function up(): Promise<void> {
  const { name, ipv6, cgroups } = values;
  const started = performance.now();
  const progress = (line: string): void => {
    const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(6);
    process.stdout.write(`${seconds} s  ${line}\n`);
  };
  if (cgroups !== undefined && !isLayout(cgroups)) throw new CulvertError('BAD_USAGE', usage);
  const chosen = cgroups === undefined ? {} : { cgroups };
  const archives = values.product ? buildProductImage().then(archive => [archive]) : Promise.resolve([]);
  const cluster = await Cluster.up({
    name,
    nodes: Number(values.nodes),
    ipv6,
    ...chosen,
    archives,
    progress,
  });
  cluster.keep();
  progress('up');
  process.stdout.write(`\nexport KUBECONFIG=${cluster.kubectl.kubeconfig}\n`);
  process.exit(0);
}

async function down(): Promise<void> {
  await sweep(values.name);
}

async function shell(node: string | null): Promise<void> {
  const cluster = await Cluster.kept(values.name);
  if (cluster === null)
    throw new CulvertError('LAB_NO_CLUSTER', `no cluster ${values.name} is up`, { fix: 'main.ts up' });
  const [file = 'sh', ...args] =
    node === null ? [process.env['SHELL'] ?? 'sh'] : cluster.node(node).enterCommand;
  const path = `${dirname(cluster.kubectl.program)}:${process.env['PATH'] ?? ''}`;
  const env = { ...process.env, PATH: path, KUBECONFIG: cluster.kubectl.kubeconfig };
  process.exitCode = spawnSync(file, args, { stdio: 'inherit', env }).status ?? 1;
}

function isLayout(text: string): text is CgroupLayout {
  return text === 'hybrid' || text === 'unified';
}
