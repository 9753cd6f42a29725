/** `culvert authority status` and `culvert authority rotate`: the words around what authority.ts does. */
import { resolve } from 'node:path';
import {
  activateRoot,
  addRoot,
  listRoots,
  retireRoot,
  type ListedRoot,
  type RotationResult,
} from './authority.ts';
import { table } from './table.ts';

interface AuthorityOptions {
  readonly authority: string;
  readonly output: string;
}

export function authorityStatus(options: AuthorityOptions): void {
  show(options, listRoots(resolve(options.authority)));
}

/** @param step one of add, activate, retire */
export function rotate(
  step: string,
  options: AuthorityOptions & { readonly root?: string; readonly force?: boolean },
): void {
  const path = resolve(options.authority);
  const wanted = options.root ?? null;
  const result = act(step, path, wanted, options.force === true);
  if (options.output === 'table')
    process.stdout.write(`${done[step] ?? 'changed'} ${result.fingerprint.slice(0, 23)}\n\n`);
  show(options, result.roots);
}

const done: Readonly<Record<string, string>> = {
  add: 'trusted from now on, not signing yet:',
  activate: 'signs from now on:',
  retire: 'no longer trusted:',
};

function act(step: string, path: string, wanted: string | null, force: boolean): RotationResult {
  if (step === 'add') return addRoot(path, Date.now());
  if (step === 'activate') return activateRoot(path, wanted);
  return retireRoot(path, wanted, { now: Date.now(), force });
}

function show(options: AuthorityOptions, roots: readonly ListedRoot[]): void {
  if (options.output === 'json') {
    process.stdout.write(`${JSON.stringify(roots, null, 2)}\n`);
    return;
  }
  const rows = roots.map(root => [
    root.state,
    root.fingerprint,
    new Date(root.notBefore).toISOString(),
    new Date(root.notAfter).toISOString(),
    root.hasKey ? 'yes' : 'no',
  ]);
  process.stdout.write(table(['STATE', 'FINGERPRINT', 'FROM', 'UNTIL', 'KEY HERE'], rows));
}
