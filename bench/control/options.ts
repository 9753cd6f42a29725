/**
 * What `make bench-control` may be told by environment variables.
 */
import { CulvertError } from '../../base/errors.ts';

export interface ControlBenchOptions {
  readonly pods: number;
  readonly services: number;
  readonly nodes: number;
  readonly agents: number;
  readonly processes: number;
  readonly changesPerSecond: number;
  readonly seconds: number;
  /** Restarts of one of two replicas; 0 leaves that out. */
  readonly restarts: number;
  readonly nodeFlags: readonly string[];
  readonly output: string;
}

/** Names, defaults and meaning, as `BENCH_HELP=1` prints them. */
export const variables: Readonly<Record<string, { readonly default: string; readonly meaning: string }>> = {
  PODS: { default: '30000', meaning: 'pods of the cluster' },
  SERVICES: { default: '3000', meaning: 'Services they are in' },
  NODES: { default: '1000', meaning: 'nodes they are on' },
  AGENTS: { default: '1000', meaning: 'simulated agents, each of another node' },
  PROCESSES: { default: '2', meaning: 'processes these are in' },
  RATE: { default: '100', meaning: 'changes a second' },
  SECONDS: { default: '30', meaning: 'for so long' },
  RESTARTS: { default: '200', meaning: 'rolling restarts of two replicas, in a small cluster; 0 for none' },
  NODE_FLAGS: {
    default: '--max-semi-space-size=2',
    meaning: 'of the control plane; default as in the image',
  },
  OUTPUT: { default: 'bench/results-control.json', meaning: 'where the rows are written' },
};

/** Throws BENCH_OPTION for a value that means nothing. */
export function controlOptions(
  environment: Readonly<Record<string, string | undefined>>,
): ControlBenchOptions {
  const text = (name: string): string => environment[name] || (variables[name]?.default ?? '');
  const number = (name: string, least: number): number => {
    const value = Number(text(name));
    if (Number.isFinite(value) && value >= least) return value;
    throw new CulvertError('BENCH_OPTION', `${name}=${text(name)}: expected a number, at least ${least}`);
  };
  const whole = (name: string, least: number): number => Math.trunc(number(name, least));
  const options: ControlBenchOptions = {
    pods: whole('PODS', 1),
    services: whole('SERVICES', 1),
    nodes: whole('NODES', 1),
    agents: whole('AGENTS', 1),
    processes: whole('PROCESSES', 1),
    changesPerSecond: number('RATE', 0.1),
    seconds: number('SECONDS', 0.1),
    restarts: whole('RESTARTS', 0),
    nodeFlags: text('NODE_FLAGS').split(' ').filter(Boolean),
    output: text('OUTPUT'),
  };
  if (options.agents > options.nodes)
    throw new CulvertError(
      'BENCH_OPTION',
      'AGENTS: each agent is on a node of its own, so not more than NODES',
    );
  if (options.services > options.pods)
    throw new CulvertError('BENCH_OPTION', 'SERVICES: each has a pod at least, so not more than PODS');
  return options;
}
