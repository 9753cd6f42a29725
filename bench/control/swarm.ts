/**
 * Simulated agents in some processes, seen from the one that measures.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CulvertError } from '../../base/errors.ts';
import type { Command, SwarmKnowledge, SwarmReport, SwarmTimes } from './swarm-process.ts';

export interface SwarmOptions {
  readonly agents: number;
  readonly processes: number;
}

const lookMs = 50;

export class Swarm implements AsyncDisposable {
  readonly #children: readonly ChildProcess[];
  readonly #agents: number;

  constructor({ agents, processes }: SwarmOptions) {
    this.#agents = agents;
    this.#children = Array.from({ length: Math.min(processes, agents) }, () =>
      spawn(process.execPath, [join(import.meta.dirname, 'swarm-process.ts')], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        serialization: 'advanced',
      }),
    );
  }

  /** Opens one agent for each node; returns before any is connected. */
  async open(ports: readonly number[], roots: string): Promise<void> {
    const { length } = this.#children;
    const edge = (at: number): number => Math.round((this.#agents * at) / length);
    await Promise.all(
      this.#children.map((child, at) =>
        ask(child, { do: 'open', ports, roots, first: edge(at), end: edge(at + 1) }),
      ),
    );
  }

  async restart(): Promise<void> {
    await Promise.all(this.#children.map(child => ask(child, { do: 'restart' })));
  }

  /** All processes together. */
  async report(): Promise<SwarmReport> {
    const reports = await Promise.all(this.#children.map(child => ask<SwarmReport>(child, { do: 'report' })));
    const sum = (read: (report: SwarmReport) => number): number =>
      reports.reduce((total, report) => total + read(report), 0);
    return {
      agents: this.#agents,
      current: sum(({ current }) => current),
      currentAt: Math.max(...reports.map(({ currentAt }) => currentAt)),
      responses: sum(({ responses }) => responses),
      bytes: sum(({ bytes }) => bytes),
    };
  }

  /** Name → when the last agent has accepted it, since `restart`. */
  async times(): Promise<ReadonlyMap<string, number>> {
    const all = await Promise.all(this.#children.map(child => ask<SwarmTimes>(child, { do: 'times' })));
    const times = new Map<string, number>();
    for (const [name, at] of all.flat()) times.set(name, Math.max(at, times.get(name) ?? 0));
    return times;
  }

  /** Waits until every agent is current, and says when the last one was. */
  async current(deadlineMs: number): Promise<number> {
    for (const end = Date.now() + deadlineMs; ; await delay(lookMs)) {
      const { current, currentAt } = await this.report();
      if (current === this.#agents && currentAt > 0) return currentAt;
      if (Date.now() > end)
        throw new CulvertError('BENCH_VOID', `${current} of ${this.#agents} agents know everything in time`);
    }
  }

  /** Waits until nothing comes any more, for as long as `quietMs`. */
  async quiet(quietMs: number, deadlineMs: number): Promise<void> {
    const end = Date.now() + deadlineMs;
    for (let before = -1; ;) {
      const { responses } = await this.report();
      if (responses === before) return;
      if (Date.now() > end) throw new CulvertError('BENCH_VOID', 'agents are told without end');
      before = responses;
      await delay(quietMs);
    }
  }

  /** What all agents know of the mesh: name → version. Throws BENCH_VOID when they don't know the same. */
  async knowledge(): Promise<ReadonlyMap<string, string>> {
    const all = await Promise.all(
      this.#children.map(child => ask<SwarmKnowledge>(child, { do: 'knowledge' })),
    );
    const sets = all.map(({ resources }) => new Map(resources));
    const [first = new Map<string, string>()] = sets;
    const isSame = (other: ReadonlyMap<string, string>): boolean =>
      other.size === first.size && [...first].every(([name, version]) => other.get(name) === version);
    const different = all.reduce((sum, each) => sum + each.different, 0);
    if (different > 0 || !sets.every(isSame))
      throw new CulvertError('BENCH_VOID', `${different || 'some'} agents know something else than others`);
    return first;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#children.map(async child => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGKILL');
        await once(child, 'close');
      }),
    );
  }
}

async function ask<T = null>(child: ChildProcess, command: Command): Promise<T> {
  const done = new AbortController();
  const { signal } = done;
  const ended = once(child, 'exit', { signal }).then(() => {
    throw new CulvertError('BENCH_RUN', 'a process of simulated agents has ended');
  });
  // Given up as soon as there is an answer.
  ended.catch(() => {});
  const answer = once(child, 'message', { signal });
  child.send(command);
  try {
    const [value] = (await Promise.race([answer, ended])) as [T];
    return value;
  } finally {
    done.abort();
  }
}
