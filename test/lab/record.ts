/**
 * What a lab has made, written down before it is made, so that a later process can take it down.
 *
 * One JSON file per lab in /run/culvert-lab. It names the owner too: a lab whose owner is alive belongs to it.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Owner {
  readonly pid: number;
  /** In clock ticks since boot; tells a process from a later one with the same id. */
  readonly startTime: string;
}

export interface LabRecord {
  readonly name: string;
  /** Null: kept on purpose after its maker ended, until it is swept by name. */
  owner: Owner | null;
  /** Logs, captures, agents' state. */
  readonly directory: string;
  readonly cgroup: string;
  /** Named network namespaces, each with a possible /etc/netns directory. */
  readonly namespaces: string[];
  /** BPF file systems; unmounting one lets go of everything pinned in it. */
  readonly mounts: string[];
  /** What only clusters have: directories of cgroup version 1, and interfaces in the machine's own namespace. */
  readonly legacyCgroups: string[];
  readonly interfaces: string[];
}

const recordsDirectory = '/run/culvert-lab';

export function saveRecord(record: LabRecord): void {
  mkdirSync(recordsDirectory, { recursive: true });
  const path = recordPath(record.name);
  writeFileSync(`${path}.new`, JSON.stringify(record, null, 2));
  renameSync(`${path}.new`, path);
}

export function loadRecord(name: string): LabRecord | null {
  try {
    return JSON.parse(readFileSync(recordPath(name), 'utf8')) as LabRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

export function forgetRecord(name: string): void {
  rmSync(recordPath(name), { force: true });
  try {
    rmdirSync(recordsDirectory);
  } catch {
    // Other labs are still written down there.
  }
}

/** Names of all labs that were not taken down. */
export function recordedLabs(): string[] {
  try {
    return readdirSync(recordsDirectory)
      .filter(file => file.endsWith('.json'))
      .map(file => file.slice(0, -'.json'.length));
  } catch {
    return [];
  }
}

export function thisProcess(): Owner {
  return identify(process.pid);
}

/** What tells this process from a later one with the same id. */
export function identify(pid: number): Owner {
  return { pid, startTime: startTimeOf(pid) ?? '' };
}

export function isAlive(owner: Owner): boolean {
  return startTimeOf(owner.pid) === owner.startTime;
}

/** Field 22 of /proc/PID/stat; the name before it may hold spaces and ends with the last parenthesis. */
function startTimeOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function recordPath(name: string): string {
  return join(recordsDirectory, `${name}.json`);
}
