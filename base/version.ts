/** The version of this program, as package.json has it. */
import { readFileSync } from 'node:fs';

let known: string | null = null;

export function versionString(): string {
  known ??= (
    JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  ).version;
  return known;
}
