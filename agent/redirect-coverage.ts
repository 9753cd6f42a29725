/**
 * Which processes the hooks reach. A hook sees a socket by the cgroup of the process that made it, so a pod whose processes
 * run outside the attach point, or in the agent's own cgroup, would be left out without a word: this finds them.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { resolved, startsWithPath } from './redirect-cgroup.ts';

export interface Uncovered {
  readonly pid: number;
  /** Name of the program. */
  readonly program: string;
  /** Path in the cgroup v2 hierarchy. */
  readonly cgroup: string;
  readonly why: 'outside the cgroup root' | "in the agent's cgroup";
}

interface Mount {
  /** Directory of the hierarchy that is mounted. */
  readonly root: string;
  readonly mountPoint: string;
}

/**
 * Returns the processes of a network namespace whose sockets the hooks at `cgroupRoot` do not capture. Needs to see them:
 * root in the machine's process namespace.
 */
export function uncoveredProcesses(
  netnsInode: bigint | number,
  cgroupRoot: string,
  agentCgroup: string,
): Uncovered[] {
  const root = hierarchyPath(cgroupRoot);
  const agent = hierarchyPath(agentCgroup);
  if (root === null || agent === null) return [];
  const found: Uncovered[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (readlinkSync(`/proc/${name}/ns/net`) !== `net:[${netnsInode}]`) continue;
      const cgroup = /^0::(.*)$/m.exec(readFileSync(`/proc/${name}/cgroup`, 'utf8'))?.[1] ?? '/';
      const why = !startsWithPath(cgroup, root)
        ? 'outside the cgroup root'
        : cgroup === agent
          ? "in the agent's cgroup"
          : null;
      if (why === null) continue;
      const program = readFileSync(`/proc/${name}/comm`, 'utf8').trim();
      found.push({ pid: Number(name), program, cgroup, why });
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

/** The path of a cgroup directory as /proc/PID/cgroup has it; null where no cgroup v2 is mounted above it. */
export function hierarchyPath(directory: string): string | null {
  const path = resolved(directory);
  const mount = cgroup2Mounts()
    .filter(({ mountPoint }) => startsWithPath(path, mountPoint))
    .reduce<Mount | null>(
      (best, next) => (best !== null && best.mountPoint.length >= next.mountPoint.length ? best : next),
      null,
    );
  if (mount === null) return null;
  const below = path.slice(mount.mountPoint === '/' ? 0 : mount.mountPoint.length);
  return `${mount.root === '/' ? '' : mount.root}${below}` || '/';
}

/** proc(5): root and mount point are the fourth and fifth field; after ' - ' comes the type. */
function cgroup2Mounts(): Mount[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap(line => {
      const [before = '', after = ''] = line.split(' - ');
      const [, , , root, mountPoint] = before.split(' ');
      return after.startsWith('cgroup2 ') && root !== undefined && mountPoint !== undefined
        ? [{ root, mountPoint }]
        : [];
    });
}
