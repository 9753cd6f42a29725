/**
 * `culvert detach`: removes what a stopped agent left in the kernel, so that its pods are as they were before the mesh.
 * Refuses while that agent runs: it would capture its pods again.
 */
import { mkdirSync, readdirSync, rmSync, rmdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { enrolledNamespacesFile } from '../agent/cluster/enrolled-namespaces.ts';
import { uninstallCni } from '../agent/cluster/cni-install.ts';
import { handoverSocket, takePrefix } from '../agent/handover/predecessor.ts';
import { Pins } from '../agent/redirect-pins.ts';
import { lock } from '../base/lock.ts';
import { requireMachine } from './machine.ts';

export function detach(options: {
  readonly node: string;
  readonly bpffs: string;
  readonly stateDir?: string;
  readonly cniBinDir?: string;
  readonly cniConfDir?: string;
}): void {
  requireMachine();
  const stateDir = resolve(options.stateDir ?? `/run/culvert/${options.node}`);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const unlock = lock(join(stateDir, 'agent.lock'));
  try {
    const { cniBinDir, cniConfDir } = options;
    // First of all: new pods must not wait for an agent that does not come back.
    if (cniBinDir !== undefined && cniConfDir !== undefined) {
      uninstallCni({ binDir: resolve(cniBinDir), confDir: resolve(cniConfDir) });
      for (const path of [
        join(dirname(stateDir), 'cni.sock'),
        join(resolve(cniConfDir), enrolledNamespacesFile),
      ])
        rmSync(path, { force: true });
    }
    new Pins(resolve(options.bpffs), options.node).removeAll();
    // Of an agent that did not end by itself.
    for (const name of readdirSync(stateDir))
      if (name === handoverSocket || name.startsWith(takePrefix))
        rmSync(join(stateDir, name), { force: true });
  } finally {
    unlock();
  }
  removeEmpty(stateDir);
  removeEmpty(dirname(stateDir));
  process.stdout.write(`the pods of ${options.node} are out of the mesh\n`);
}

/** What other programs have put there is theirs. */
function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Not empty, or not there.
  }
}
