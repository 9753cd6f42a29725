/**
 * Takes a lab down, by nothing but its record: used at the end of each lab and for what a killed process left behind.
 *
 * Every step may find its work done already. As a program, `node test/lab/sweep.ts [NAME…]`, it sweeps the labs of these
 * names, or without a name those whose owner has died.
 */
import { readdirSync, readlinkSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { killCgroup, removeCgroup, removeLegacyCgroup } from './cgroup.ts';
import { command, ipIgnoringErrors } from './commands.ts';
import { forgetRecord, isAlive, type LabRecord, loadRecord, recordedLabs } from './record.ts';

/** Where `ip netns` keeps namespaces and the files it lays over /etc for programs in them. */
export const namespaceDirectory = '/run/netns';
export const namespaceFilesDirectory = '/etc/netns';

/** Removes everything that the record names, and the record last. */
export async function takeDown(record: LabRecord): Promise<void> {
  await killCgroup(record.cgroup);
  killInNamespaces(record.namespaces);
  await ipIgnoringErrors((record.interfaces ?? []).map(name => `link del ${name}`));
  await ipIgnoringErrors(record.namespaces.map(name => `netns del ${name}`));
  for (const name of record.namespaces) removeNamespaceFiles(name);
  for (const mount of record.mounts) await command('umount', ['--lazy', mount]).catch(() => '');
  await removeCgroup(record.cgroup);
  for (const path of record.legacyCgroups ?? []) await removeLegacyCgroup(path);
  rmSync(record.directory, { recursive: true, force: true });
  forgetRecord(record.name);
}

/** Labs whose owner has died; neither those in use nor those kept on purpose. */
export function abandonedLabs(): string[] {
  return recordedLabs().filter(name => {
    const owner = loadRecord(name)?.owner ?? null;
    return owner !== null && !isAlive(owner);
  });
}

/**
 * Takes down the lab of this name or, with null, all that are abandoned, whoever made them: ask for that on a machine of
 * your own only. Returns the names of those found. One in use is taken down only when asked for by name.
 */
export async function sweep(name: string | null): Promise<string[]> {
  const swept: string[] = [];
  for (const candidate of name === null ? abandonedLabs() : [name]) {
    const record = loadRecord(candidate);
    if (record === null) continue;
    await takeDown(record);
    swept.push(candidate);
  }
  return swept;
}

/** Removes the files that `ip netns exec` lays over /etc for one namespace. */
export function removeNamespaceFiles(name: string): void {
  rmSync(join(namespaceFilesDirectory, name), { recursive: true, force: true });
  try {
    rmdirSync(namespaceFilesDirectory);
  } catch {
    // Somebody else's files are there, or there is no such directory.
  }
}

/** Ends what was started in a namespace by other means than the lab: a shell of somebody who looked around. */
export function killInNamespaces(names: readonly string[]): void {
  const inodes = new Set<string>();
  for (const name of names) {
    const inode = statSync(join(namespaceDirectory, name), { throwIfNoEntry: false })?.ino;
    if (inode !== undefined) inodes.add(`net:[${inode}]`);
  }
  if (inodes.size === 0) return;
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      if (inodes.has(readlinkSync(`/proc/${pid}/ns/net`))) process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended in the meantime, or is a kernel thread.
    }
  }
}

if (import.meta.main) {
  const names = process.argv.slice(2);
  for (const name of names.length === 0 ? [null] : names) {
    for (const swept of await sweep(name)) process.stdout.write(`removed lab ${swept}\n`);
  }
}
