/**
 * Which files of a directory are configuration: `.yaml`, `.yml` and `.json` at any depth, without what is hidden or
 * what editors leave behind. Links are followed, as a mounted ConfigMap needs it (`web.yaml` → `..data/web.yaml`).
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface Walk {
  /** Paths relative to the root, sorted. */
  readonly files: readonly string[];
  /** Absolute paths of every directory whose entries matter, among them those that links point into. */
  readonly directories: ReadonlyMap<string, DirectoryIdentity>;
  /** Directories that could not be read, relative to the root, with the reason. */
  readonly unreadable: ReadonlyMap<string, string>;
}

/** Tells a directory from another that has taken its name. */
export interface DirectoryIdentity {
  /** Where it lies in the root, null for one that only links point into. */
  readonly path: string | null;
  /** Device and inode. */
  readonly id: string;
}

const maxDepth = 16;

/** Walks a directory. Throws only when the root itself can not be read. */
export async function walk(root: string): Promise<Walk> {
  const files: string[] = [];
  const directories = new Map<string, DirectoryIdentity>();
  const unreadable = new Map<string, string>();
  const seen = new Set<string>();

  const visit = async (path: string, depth: number): Promise<void> => {
    const absolute = join(root, path);
    const id = await identityOf(absolute);
    // A link that leads back up, or a second way to the same place.
    if (seen.has(id) || depth > maxDepth) return;
    seen.add(id);
    directories.set(absolute, { path, id });
    const entries = await readdir(absolute, { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (isIgnored(entry.name)) continue;
      const child = join(path, entry.name);
      const isDirectory =
        entry.isDirectory() || (entry.isSymbolicLink() && (await leadsToDirectory(join(root, child))));
      if (isDirectory)
        await visit(child, depth + 1).catch((error: unknown) => unreadable.set(child, reasonOf(error)));
      else if (isConfiguration(entry.name)) {
        files.push(child);
        if (entry.isSymbolicLink()) await addTarget(join(root, child), directories);
      }
    }
  };
  await visit('', 0);
  return { files: files.toSorted(), directories, unreadable };
}

/** Whether a file of this name is read. */
export function isConfiguration(name: string): boolean {
  return !isIgnored(name) && /\.(ya?ml|json)$/.test(name);
}

/** Hidden files, and what editors write beside the file they edit. */
export function isIgnored(name: string): boolean {
  return name.startsWith('.') || name.startsWith('#') || name.endsWith('~');
}

/** What went wrong with a file operation, without the path, which findings have. */
export function reasonOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return reasons.get(code ?? '') ?? (error instanceof Error ? error.message : String(error));
}

const reasons = new Map([
  ['ENOENT', 'it does not exist'],
  ['ENOTDIR', 'it is not a directory'],
  ['EACCES', 'permission denied'],
  ['EPERM', 'permission denied'],
  ['ELOOP', 'its links go in a circle'],
  ['EIO', 'the disk reports an error'],
]);

async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(path, { bigint: true });
  return `${dev}:${ino}`;
}

async function leadsToDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    stats => stats.isDirectory(),
    () => false,
  );
}

/** Where a link ends is watched too, or an edit of the file itself would go unseen. */
async function addTarget(link: string, directories: Map<string, DirectoryIdentity>): Promise<void> {
  try {
    const directory = dirname(await realpath(link));
    if (!directories.has(directory))
      directories.set(directory, { path: null, id: await identityOf(directory) });
  } catch {
    // A link that leads nowhere: reading the file says so.
  }
}
