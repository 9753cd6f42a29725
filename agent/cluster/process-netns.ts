/**
 * The network namespace of a process, for runtimes that name no file for it. PIDs are used again, so the process must be
 * of the sandbox that is meant, by its cgroup, and must not run in the node's own network.
 */
import { readFileSync, readlinkSync } from 'node:fs';

/** Path of the namespace; null where the process is gone, or is another one. */
export function processNetns(pid: number, sandboxId: string): string | null {
  const path = `/proc/${pid}/ns/net`;
  try {
    // In every layout the directory of a container's cgroup has its id in its name.
    if (!readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(sandboxId)) return null;
    return readlinkSync(path) === readlinkSync('/proc/self/ns/net') ? null : path;
  } catch {
    return null;
  }
}
