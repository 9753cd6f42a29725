/**
 * Runs the test tiers with tap and ends with one line that a machine can read: `N passed, N failed[, N skipped]`.
 *
 *   node test/run.ts [TIER…]     default: all; tiers and what they need are in the table below
 *
 * A tier that cannot run here says why and counts as skipped. With CI=true a skip is a failure, unless the tier is
 * named in CULVERT_SKIP_TIERS: nothing is left out by accident.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { obstacle as clusterObstacle } from './lab/cluster/fitness.ts';
import { loadRecord } from './lab/record.ts';

interface Tier {
  readonly name: string;
  readonly folders: readonly string[];
  /** Test files side by side. */
  readonly jobs: number;
  /** Seconds for one file. */
  readonly timeout: number;
  /** Most of its files run in one cluster after the other, instead of each making one. */
  readonly cluster?: SharedCluster;
  /** Why it cannot run on this machine, or null. */
  readonly obstacle: () => string | null;
}

interface SharedCluster {
  /** Files that need none, or one of another kind: they come before it is up. */
  readonly apart: readonly string[];
  /** Files that leave too much behind for others. */
  readonly last: readonly string[];
}

interface Count {
  pass: number;
  fail: number;
  skip: number;
}

const needsRoot = (): string | null => {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root';
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 5 || (major === 5 && minor >= 15) ? null : `needs Linux 5.15, this is ${release()}`;
};

const tiers: readonly Tier[] = [
  {
    name: 'unit',
    folders: [
      'model',
      'base',
      'proto',
      'xds',
      'control',
      'crds',
      'daemonset',
      'tunnel',
      'agent',
      'waypoint',
      'cli',
      'bench',
    ],
    jobs: 2,
    timeout: 180,
    obstacle: () => null,
  },
  { name: 'direct', folders: ['direct'], jobs: 2, timeout: 180, obstacle: () => null },
  { name: 'netns', folders: ['native', 'netns'], jobs: 1, timeout: 300, obstacle: needsRoot },
  {
    name: 'kernels',
    folders: ['kernels'],
    jobs: 1,
    timeout: 900,
    obstacle: () => (process.arch === 'x64' ? needsRoot() : 'its kernels are for x86-64'),
  },
  {
    name: 'kube',
    folders: ['kube'],
    jobs: 1,
    // The first one builds Kubernetes.
    timeout: 1800,
    cluster: {
      apart: ['chart.ts', 'dual-stack.ts', 'lab-parts.ts'],
      last: ['conformance.ts', 'uninstall.ts'],
    },
    obstacle: () => needsRoot() ?? clusterObstacle(),
  },
];

const here = import.meta.dirname;

function testFiles(tier: Tier): string[] {
  return tier.folders.flatMap(folder => filesBelow(join(here, folder))).sort();
}

function filesBelow(folder: string): string[] {
  try {
    return (
      readdirSync(folder, { withFileTypes: true, recursive: true })
        .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
        .map(entry => join(entry.parentPath, entry.name))
        // Children that tests start live beside them.
        .filter(path => readFileSync(path, 'utf8').includes("from 'tap'"))
    );
  } catch {
    return [];
  }
}

/** tap writes its totals as a comment: `# { total: 4, pass: 2, fail: 1, skip: 1 }`. */
function totals(output: string): Count {
  const lines = output.split('\n').filter(line => line.startsWith('# {'));
  const last = lines.at(-1) ?? '';
  const number = (key: string): number => Number(new RegExp(`\\b${key}: (\\d+)`).exec(last)?.[1] ?? 0);
  return { pass: number('pass'), fail: number('fail'), skip: number('skip') + number('todo') };
}

/** One line for each file, and of what failed all that tap says about it. */
class Summary {
  readonly #shown = new Set<string>();
  #failure = 0;
  #last = '';

