/**
 * The directory the configuration is read from: every file in it, watched.
 *
 * An edit is in force within 100 ms of being written (inotify; a look at everything now and then is the safety net for
 * what it does not see). Each file is taken whole or not at all, see config-file.ts. While the directory itself is gone
 * everything stays as it was. Second step of parse → directory → build.
 */
import { lstat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { CulvertError } from '../base/errors.ts';
import { ConfigFile, type ConfigFileLimits, type Outcome } from './config-file.ts';
import { type Walk, isConfiguration, isIgnored, reasonOf, walk } from './directory-walk.ts';
import { type DirectoryEvent, DirectoryWatchers } from './directory-watchers.ts';
import { type Finding, compare, compareFindings } from './finding.ts';
import type { LocatedObject } from './located.ts';

export interface DirectoryState {
  /** What is in force, file by file. */
  readonly objects: readonly LocatedObject[];
  /** What is wrong with files; what is wrong with the objects together is the builder's to say. */
  readonly findings: readonly Finding[];
  /** Goes up by one with every change, from 1. */
  readonly generation: number;
  readonly files: readonly FileState[];
}

export interface FileState {
  /** Relative to the directory. */
  readonly path: string;
  /** True while its contents are not what is in force. */
  readonly refused: boolean;
  /** How many objects of it are in force. */
  readonly objects: number;
}

export interface WatchDirectoryOptions {
  /** Told of every state after the first. */
  readonly onChange: (state: DirectoryState) => void;
  /** Told of what `onChange` throws, and of faults of ours; watching goes on. */
  readonly onError: (error: unknown) => void;
  /** Ends the watching, as `close` does. */
  readonly signal: AbortSignal;
  /** How long it must be quiet before files are looked at; never waits more than twice this. Default 20. */
  readonly debounceMs?: number;
  /** How often everything is looked at without being told of a change. Default 5 000. */
  readonly rescanMs?: number;
  /** How long a file must have been gone or empty to be believed. Default 40. */
  readonly settleMs?: number;
  /** Larger files are refused. Default 16 MiB. */
  readonly maxFileBytes?: number;
}

export interface DirectoryWatch extends AsyncDisposable {
  readonly current: DirectoryState;
  /** Ends the watching; no `onChange` comes after it has resolved. */
  close(): Promise<void>;
}

/** How often to look where nobody tells of changes: the directory is gone, or there is no inotify left. */
const blindRescanMs = 250;
/** Files looked at side by side. */
const batch = 32;

/** Reads the directory and goes on watching it. Throws a CulvertError when it can not be read at the start. */
export async function watchDirectory(
  directory: string,
  options: WatchDirectoryOptions,
): Promise<DirectoryWatch> {
  const watched = new Watched(directory, options);
  await watched.start();
  return watched;
}

class Watched implements DirectoryWatch {
  readonly #root: string;
  readonly #options: WatchDirectoryOptions;
  readonly #limits: ConfigFileLimits;
  readonly #files = new Map<string, ConfigFile>();
  readonly #watchers = new DirectoryWatchers(event => this.#onEvent(event));
  /** Files to read whatever they look like, because something happened to them. */
  #dirty = new Set<string>();
  /** Whether the whole directory is to be walked. */
  #everything = true;
  #directoryFindings: readonly Finding[] = [];
  #current: DirectoryState = { objects: [], findings: [], generation: 0, files: [] };
  #timer: NodeJS.Timeout | undefined;
  #firstEventAt: number | null = null;
  #rescanTimer: NodeJS.Timeout | undefined;
  #scan: Promise<void> | null = null;
  #closed = false;

  constructor(root: string, options: WatchDirectoryOptions) {
    this.#root = root;
    this.#options = options;
    this.#limits = {
      maxFileBytes: options.maxFileBytes ?? 16 * 1024 * 1024,
      settleMs: options.settleMs ?? 40,
    };
  }

  get current(): DirectoryState {
    return this.#current;
  }

  async start(): Promise<void> {
    const { signal } = this.#options;
    signal.throwIfAborted();
    try {
      await walk(this.#root);
    } catch (error) {
      const message = `cannot read the configuration directory ${this.#root}: ${reasonOf(error)}`;
      throw new CulvertError('CONFIG_DIRECTORY', message, {
        fix: 'create it, or name another with --config',
        cause: error,
      });
    }
    signal.addEventListener('abort', () => void this.close(), { once: true });
    await this.#run();
    if (this.#current.generation === 0) this.#publish();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#rescanTimer);
    this.#watchers.close();
    await this.#scan;
    // A scan that was under way may have found directories to watch.
    this.#watchers.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Names of no interest are dropped here: editors make many. What is no file of ours by its name may be a directory. */
  #onEvent({ directory, name }: DirectoryEvent): void {
    const path = directory === null || name === null ? null : join(directory, name);
    if (path !== null && isPassing(basename(path))) return;
    if (path !== null && isConfiguration(basename(path))) this.#dirty.add(path);
    else this.#everything = true;
    this.#schedule(this.#options.debounceMs ?? 20);
  }

  /** Scans after `ms` of quiet, or sooner if events keep coming. */
  #schedule(ms: number): void {
    if (this.#closed) return;
    const now = performance.now();
    this.#firstEventAt ??= now;
    const wait = Math.min(ms, this.#firstEventAt + 2 * ms - now);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#run(), Math.max(0, wait));
  }

  /** Never rejects. A scan that is under way looks again by itself for what came in meanwhile. */
  #run(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#firstEventAt = null;
    this.#scan ??= this.#scanOnce();
    return this.#scan;
  }

  async #scanOnce(): Promise<void> {
    const dirty = this.#dirty;
    const everything = this.#everything;
    this.#dirty = new Set();
    this.#everything = false;
    const outcomes = new Map<string, Outcome>();
    try {
      const problems = this.#directoryFindings;
      const mustWalk = everything || !(await this.#adoptNew(dirty));
      const paths = mustWalk ? await this.#walk(outcomes) : [...dirty];
      for (let start = 0; start < paths.length && !this.#closed; start += batch) {
        const some = paths.slice(start, start + batch);
        await Promise.all(some.map(path => this.#refresh(path, dirty.has(path), outcomes)));
      }
      const published = new Set(this.#current.files.map(({ path }) => path));
      let isNews = !isDeepStrictEqual(problems, this.#directoryFindings);
      for (const [path, outcome] of outcomes) {
        if (outcome === 'gone') this.#files.delete(path);
        // A name that leads to no file (one that is not UTF-8, say) comes with every walk and goes again.
        isNews ||= outcome === 'changed' || (outcome === 'gone' && published.has(path));
      }
      if (isNews) this.#publish();
    } catch (error) {
      this.#options.onError(error);
    }
    this.#scan = null;
    this.#planNext(outcomes);
  }

  /** Takes new files in without a walk; false when one of them is a link or a directory, which takes more. */
  async #adoptNew(paths: ReadonlySet<string>): Promise<boolean> {
    for (const path of paths) {
      if (this.#files.has(path)) continue;
      const stats = await lstat(join(this.#root, path)).catch(() => null);
      if (stats === null) continue;
      if (!stats.isFile()) return false;
      this.#files.set(path, this.#fileAt(path));
    }
    return true;
  }

  #fileAt(path: string): ConfigFile {
    return new ConfigFile(path, join(this.#root, path), this.#limits);
  }

  /** Finds out which files there are; those that are there no more get their outcome here. */
  async #walk(outcomes: Map<string, Outcome>): Promise<readonly string[]> {
    let found: Walk;
    try {
      found = await walk(this.#root);
      // What happened in a directory before it was watched shows in another walk.
      while (!this.#closed && this.#watchers.sync(found.directories)) found = await walk(this.#root);
    } catch (error) {
      const message = `the configuration directory ${this.#root} can not be read, ${reasonOf(error)}: everything stays as it was`;
      this.#directoryFindings = [{ ...noPlace, severity: 'error', code: 'directory-missing', message }];
      return [];
    }
    this.#directoryFindings = directoryFindings(found, this.#watchers.problem);
    const present = new Set(found.files);
    for (const path of found.files) {
      if (!this.#files.has(path)) this.#files.set(path, this.#fileAt(path));
    }
    for (const [path, file] of this.#files) {
      const isHidden = [...found.unreadable.keys()].some(directory => path.startsWith(`${directory}/`));
      if (!present.has(path) && !isHidden) outcomes.set(path, file.vanish());
    }
    return found.files;
  }

  async #refresh(path: string, force: boolean, outcomes: Map<string, Outcome>): Promise<void> {
    const file = this.#files.get(path);
    if (file !== undefined) outcomes.set(path, await file.refresh(force));
  }

  #planNext(outcomes: ReadonlyMap<string, Outcome>): void {
    if (this.#closed) return;
    const isPending = this.#everything || this.#dirty.size > 0;
    for (const [path, outcome] of outcomes) if (outcome === 'unsettled') this.#dirty.add(path);
    if (isPending) this.#schedule(this.#options.debounceMs ?? 20);
    else if (this.#dirty.size > 0) this.#schedule(this.#limits.settleMs + 1);
    clearTimeout(this.#rescanTimer);
    const rescanMs = this.#options.rescanMs ?? 5_000;
    const isBlind =
      this.#watchers.problem !== null || this.#directoryFindings.some(({ severity }) => severity === 'error');
    this.#rescanTimer = setTimeout(
      () => {
        this.#everything = true;
        void this.#run();
      },
      isBlind ? Math.min(rescanMs, blindRescanMs) : rescanMs,
    );
  }

  #publish(): void {
    if (this.#closed) return;
    const files = [...this.#files.values()].toSorted((a, b) => compare(a.path, b.path));
    const isFirst = this.#current.generation === 0;
    this.#current = {
      objects: files.flatMap(file => file.objects),
      findings: [...this.#directoryFindings, ...files.flatMap(file => file.findings)].toSorted(
        compareFindings,
      ),
      generation: this.#current.generation + 1,
      files: files.map(({ path, refused, objects }) => ({ path, refused, objects: objects.length })),
    };
    if (!isFirst) this.#options.onChange(this.#current);
  }
}

const noPlace = { file: null, line: null, field: null, object: null };

function directoryFindings(found: Walk, watchProblem: string | null): Finding[] {
  const findings: Finding[] = [...found.unreadable].map(([path, reason]) => ({
    ...noPlace,
    severity: 'error',
    code: 'unreadable',
    file: path,
    message: `the directory ${path} can not be read, ${reason}: what was in it stays in force`,
  }));
  if (watchProblem !== null) {
    const message = `the kernel grants no more watches (${watchProblem}): looking every ${blindRescanMs} ms instead; raise fs.inotify.max_user_watches`;
    findings.push({ ...noPlace, severity: 'warning', code: 'watch-unavailable', message });
  }
  return findings;
}

/** Whether an entry is none of ours for certain. `..data` of a mounted ConfigMap is what its files lead through. */
function isPassing(name: string): boolean {
  return isIgnored(name) && !name.startsWith('..');
}
