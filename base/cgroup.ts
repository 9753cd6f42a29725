/**
 * Cgroup v2 as the agent needs it: where the hierarchy is mounted (alone or beside v1), and moving this process into a
 * cgroup of its own, by which the BPF programs recognise it.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from './errors.ts';

/** Mount point of cgroup v2 from /proc/self/mountinfo (proc(5)), or null. The first one wins. */
export function cgroup2MountPoint(
  mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): string | null {
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    if (before === undefined || after?.split(' ')[0] !== 'cgroup2') continue;
    const path = before.split(' ')[4];
    if (path !== undefined)
      return path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
  }
  return null;
}

/** Makes `root/name` if need be and moves this process, with all its threads, into it. Returns its path. */
export function enterCgroup(root: string, name: string): string {
  const path = join(root, name);
  if (!existsSync(join(root, 'cgroup.procs'))) {
    throw new CulvertError('CGROUP_UNAVAILABLE', `${root} is not in a cgroup v2 hierarchy`, {
      fix: 'give a directory below a cgroup v2 mount with --cgroup-root; culvert check shows where one is',
    });
  }
  try {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'cgroup.procs'), String(process.pid));
  } catch (cause) {
    throw new CulvertError(
      'CGROUP_UNAVAILABLE',
      `cannot move the agent into the cgroup ${path}: ${(cause as Error).message}`,
      {
        fix: 'run as root, and give a directory below a cgroup v2 mount with --cgroup-root',
        cause,
      },
    );
  }
  return path;
}

/** Goes back to the root of `mount` and removes the cgroup that `enterCgroup` made; leaves it when others are in it. */
export function leaveCgroup(path: string, mount: string): void {
  try {
    writeFileSync(join(mount, 'cgroup.procs'), String(process.pid));
    rmdirSync(path);
  } catch {
    // Somebody else is in there, or it is gone already.
  }
}
