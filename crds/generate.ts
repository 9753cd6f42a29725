/**
 * Writes crds/*.yaml. With `--check` it writes nothing and fails when a file is not what it would write.
 */
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { customResourceDefinitions } from './definitions.ts';

const header =
  '# Generated from the schemas in model/kinds by crds/generate.ts: do not edit, run `make gen`.\n';

/** The files as they have to be, by name. */
export function generate(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const [name, definition] of customResourceDefinitions()) {
    files.set(
      name,
      header + stringify(definition, { lineWidth: 0, singleQuote: true, aliasDuplicateObjects: false }),
    );
  }
  return files;
}

/** Names of files in `directory` that are missing, differ, or should not be there. */
export function outdated(directory: string): string[] {
  const files = generate();
  const present = new Set(readdirSync(directory).filter(name => name.endsWith('.yaml')));
  const differing = [...files].filter(
    ([name, text]) => !present.has(name) || readFileSync(join(directory, name), 'utf8') !== text,
  );
  return [...differing.map(([name]) => name), ...[...present].filter(name => !files.has(name))];
}

/** Makes `directory` hold exactly the files. */
export function write(directory: string): void {
  const files = generate();
  for (const name of outdated(directory)) {
    const text = files.get(name);
    if (text === undefined) rmSync(join(directory, name));
    else writeFileSync(join(directory, name), text);
  }
}

if (import.meta.main) {
  if (process.argv.includes('--check')) {
    const stale = outdated(import.meta.dirname);
    if (stale.length > 0) {
      process.stderr.write(`crds/ is out of date (run make gen): ${stale.join(', ')}\n`);
      process.exitCode = 1;
    }
  } else write(import.meta.dirname);
}
