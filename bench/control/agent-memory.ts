/**
 * What one agent holds that knows a large mesh, or what it asks for of it; seen from the process that measures.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CulvertError } from '../../base/errors.ts';
import type { AgentMemory, AgentMemoryOptions } from './agent-memory-process.ts';

/** As the launcher starts agents. */
const nodeFlags = ['--max-semi-space-size=2'];

export async function agentMemory(options: Omit<AgentMemoryOptions, 'directory'>): Promise<AgentMemory> {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-bench-agent-'));
  const child = fork(join(import.meta.dirname, 'agent-memory-process.ts'), { execArgv: nodeFlags });
  try {
    const answer = once(child, 'message');
    const ended = once(child, 'exit').then(([code]) => {
      throw new CulvertError('BENCH_RUN', `the agent whose memory is measured has ended (${code})`);
    });
    ended.catch(() => {});
    child.send({ ...options, directory } satisfies AgentMemoryOptions);
    const [memory] = (await Promise.race([answer, ended])) as [AgentMemory];
    return memory;
  } finally {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
}