  line(line: string): void {
    const file = /^(not ok|ok) \d+ - (\S+)(?: # time=([\d.]+)ms)?/.exec(line);
    if (file !== null) {
      if (this.#shown.has(line)) return;
      this.#shown.add(line);
      const [, verdict = '', name = '', ms = '0'] = file;
      process.stdout.write(
        `${verdict === 'ok' ? '  ok    ' : '  FAILED'} ${name} ${(Number(ms) / 1000).toFixed(1)} s\n`,
      );
      this.#failure = 0;
      return;
    }
    // tap repeats what is nested.
    if (line === this.#last) return;
    this.#last = line;
    if (/^\s+not ok /.test(line)) this.#failure = linesOfFailure;
    if (this.#failure === 0) return;
    this.#failure -= 1;
    process.stdout.write(`${line}\n`);
  }
}

/** Lines shown after a failed assertion. */
const linesOfFailure = 25;

async function run(tier: Tier): Promise<Count> {
  const files = testFiles(tier);
  const { cluster } = tier;
  if (cluster === undefined) return runFiles(tier, files);
  const named = (names: readonly string[]): string[] => files.filter(file => names.includes(basename(file)));
  const others = files.filter(file => ![...cluster.apart, ...cluster.last].includes(basename(file)));
  const first = await runFiles(tier, named(cluster.apart));
  // One that was kept by somebody is used, and left to them.
  const isOurs = loadRecord(clusterName())?.owner !== null;
  // Where it does not come up, each file makes its own and says why it can not.
  if (isOurs) await lab(['up', '--cgroups=unified', '--product']);
  const second = await runFiles(tier, others);
  const third = await runFiles(tier, named(cluster.last));
  if (isOurs) await lab(['down']);
  return add(first, second, third);
}

function clusterName(): string {
  return process.env['CULVERT_KUBE_CLUSTER'] || 'kube';
}

/** What people call to have a cluster, with its output among ours. */
async function lab(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [join(here, 'lab/cluster/main.ts'), ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  await new Promise<void>(resolve => child.once('close', () => resolve()));
}

function add(...counts: readonly Count[]): Count {
  const of = (key: keyof Count): number => counts.reduce((all, count) => all + count[key], 0);
  return { pass: of('pass'), fail: of('fail'), skip: of('skip') };
}

async function runFiles(tier: Tier, files: readonly string[]): Promise<Count> {
  if (files.length === 0) return { pass: 0, fail: 0, skip: 0 };
  const work = mkdtempSync(join(tmpdir(), 'culvert-test-'));
  const report = join(work, 'report.tap');
  const args = [
    'run',
    '--disable-coverage',
    '--allow-empty-coverage',
    '--reporter=tap',
    `--output-file=${report}`,
  ];
  args.push(`--jobs=${tier.jobs}`, `--timeout=${tier.timeout}`, ...files);
  const child = spawn(join(here, '../node_modules/.bin/tap'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const show = new Summary();
  createInterface({ input: child.stdout }).on('line', line => show.line(line));
  const code = await new Promise<number>(resolve => child.once('close', status => resolve(status ?? 1)));
  const count = totals(readFileSync(report, 'utf8'));
  rmSync(work, { recursive: true });
  if (code !== 0 && count.fail === 0) count.fail += 1;
  if (count.pass + count.fail === 0) count.fail += 1;
  return count;
}

const asked = process.argv.slice(2);
const unknown = asked.filter(name => !tiers.some(tier => tier.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `unknown tier ${unknown.join(', ')}; there are ${tiers.map(tier => tier.name).join(', ')}\n`,
  );
  process.exit(64);
}
const allowed = new Set((process.env['CULVERT_SKIP_TIERS'] ?? '').split(',').filter(name => name !== ''));
const sum: Count = { pass: 0, fail: 0, skip: 0 };
for (const tier of tiers) {
  if (asked.length > 0 && !asked.includes(tier.name)) continue;
  const obstacle = allowed.has(tier.name) ? 'left out by CULVERT_SKIP_TIERS' : tier.obstacle();
  if (obstacle !== null) {
    const unexpected = process.env['CI'] === 'true' && !allowed.has(tier.name);
    process.stdout.write(`\n== ${tier.name}: ${unexpected ? 'FAILED' : 'skipped'}, ${obstacle}\n`);
    if (unexpected) sum.fail += 1;
    else sum.skip += 1;
    continue;
  }
  process.stdout.write(`\n== ${tier.name}\n`);
  const started = Date.now();
  const count = await run(tier);
  process.stdout.write(
    `== ${tier.name}: ${count.pass} passed, ${count.fail} failed in ${Math.round((Date.now() - started) / 1000)} s\n`,
  );
  sum.pass += count.pass;
  sum.fail += count.fail;
  sum.skip += count.skip;
}
process.stdout.write(
  `\n${sum.pass} passed, ${sum.fail} failed${sum.skip > 0 ? `, ${sum.skip} skipped` : ''}\n`,
);
process.exit(sum.fail > 0 ? 1 : 0);
