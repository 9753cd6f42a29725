/**
 * Control groups of a lab: one per pod, below one per node, below one per lab.
 *
 * BPF programs hang on the node's; killing the lab's takes every process with it, whatever it has forked. Both layouts
 * work: pure v2 (/sys/fs/cgroup) and hybrid, where v2 has no controllers and lies beside the old hierarchies.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../../base/errors.ts';
import { eventually } from './eventually.ts';

/** Where cgroup v2 is mounted. Throws LAB_NO_CGROUP2. */
export function cgroup2Mount(mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8')): string {
  // proc(5): the mount point is the fifth field; optional fields end at ' - ', then comes the type.
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const mountPoint = before.split(' ')[4];
    if (after.startsWith('cgroup2 ') && mountPoint !== undefined) return mountPoint;
  }
  throw new CulvertError('LAB_NO_CGROUP2', 'no cgroup v2 is mounted', {
    fix: 'mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified',
  });
}

/** Throws LAB_CGROUP where cgroups may not be made, as in most containers. */
export function makeCgroup(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const fix = 'in a container: run it with --privileged and --cgroupns=host';
    throw new CulvertError('LAB_CGROUP', `cannot make a cgroup: ${why}`, { fix, cause });
  }
}

/** Kills every process in a cgroup and below and waits until they are gone; nothing where there is none. */
export async function killCgroup(path: string): Promise<void> {
  await eventually(() => killed(path), { intervalMs: 2, what: `the end of all processes in ${path}` });
}

/** Kills what is in a cgroup and below, and removes it and those below. */
export async function removeCgroup(path: string): Promise<void> {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroup(join(path, entry.name));
  }
  await eventually(() => killed(path) && removed(path), { intervalMs: 2, what: `the removal of ${path}` });
}

/** Removes a directory of cgroup version 1 and those below, whose processes have been killed. */
export async function removeLegacyCgroup(path: string): Promise<void> {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeLegacyCgroup(join(path, entry.name));
  }
  // The last process may be on its way out.
  await eventually(() => removed(path), { intervalMs: 10, what: `the removal of ${path}` });
}

/**
 * Whether nothing lives in a cgroup any more. Each time that it is asked it kills again: a program that was just being
 * started may join after everything had been killed.
 */
function killed(path: string): boolean {
  if (!existsSync(path)) return true;
  if (!readFileSync(join(path, 'cgroup.events'), 'utf8').includes('populated 1')) return true;
  // One write reaches also what is being forked at this moment (kernel 5.14).
  writeFileSync(join(path, 'cgroup.kill'), '1');
  return false;
}

function removed(path: string): boolean {
  if (existsSync(path)) rmdirSync(path);
  return true;
}
