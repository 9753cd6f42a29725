/**
 * Puts the CNI plugin into the node's chain, keeps it there, and takes it out again without a trace.
 *
 * Every file is replaced as a whole by a rename. What stood there before is kept beside it under a name that no runtime
 * reads. Where another program writes the configuration anew, ours goes in again; one that insists is met at growing
 * intervals, so that two of that kind don't keep a runtime busy.
 */
import {
  copyFileSync,
  chmodSync,
  existsSync,
  type FSWatcher,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asCulvertError, CulvertError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import {
  configurationFiles,
  isConfiguration,
  listName,
  type PluginEntry,
  pluginName,
  withoutPlugin,
  withPlugin,
} from './cni-conf.ts';

export interface CniPlaces {
  /** Where the runtime looks for plugins. */
  readonly binDir: string;
  /** Where it looks for its configuration. */
  readonly confDir: string;
}

export interface CniInstallOptions extends CniPlaces {
  readonly entry: PluginEntry;
  readonly log: Logger;
}

/** Where the plugin stands, or why in none. */
export type CniState =
  | { readonly file: string; readonly trouble: null }
  | { readonly file: null; readonly trouble: string };

const compiled = fileURLToPath(new URL('../../native/cni/build/culvert-cni', import.meta.url));
/** Other programs write in more than one step, but not for ever. */
const settleMs = 100;
const settleAtMostMs = 1_000;
const checkEveryMs = 10_000;
/** More insertions than this within a minute, and we wait longer each time. */
const patience = 5;
const longestWaitMs = 60_000;

export class CniInstall {
  readonly #options: CniInstallOptions;
  #state: CniState = { file: null, trouble: 'not installed yet' };
  #watcher: FSWatcher | null = null;
  #timer: NodeJS.Timeout | null = null;
  #insertions: number[] = [];
  #inserted = 0;
  /** When somebody wrote first since the last look. */
  #writtenAt: number | null = null;
  #closed = false;

  constructor(options: CniInstallOptions) {
    this.#options = options;
  }

  get state(): CniState {
    return this.#state;
  }

  /** How often the plugin was put into the chain. */
  get inserted(): number {
    return this.#inserted;
  }

  /** Installs, as soon as there is a configuration, and looks after it. Throws CNI_INSTALL where the plugin can't be put. */
  start(): void {
    const { binDir, confDir } = this.#options;
    try {
      installBinary(binDir);
      mkdirSync(confDir, { recursive: true });
      this.#watcher = watch(confDir, () => this.#written());
      this.#watcher.on('error', () => {});
    } catch (cause) {
      throw new CulvertError(
        'CNI_INSTALL',
        `cannot put the CNI plugin in place: ${asCulvertError(cause, '').message}`,
        {
          fix: 'mount the directories of CNI plugins and CNI configuration of the node into the agent, writable',
          cause,
        },
      );
    }
    this.#look();
  }

  /** Ends the watch; the plugin stays. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#watcher?.close();
  }

  /** Who writes without a pause puts the look off, but not beyond a limit. */
  #written(): void {
    const now = Date.now();
    this.#writtenAt ??= now;
    this.#lookAfter(Math.min(settleMs, this.#writtenAt + settleAtMostMs - now));
  }

  #lookAfter(ms: number): void {
    if (this.#closed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const wait = Math.max(ms, this.#insistence(), 0);
    this.#timer = setTimeout(() => this.#look(), wait).unref();
  }

  #look(): void {
    this.#writtenAt = null;
    try {
      installBinary(this.#options.binDir);
      this.#adopt(this.#insert());
    } catch (thrown) {
      this.#adopt({ file: null, trouble: asCulvertError(thrown, 'CNI_INSTALL').message });
    }
    this.#lookAfter(checkEveryMs);
  }

  #insert(): CniState {
    const { confDir, entry, log } = this.#options;
    const names = configurationFiles(readdirSync(confDir));
    const first = names.find(name => isConfiguration(name, readFileSync(join(confDir, name), 'utf8')));
    if (first === undefined)
      return { file: null, trouble: `there is no CNI configuration in ${confDir} yet` };
    const text = readFileSync(join(confDir, first), 'utf8');
    const insertion = withPlugin(first, text, entry);
    if (insertion.kind === 'impossible') return { file: null, trouble: `${first}: ${insertion.why}` };
    const target = listName(first);
    if (insertion.kind === 'insert') {
      this.#insertions.push(Date.now());
      this.#inserted += 1;
      keepOriginal(confDir, first, text);
      replaceFile(join(confDir, target), insertion.text, join(confDir, first));
      // It would come before the list, in the order of names.
      if (target !== first) rmSync(join(confDir, first));
      log.info({ file: join(confDir, target) }, 'CNI plugin put into the chain');
      if (this.#insertions.length === patience) {
        log.warn(
          { code: 'CNI_REWRITTEN', confDir },
          'another program keeps taking the CNI plugin out of the chain',
        );
      }
    }
    // One that was the first before.
    for (const name of names) if (name !== first && name !== target) restore(confDir, name);
    return { file: join(confDir, target), trouble: null };
  }

  #adopt(state: CniState): void {
    if (state.trouble !== null && state.trouble !== this.#state.trouble) {
      this.#options.log.warn(
        { code: 'CNI_NOT_CHAINED', err: state.trouble },
        'new pods of the mesh do not wait for their enrolment',
      );
    }
    this.#state = state;
  }

  /** How long to leave another program alone, from now, that takes ours out again and again. */
  #insistence(): number {
    const now = Date.now();
    this.#insertions = this.#insertions.filter(at => at > now - 60_000);
    const over = this.#insertions.length - patience;
    const last = this.#insertions.at(-1);
    if (over < 0 || last === undefined) return 0;
    return last + Math.min(1_000 * 2 ** over, longestWaitMs) - now;
  }
}

