/**
 * What `make bench` may be told by environment variables, so that a quick look and a whole run are the same program.
 */
import { CulvertError } from '../base/errors.ts';
import { everyProcessor, processorCount } from './processors.ts';

/**
 * What is compared with no mesh. `no-mesh` compares it with itself and so tells how much of a ratio is noise.
 * `cross-node` goes through two routers and a switch, as in a cluster; `cross-node-bridge` has pods of two nodes on one
 * bridge, the shortest wire between two agents, where the mesh's share of the whole is the largest. `same-node` is the
 * kernel path as it is by default, `same-node-service` the same by a Service's address, `same-node-join` with joined
 * sockets, and `same-node-agent` goes through the agent. `cross-node-join` has the legs between applications and agents
 * joined, `waypoint` is `cross-node` with a waypoint on the server's node. `…-all-cpus` shares every CPU, the others one.
 * `2-cpus` compares two CPUs and two shards with one of each, across nodes, with a mesh and without.
 */
export const pathNames = [
  'no-mesh',
  'same-node',
  'same-node-service',
  'same-node-join',
  'same-node-join-all-cpus',
  'same-node-agent',
  'cross-node',
  'cross-node-join',
  'cross-node-bridge',
  'waypoint',
  '2-cpus',
] as const;
export type PathName = (typeof pathNames)[number];

/** Those that docs/performance.md shows. */
const shownPaths: readonly PathName[] = [
  'no-mesh',
  'same-node',
  'same-node-service',
  'same-node-join',
  'cross-node',
  'cross-node-join',
  'waypoint',
  'same-node-join-all-cpus',
  '2-cpus',
];

export function sharesEveryCpu(path: PathName): boolean {
  return path.endsWith('-all-cpus');
}

export const measureNames = [
  'rtt',
  'stream',
  'streams',
  'connect',
  'http',
  'connects',
  'paced',
  'memory',
  'soak',
  'distribution',
  'payload',
  'connections',
  'restarts',
] as const;
export type MeasureName = (typeof measureNames)[number];

/** What is drawn along an axis. */
export type CurveName = 'distribution' | 'payload' | 'connections' | 'memory';

export interface BenchOptions {
  readonly paths: readonly PathName[];
  readonly measures: readonly MeasureName[];
  /** Pairs of runs per measure that count; one more goes before them and is thrown away. */
  readonly rounds: number;
  /** Of each run. */
  readonly seconds: number;
  /** For `memory`. */
  readonly idleConnections: number;
  /** For `soak`. */
  readonly shortConnections: number;
  /** The CPU, or CPUs, that clients, servers and agents share; as `taskset -c` takes them. */
  readonly cpus: string;
  readonly ipv6: boolean;
  /** Results as JSON. */
  readonly output: string;
  /** Results to show again instead of measuring; empty: measures. */
  readonly from: string;
  /** The results of the last release, to hold the new ones against. */
  readonly release: string;
  /** Whether these results are the last release's from now on. */
  readonly keepAsRelease: boolean;
  /** Directory of the plots. */
  readonly plots: string;
  /** Whether README and docs shall show this run. */
  readonly docs: boolean;
}

/** Names, defaults and meaning, as `BENCH_HELP=1` prints them. */
export const variables: Readonly<Record<string, { readonly default: string; readonly meaning: string }>> = {
  PATHS: {
    default: shownPaths.join(','),
    meaning: `what to compare with no mesh, any of ${pathNames.join(', ')}`,
  },
  MEASURES: {
    default: 'rtt,stream,streams,connect,http,paced,memory,distribution,payload,connections,restarts',
    meaning: `any of ${measureNames.join(', ')}`,
  },
  ROUNDS: { default: '3', meaning: 'pairs of runs per measure, besides the first, which does not count' },
  SECONDS: { default: '1', meaning: 'length of a run; wrk rounds it up' },
  CONNECTIONS: { default: '3000', meaning: 'idle connections for memory' },
  SOAK: { default: '1000000', meaning: 'short connections for soak' },
  CPU: {
    default: String(processorCount - 1),
    meaning: 'the CPU that everything measured shares; all: every one',
  },
  IPV6: { default: '0', meaning: '1: connect by IPv6' },
  OUTPUT: { default: 'bench/build/results.json', meaning: 'where the results are written' },
  FROM: { default: '', meaning: 'results to show once more; nothing is measured' },
  RELEASE: { default: 'bench/release.json', meaning: 'results of the last release, to hold these against' },
  KEEP_AS_RELEASE: { default: '0', meaning: '1: RELEASE is written anew with these results' },
  PLOTS: { default: 'bench/build/plots', meaning: 'directory that the plots are drawn into' },
  DOCS: { default: '0', meaning: '1: README and docs/ show these results from now on, plots too' },
};

/** Throws BENCH_OPTION for a value that means nothing. */
export function optionsFrom(environment: Readonly<Record<string, string | undefined>>): BenchOptions {
  const text = (name: string): string => environment[name] || (variables[name]?.default ?? '');
  const number = (name: string, least: number): number => {
    const value = Number(text(name));
    if (Number.isFinite(value) && value >= least) return value;
    throw new CulvertError('BENCH_OPTION', `${name}=${text(name)}: expected a number, at least ${least}`);
  };
  const list = <T extends string>(name: string, known: readonly T[]): T[] =>
    text(name)
      .split(',')
      .map(word => {
        const found = known.find(candidate => candidate === word.trim());
        if (found !== undefined) return found;
        throw new CulvertError('BENCH_OPTION', `${name}: "${word}" is none of ${known.join(', ')}`);
      });
  return {
    paths: list('PATHS', pathNames),
    measures: list('MEASURES', measureNames),
    rounds: Math.trunc(number('ROUNDS', 1)),
    seconds: number('SECONDS', 0.1),
    idleConnections: Math.trunc(number('CONNECTIONS', 100)),
    shortConnections: Math.trunc(number('SOAK', 1_000)),
    cpus: text('CPU') === 'all' ? everyProcessor : String(Math.trunc(number('CPU', 0))),
    ipv6: text('IPV6') === '1',
    output: text('OUTPUT'),
    from: text('FROM'),
    release: text('RELEASE'),
    keepAsRelease: text('KEEP_AS_RELEASE') === '1',
    plots: text('PLOTS'),
    docs: text('DOCS') === '1',
  };
}
