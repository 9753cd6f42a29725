/**
 * Writes what is made from the manifests and values of this folder: the Helm chart, the Kustomize files and
 * docs/chart-values.md. With `--check` it writes nothing and fails when a file is not what it would write.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { chartFiles } from './chart.ts';
import { kustomizeFiles } from './kustomize.ts';
import { valuesPage } from './values-page.ts';

const checkout = join(import.meta.dirname, '..');

/** Folders in which nothing else may be. */
const ownFolders = ['daemonset/helm', 'daemonset/kustomize', 'daemonset/monitoring'];

/** The files as they have to be, by path from the checkout. */
export function generated(): ReadonlyMap<string, string> {
  return new Map([...chartFiles(), ...kustomizeFiles(), ['docs/chart-values.md', valuesPage()]]);
}

/** Paths of files that are missing, differ, or should not be there. */
export function outdated(root: string): string[] {
  const files = generated();
  const differing = [...files].filter(([path, content]) => {
    const there = join(root, path);
    return !existsSync(there) || readFileSync(there, 'utf8') !== content;
  });
  const leftOver = ownFolders.flatMap(folder => below(root, folder)).filter(path => !files.has(path));
  return [...differing.map(([path]) => path), ...leftOver];
}

/** Makes the files below `root` what they have to be. */
export function write(root: string): void {
  const files = generated();
  for (const path of outdated(root)) {
    const content = files.get(path);
    if (content === undefined) rmSync(join(root, path));
    else {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content);
    }
  }
}

function below(root: string, folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(root.length + 1));
}

if (import.meta.main) {
  if (process.argv.includes('--check')) {
    const stale = outdated(checkout);
    if (stale.length > 0) {
      process.stderr.write(`out of date (run make gen): ${stale.join(', ')}\n`);
      process.exitCode = 1;
    }
  } else write(checkout);
}
