/**
 * One file of the directory over time: what it says now, and what of it is in force.
 *
 * A file that is broken, unreadable or on its way out keeps its last good contents. Content is read only when the file
 * may have changed, and parsed only when it has.
 */
import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, open, stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { reasonOf } from './directory-walk.ts';
import type { Finding } from './finding.ts';
import type { LocatedObject } from './located.ts';
import { type ParsedFile, parseSteps } from './parse.ts';

export interface ConfigFileLimits {
  readonly maxFileBytes: number;
  /** How long a file must have been gone, or empty, to be believed: editors and `>` write in two steps. */
  readonly settleMs: number;
}

/** How long parsing may hold the event loop at a time. */
const sliceMs = 10;
/** A file written less than this ago may change once more without its time stamp showing it. */
const clockGranularityNs = 50_000_000n;

export type Outcome = 'unchanged' | 'changed' | 'unsettled' | 'gone';

export class ConfigFile {
  readonly path: string;
  readonly #absolute: string;
  readonly #limits: ConfigFileLimits;
  #signature = '';
  #digest = '';
  #good: readonly LocatedObject[] = [];
  #findings: readonly Finding[] = [];
  #refused = false;
  #suspectSince: number | null = null;

  /** @param path relative to the directory, as findings name it */
  constructor(path: string, absolute: string, limits: ConfigFileLimits) {
    this.path = path;
    this.#absolute = absolute;
    this.#limits = limits;
  }

  /** What is in force. */
  get objects(): readonly LocatedObject[] {
    return this.#good;
  }

  get findings(): readonly Finding[] {
    return this.#findings;
  }

  /** Whether what stands in the file is not what is in force. */
  get refused(): boolean {
    return this.#refused;
  }

  /**
   * Looks at the file. `unsettled` asks to be called again after `settleMs`; `gone` means that it is to be forgotten.
   * @param force read it even if it looks the same
   */
  async refresh(force: boolean): Promise<Outcome> {
    try {
      const stats = await stat(this.#absolute, { bigint: true });
      if (stats.isFile() && !force && signatureOf(stats) === this.#signature)
        return this.#settled('unchanged');
      // Opening a FIFO would wait for somebody to write to it.
      await using handle = await open(this.#absolute, constants.O_RDONLY | constants.O_NONBLOCK);
      return await this.#read(handle);
    } catch (error) {
      if (!isMissing(error)) return this.#refuse('unreadable', reasonOf(error));
      const link = await lstat(this.#absolute).catch(() => null);
      if (link?.isSymbolicLink() === true)
        return this.#refuse('unreadable', 'it is a link that leads nowhere');
      return link === null ? this.vanish() : 'unsettled';
    }
  }

  /** The same for a file that is not there: `gone` once that has been so for long enough. */
  vanish(): Outcome {
    return this.#isSettled() ? 'gone' : 'unsettled';
  }

  async #read(handle: FileHandle): Promise<Outcome> {
    const stats = await handle.stat({ bigint: true });
    const { maxFileBytes } = this.#limits;
    if (!stats.isFile()) return this.#refuse('unreadable', 'it is not a file');
    if (stats.size > maxFileBytes) {
      return this.#refuse(
        'file-too-large',
        `it has ${stats.size} bytes and at most ${maxFileBytes} are read`,
      );
    }
    const bytes = await handle.readFile();
    const text = textOf(bytes);
    if (text === null) return this.#refuse('not-utf8', 'it is not UTF-8 text');
    if (text.trim() === '' && this.#good.length > 0 && !this.#isSettled()) return 'unsettled';
    this.#suspectSince = null;
    const isFresh = BigInt(Date.now()) * 1_000_000n - stats.mtimeNs < clockGranularityNs;
    this.#signature = isFresh ? '' : signatureOf(stats);
    const digest = createHash('sha256').update(bytes).digest('base64');
    if (digest === this.#digest) return 'unchanged';
    this.#adopt(await parseInSlices(text, this.path));
    this.#digest = digest;
    return 'changed';
  }

  #adopt(parsed: ParsedFile): void {
    this.#refused = parsed.refused;
    if (!parsed.refused) this.#good = parsed.objects;
    this.#findings = parsed.refused
      ? [this.#keptFinding('file-refused', 'it has errors'), ...parsed.findings]
      : parsed.findings;
  }

  #refuse(code: string, reason: string): Outcome {
    this.#suspectSince = null;
    this.#digest = '';
    this.#signature = '';
    const finding = this.#keptFinding(code, reason);
    const isKnown = this.#findings.length === 1 && this.#findings[0]?.message === finding.message;
    this.#refused = true;
    this.#findings = [finding];
    return isKnown ? 'unchanged' : 'changed';
  }

  #keptFinding(code: string, reason: string): Finding {
    const kept = this.#good.length;
    const inForce =
      kept === 0 ? 'nothing of it is in force' : `its last good contents stay in force (${kept} objects)`;
    const message = `${this.path} is refused, ${reason}: ${inForce}`;
    return { severity: 'error', code, file: this.path, line: null, field: null, object: null, message };
  }

  #settled(outcome: Outcome): Outcome {
    this.#suspectSince = null;
    return outcome;
  }

  #isSettled(): boolean {
    const now = performance.now();
    this.#suspectSince ??= now;
    return now - this.#suspectSince >= this.#limits.settleMs;
  }
}

function signatureOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

async function parseInSlices(text: string, path: string): Promise<ParsedFile> {
  const steps = parseSteps(text, path);
  let began = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() - began < sliceMs) continue;
    await setImmediate();
    began = performance.now();
  }
}
