/**
 * `culvert detach`: removes what a stopped agent left in the kernel, so that its pods are as they were before the mesh.
 * Refuses while that agent runs: it would capture its pods again.
 */
import { join, resolve } from 'node:path';
import { Pins } from '../agent/redirect-pins.ts';
import { lock } from '../base/lock.ts';
import { requireMachine } from './machine.ts';

export function detach(options: {
  readonly node: string;
  readonly bpffs: string;
  readonly stateDir?: string;
}): void {
  requireMachine();
  const unlock = lock(join(resolve(options.stateDir ?? `/run/culvert/${options.node}`), 'agent.lock'));
  try {
    new Pins(resolve(options.bpffs), options.node).removeAll();
  } finally {
    unlock();
  }
  process.stdout.write(`the pods of ${options.node} are out of the mesh\n`);
}