/** Takes the plugin out of every file and puts back what stood there; then the program itself, unless it is to be kept. */
export function uninstallCni({ binDir, confDir }: CniPlaces, keepBinary = false): void {
  for (const name of existsSync(confDir) ? readdirSync(confDir) : []) {
    if (name.endsWith('.conflist')) restore(confDir, name);
  }
  for (const name of existsSync(confDir) ? readdirSync(confDir) : []) {
    if (name.endsWith(originalSuffix)) rmSync(join(confDir, name));
  }
  if (!keepBinary) rmSync(join(binDir, pluginName), { force: true });
}

/** Copies the program where it is missing or another one. */
function installBinary(binDir: string): void {
  const target = join(binDir, pluginName);
  const wanted = readFileSync(compiled);
  if (existsSync(target) && readFileSync(target).equals(wanted)) return;
  mkdirSync(binDir, { recursive: true });
  const fresh = join(binDir, `.${pluginName}.new`);
  copyFileSync(compiled, fresh);
  chmodSync(fresh, 0o755);
  renameSync(fresh, target);
}

const originalSuffix = '.culvert-original';

/** Beside the file; under the name that it had. */
function keepOriginal(confDir: string, name: string, text: string): void {
  const clean = withoutPlugin(name, text, null);
  // One that had ours already in another shape: what is kept from before is the better original.
  const path = join(confDir, `${name}${originalSuffix}`);
  if (clean !== null && existsSync(path)) return;
  replaceFile(path, clean ?? text, join(confDir, name));
}

/** Undoes what was done to a list; a plugin that was alone gets its own file back. */
function restore(confDir: string, name: string): void {
  const path = join(confDir, name);
  const kept = [name, name.replace(/\.conflist$/, '.conf'), name.replace(/\.conflist$/, '.json')].find(it =>
    existsSync(join(confDir, `${it}${originalSuffix}`)),
  );
  const original =
    kept === undefined ? null : readFileSync(join(confDir, `${kept}${originalSuffix}`), 'utf8');
  const text = withoutPlugin(name, readFileSync(path, 'utf8'), kept === name ? original : null);
  if (text === null) return;
  if (kept !== undefined && kept !== name && original !== null) {
    if (!existsSync(join(confDir, kept))) replaceFile(join(confDir, kept), original, path);
    rmSync(path);
  } else {
    replaceFile(path, text, path);
  }
  if (kept !== undefined) rmSync(join(confDir, `${kept}${originalSuffix}`));
}

/** Through a link to what it leads to; with the rights of `like`. The name in between is none that a runtime reads. */
function replaceFile(path: string, text: string, like: string): void {
  const target = existsSync(path) ? realpathSync(path) : path;
  const fresh = join(dirname(target), `.${basename(target)}.culvert-new`);
  writeFileSync(fresh, text, { mode: statSync(like).mode & 0o777 });
  renameSync(fresh, target);
}
