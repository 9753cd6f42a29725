/**
 * Where the cluster's programs and images are kept once they are built: outside the checkout, since building takes minutes
 * and `make clean` must not cost them.
 *
 * Each thing is named after everything that it was made from, so that a new version or a changed source is simply
 * another name.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** CULVERT_KUBE_CACHE, else `culvert/kube` below XDG_CACHE_HOME or ~/.cache. */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const chosen = env['CULVERT_KUBE_CACHE'];
  if (chosen !== undefined && chosen !== '') return chosen;
  const home = env['XDG_CACHE_HOME'];
  return join(home !== undefined && home !== '' ? home : join(homedir(), '.cache'), 'culvert/kube');
}

/**
 * Returns the path of what was made from these inputs, and makes it if it is not there.
 *
 * @param name file or directory name, to which a digest of the inputs is added
 * @param make writes a file or a directory to the path that it is given; only a finished one gets the final name
 */
export async function cached(
  name: string,
  inputs: readonly (string | Buffer)[],
  make: (path: string) => Promise<void> | void,
): Promise<string> {
  const hash = createHash('sha256');
  for (const input of inputs) hash.update(String(input.length)).update(' ').update(input);
  const [stem, suffix] = name.endsWith('.tar') ? [name.slice(0, -4), '.tar'] : [name, ''];
  const path = join(cacheDirectory(), `${stem}-${hash.digest('hex').slice(0, 12)}${suffix}`);
  if (existsSync(path)) return path;
  mkdirSync(dirname(path), { recursive: true });
  // Another process may be making the same.
  const unfinished = join(dirname(path), `unfinished-${process.pid}-${stem}${suffix}`);
  try {
    await make(unfinished);
    if (!existsSync(path)) renameSync(unfinished, path);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  forgetOlder(stem, suffix, path);
  return path;
}

/** Removes what the same thing was before. A cluster that still runs from it keeps its open files. */
function forgetOlder(stem: string, suffix: string, newest: string): void {
  const older = new RegExp(`^${stem.replaceAll(/[.]/g, '\\.')}-[0-9a-f]{12}${suffix.replace('.', '\\.')}$`);
  for (const file of readdirSync(dirname(newest))) {
    const path = join(dirname(newest), file);
    if (older.test(file) && path !== newest) rmSync(path, { recursive: true, force: true });
  }
}
