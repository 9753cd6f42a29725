/**
 * The agent's cgroup where it runs in a container: the one that the container has, by which the hooks know its sockets. It
 * stays in it, since its limits are there.
 *
 * With cgroup v2 alone, container runtimes give each container a cgroup namespace, in which its own cgroup is the root
 * and the paths of all others are relative to it. The agent compares paths of processes of the whole node, so it sees
 * cgroups as the node does.
 */
import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import * as native from '../native/native.ts';
import { startsWithPath } from './redirect-cgroup.ts';
import { hierarchyPath } from './redirect-coverage.ts';

/**
 * Joins the node's cgroup namespace. Once, on the main thread, before there are other threads that look at cgroups.
 * Needs the node's processes to be visible (hostPID). Throws CGROUP_UNAVAILABLE.
 *
 * @param nodeProcess PID of a process in that namespace: the node's first one
 */
export function seeCgroupsOfNode(nodeProcess = 1): void {
  const namespace = `/proc/${nodeProcess}/ns/cgroup`;
  try {
    if (readlinkSync(namespace) !== readlinkSync('/proc/self/ns/cgroup'))
      native.enterCgroupNamespace(namespace);
  } catch (cause) {
    throw new CulvertError(
      'CGROUP_UNAVAILABLE',
      `cannot see the node's cgroups: ${asCulvertError(cause, '').message}`,
      { fix: 'the pod needs hostPID, and its container CAP_SYS_ADMIN and CAP_SYS_PTRACE', cause },
    );
  }
}

/** Directory below `cgroupRoot` of the cgroup that this process is in. Throws CGROUP_UNAVAILABLE when it is not below. */
export function ownCgroup(cgroupRoot: string): string {
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  const root = hierarchyPath(cgroupRoot);
  if (root !== null && own !== root && startsWithPath(own, root)) {
    const path = join(cgroupRoot, root === '/' ? own : own.slice(root.length));
    if (existsSync(join(path, 'cgroup.procs'))) return path;
  }
  throw new CulvertError('CGROUP_UNAVAILABLE', `the agent's cgroup ${own} is not below ${cgroupRoot}`, {
    fix: 'give the whole hierarchy with --cgroup-root, as the node has it mounted',
  });
}

/**
 * Where memory is short the kernel kills all processes of a container, as kubelets ask for; from here on only the one that
 * has the memory, so that its keeper lives. Returns whether that holds. Where the kernel has no such switch, it always did.
 */
export function dieAlone(cgroup: string): boolean {
  const path = join(cgroup, 'memory.oom.group');
  try {
    if (existsSync(path)) writeFileSync(path, '0');
    return true;
  } catch {
    return false;
  }
}
