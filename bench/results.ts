/** What a run of the benchmark leaves behind: its rows and curves, and what they were measured on. A JSON file, a row a line. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { dirname } from 'node:path';
import { CulvertError } from '../base/errors.ts';
import { run } from '../test/lab/run.ts';
import type { Row } from './compare.ts';
import type { BenchOptions, CurveName, PathName } from './options.ts';
import { everyProcessor, processorCount } from './processors.ts';

/** What was measured, on what, how. */
export interface Origin {
  readonly version: string;
  /** With a `+` where the tree was not as committed; null outside a repository. */
  readonly commit: string | null;
  readonly date: string;
  readonly processor: string;
  readonly processors: number;
  readonly kernel: string;
  readonly node: string;
  readonly rounds: number;
  readonly seconds: number;
  /** How many CPUs clients, servers and agents shared. */
  readonly sharedCpus: number;
  readonly ipv6: boolean;
}

/** One measure at one place of an axis: bytes, connections, a percentile. */
export interface Point extends Pick<Row, 'direct' | 'culvert' | 'ratio' | 'spread'> {
  readonly at: number;
}

export interface Curve {
  readonly curve: CurveName;
  readonly path: PathName;
  readonly unit: string;
  readonly points: readonly Point[];
}

/** What became of each new connection while an agent was replaced or killed, in milliseconds after that. */
export interface Timeline {
  readonly event: 'replaced' | 'killed';
  readonly path: PathName;
  readonly answered: { readonly begunMs: readonly number[]; readonly tookMs: readonly number[] };
  readonly failed: { readonly begunMs: readonly number[]; readonly tookMs: readonly number[] };
}

export interface Results {
  readonly origin: Origin;
  readonly rows: readonly Row[];
  readonly curves: readonly Curve[];
  readonly timelines: readonly Timeline[];
}

/** More figures than anybody believes. */
const kept = 5;
const packageFile = new URL('../package.json', import.meta.url);

export async function originOf(options: BenchOptions): Promise<Origin> {
  const git = async (...args: string[]): Promise<string | null> => {
    const { code, stdout } = await run('git', args, { cwd: import.meta.dirname, check: false });
    return code === 0 ? stdout.trim() : null;
  };
  const commit = await git('rev-parse', '--short', 'HEAD');
  const changed = await git('status', '--porcelain', '--untracked-files=no', ':!/bench/*.json', ':!/docs');
  return {
    version: (JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }).version,
    commit: commit === null ? null : `${commit}${changed === '' ? '' : '+'}`,
    date: new Date().toISOString().slice(0, 10),
    processor: cpus()[0]?.model ?? process.arch,
    processors: processorCount,
    kernel: /^[\d.]+/.exec(release())?.[0] ?? release(),
    node: process.version,
    rounds: options.rounds,
    seconds: options.seconds,
    sharedCpus: options.cpus === everyProcessor ? processorCount : 1,
    ipv6: options.ipv6,
  };
}

/** JSON, with whatever holds nothing but values on one line. */
export function resultsText(results: Results): string {
  const rounded = (_: string, value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toPrecision(kept)) : value;
  const text = JSON.stringify(results, rounded, 2);
  const flat = text.replace(/[{[][^{}[\]]*[}\]]/g, inner => inner.replace(/\s*\n\s*/g, ' '));
  return `${flat}\n`;
}

export function writeResults(path: string, results: Results): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, resultsText(results));
}

/** Null where there is no such file. Throws BENCH_RESULTS for one that says something else. */
export function readResults(path: string): Results | null {
  if (!existsSync(path)) return null;
  try {
    const read = JSON.parse(readFileSync(path, 'utf8')) as Partial<Results>;
    const { origin, rows, curves, timelines } = read;
    if (origin !== undefined && rows !== undefined && curves !== undefined && timelines !== undefined)
      return { origin, rows, curves, timelines };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new CulvertError('BENCH_RESULTS', `${path} has no results of the benchmark`, {
    fix: 'write it anew with KEEP_AS_RELEASE=1 make bench, or name another with RELEASE',
  });
}
