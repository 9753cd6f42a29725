/** Runs of both systems by turns, and the proof that those of the mesh went through it. */
import type { AgentProcess } from '../test/lab/agent-process.ts';
import { directFirst } from './compare.ts';
import type { Path } from './paths.ts';
import type { Pair } from './stage.ts';
import { countOf, witness } from './witness.ts';

/** A result, and how many connections it took: what the agents' metrics must have counted. */
export interface Taken<T = number> {
  readonly value: T;
  readonly connections: number;
}

export interface Pairs<T> {
  readonly samples: readonly { readonly direct: T; readonly culvert: T }[];
  /** Of the mesh's runs. */
  readonly connections: number;
}

/** Pairs of runs in the order A B, B A, A B… */
export async function pairs<T>(
  path: Path,
  rounds: number,
  take: (pair: Pair) => Promise<Taken<T>>,
): Promise<Pairs<T>> {
  const samples: { direct: T; culvert: T }[] = [];
  let connections = 0;
  const direct = async (): Promise<T> => (await take(path.direct)).value;
  const culvert = async (): Promise<T> => {
    const taken = await take(path.culvert);
    connections += taken.connections;
    return taken.value;
  };
  for (let round = 0; round < rounds; round += 1) {
    if (directFirst(round)) {
      const first = await direct();
      samples.push({ direct: first, culvert: await culvert() });
    } else {
      const first = await culvert();
      samples.push({ direct: await direct(), culvert: first });
    }
  }
  return { samples, connections };
}

/** Does it, and throws BENCH_VOID unless the agent has carried that many connections the way that the path is about. */
export async function witnessed<T extends { readonly connections: number }>(
  path: Path,
  agent: AgentProcess | null,
  work: () => Promise<T>,
): Promise<T> {
  if (agent === null) return work();
  const before = await countOf(agent);
  const done = await work();
  await witness(agent, before, path.carriage, done.connections);
  return done;
}
