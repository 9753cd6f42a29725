/**
 * `culvert serves`: exits 0 when the agent of this container is the one that serves the node. For the startup probe of its
 * pod: while another agent still serves, that one answers at the ports of the node, and would answer for this one too.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { holderOf } from '../base/lock.ts';

export function serves(stateDir: string): void {
  const holder = holderOf(join(stateDir, 'agent.lock'));
  const same = holder !== null && cgroupOf(holder) === cgroupOf('self');
  process.stdout.write(same ? 'serves\n' : 'another agent serves, or none\n');
  if (!same) process.exitCode = 1;
}

/** What runs in one container has one cgroup. */
function cgroupOf(process: number | 'self'): string | null {
  try {
    return readFileSync(`/proc/${process}/cgroup`, 'utf8');
  } catch {
    return null;
  }
}
