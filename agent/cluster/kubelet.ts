/**
 * Which process is this node's kubelet: found here by its executable, its name, its user and its network namespace, then
 * compared by the kernel at each connection (bpf/kubelet.h). Its probes are the only plain TCP that a STRICT workload takes.
 *
 * An address would not do: host processes, host-network pods and whoever may forge packets share the node's. A cgroup
 * alone would not do either, where the kubelet shares it with other daemons.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import * as native from '../../native/native.ts';
import type { KubeletProcess } from '../redirect-abi.ts';
import { hierarchyPath } from '../redirect-coverage.ts';
import { startsWithPath } from '../redirect-cgroup.ts';

export interface KubeletOptions {
  /** What the hooks are attached to: outside of it a kubelet is not seen. */
  readonly cgroupRoot: string;
  /** Name of the process and of its executable; `k3s-server` where that has the kubelet in it. */
  readonly name: string;
  /** Only a process of this cgroup directory; null: of any below `cgroupRoot`. */
  readonly cgroup: string | null;
}

export interface FoundKubelet {
  readonly process: KubeletProcess;
  /** As this process sees it. */
  readonly pid: number;
  /** Clock ticks after boot; with the PID it names a process for ever. */
  readonly startTime: number;
  readonly cgroup: string;
}

/**
 * The kubelet; null where none runs, or only outside the hooks' reach.
 *
 * @param netns of the node, as readlink(2) shows it; that of this process unless said
 */
export function findKubelet(
  options: KubeletOptions,
  netns = readlinkSync('/proc/self/ns/net'),
): FoundKubelet | null {
  const found = readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .flatMap(pid => candidate(Number(pid), netns, options) ?? []);
  // A child that has not become its own program yet looks the same, and is younger.
  return found.toSorted((a, b) => a.startTime - b.startTime)[0] ?? null;
}

/** Whether that process still runs. */
export function stillRuns({ pid, startTime }: FoundKubelet): boolean {
  try {
    return startTimeOf(pid) === startTime;
  } catch {
    return false;
  }
}

function candidate(pid: number, netns: string, options: KubeletOptions): FoundKubelet | null {
  const proc = `/proc/${pid}`;
  try {
    if (readFileSync(`${proc}/comm`, 'utf8').trimEnd() !== options.name.slice(0, 15)) return null;
    if (readlinkSync(`${proc}/ns/net`) !== netns || statSync(proc).uid !== 0) return null;
    // An executable that was replaced under a running process has a suffix.
    const executable = basename(readlinkSync(`${proc}/exe`).replace(/ \(deleted\)$/, ''));
    if (!isExecutableOf(options.name, executable)) return null;
    const cgroup = cgroupOf(pid, options.cgroupRoot);
    if (cgroup === null || (options.cgroup !== null && !sameFile(cgroup, options.cgroup))) return null;
    return { process: describe(pid, cgroup, options.name), pid, startTime: startTimeOf(pid), cgroup };
  } catch {
    // It ended while we looked.
    return null;
  }
}

/** `k3s-server` is what the executable `k3s` calls itself. */
function isExecutableOf(name: string, executable: string): boolean {
  return executable === name || name.startsWith(`${executable}-`);
}

function describe(pid: number, cgroup: string, name: string): KubeletProcess {
  const fd = native.openNetns(`/proc/${pid}/ns/net`);
  try {
    const namespace = statSync(`/proc/${pid}/ns/pid`, { bigint: true });
    return {
      netns: native.netnsCookie(fd),
      cgroup: native.cgroupId(cgroup),
      pid: ownPid(pid),
      pidNamespace: { device: namespace.dev, inode: namespace.ino },
      name,
    };
  } finally {
    native.close(fd);
  }
}

/** The PID of a process in its own PID namespace, the last of those in proc(5)'s NSpid. */
function ownPid(pid: number): number {
  const numbers = /^NSpid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]?.split(/\s+/);
  return Number(numbers?.at(-1) ?? pid);
}

/** The directory of a process's cgroup at or below `root`; null where it is elsewhere. */
function cgroupOf(pid: number, root: string): string | null {
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? '/';
  const above = hierarchyPath(root);
  if (above !== null && startsWithPath(path, above)) {
    const directory = join(root, path.slice(above === '/' ? 0 : above.length));
    if (holds(directory, pid)) return directory;
  }
  // From inside a cgroup namespace a path may have `..` where we cannot know the name.
  return search(root, pid);
}

function search(directory: string, pid: number): string | null {
  if (holds(directory, pid)) return directory;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const found = entry.isDirectory() ? search(join(directory, entry.name), pid) : null;
    if (found !== null) return found;
  }
  return null;
}

function holds(directory: string, pid: number): boolean {
  try {
    return readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').includes(String(pid));
  } catch {
    return false;
  }
}

function sameFile(a: string, b: string): boolean {
  const [x, y] = [statSync(a), statSync(b)];
  return x.ino === y.ino && x.dev === y.dev;
}

/** Field 22 of proc(5)'s stat; the second is a name in brackets that may contain anything. */
function startTimeOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A killed process that nobody has waited for is gone too.
  return fields[0] === 'Z' ? -1 : Number(fields[19]);
}
