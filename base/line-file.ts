/**
 * Where log and access lines go: a file or standard output, written in the background in batches of whole lines.
 *
 * Traffic never waits for a disk. What can't be written is dropped, counted and reported once per outage; memory is
 * bounded. Descriptors are opened for appending, so every thread may have its own LineFile on the same path, and a line
 * never mixes with another thread's. (sonic-boom, pino's own, retries for ever on a full disk when it flushes at exit.)
 */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';
import { standardOutput } from './standard-output.ts';

export interface LineFileOptions {
  /** File to append to, made with its directory when missing; null is standard output. */
  readonly path: string | null;
  /** Lines wait at most this long for company, milliseconds; 0 writes as soon as the last write is done. */
  readonly flushMs: number;
  /** Characters held while a write is under way; lines beyond are dropped. */
  readonly maxBuffered?: number;
  /** Told at the first failure of an outage; must not write to this same file. */
  readonly onTrouble?: (error: NodeJS.ErrnoException, path: string) => void;
}

const defaultMaxBuffered = 8 * 1024 * 1024;
/** A batch that has this many characters doesn't wait for `flushMs`. */
const batchSize = 64 * 1024;
/** A pipe that is full (EAGAIN) is tried again after this. */
const retryMs = 50;
/** How long the end of a process may be held up by a reader that sleeps. */
const lastWordsMs = 200;
const closeMs = 1_000;
const newline = 0x0a;

export class LineFile {
  readonly #options: LineFileOptions;
  readonly #maxBuffered: number;
  #fd: number | null;
  #buffered = '';
  #timer: NodeJS.Timeout | null = null;
  #writing = false;
  /** What a full pipe did not take yet. */
  #blocked: Buffer | null = null;
  #reopen = false;
  #closed = false;
  #inTrouble = false;
  /** The last write ended in the middle of a line. */
  #torn = false;
  #idle: (() => void)[] = [];
  #dropped = 0;

  constructor(options: LineFileOptions) {
    this.#options = options;
    this.#maxBuffered = options.maxBuffered ?? defaultMaxBuffered;
    this.#fd = options.path === null ? standardOutput() : null;
  }

  /** Lines that were lost since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** @param line ends with a newline */
  write(line: string): void {
    if (this.#closed || this.#buffered.length + line.length > this.#maxBuffered) {
      this.#dropped += 1;
      return;
    }
    this.#buffered += line;
    if (this.#writing) return;
    if (this.#options.flushMs === 0 || this.#buffered.length >= batchSize) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), this.#options.flushMs).unref();
  }

  /** Opens the path anew before the next line, for rotation by rename. Standard output stays. */
  reopen(): void {
    if (this.#options.path === null) return;
    this.#reopen = true;
    if (!this.#writing) this.#start();
  }

  /** Resolves when everything written so far has reached the file or is lost. */
  async flush(): Promise<void> {
    this.#start();
    if (!this.#writing) return;
    await new Promise<void>(resolve => {
      this.#idle.push(resolve);
    });
  }

  /** Last words before the thread or process exits; never waits long for a reader that sleeps. */
  flushSync(): void {
    this.#stopTimer();
    const rest = this.#blocked;
    this.#blocked = null;
    if (rest === null && this.#buffered === '') return;
    if (rest !== null) this.#torn = false;
    const batch = Buffer.concat([rest ?? Buffer.alloc(0), this.#takeBatch()]);
    const giveUpAt = performance.now() + lastWordsMs;
    let written = 0;
    while (written < batch.length) {
      try {
        this.#fd ??= openFile(this.#options.path ?? '');
        written += fs.writeSync(this.#fd, batch, written);
      } catch (error) {
        const full = (error as NodeJS.ErrnoException).code === 'EAGAIN';
        if (full && performance.now() < giveUpAt) {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
          continue;
        }
        this.#fail(error as NodeJS.ErrnoException, batch.subarray(written));
        return;
      }
    }
    this.#torn = false;
  }

  /** Writes what is left, unless that takes longer than a second, and closes. Later lines are dropped. */
  async close(): Promise<void> {
    const patience = new AbortController();
    const { signal } = patience;
    await Promise.race([
      this.flush(),
      setTimeoutPromise(closeMs, null, { signal, ref: false }).catch(() => null),
    ]);
    patience.abort();
    this.#closed = true;
    if (!this.#writing) this.#closeFd();
  }

  #start(): void {
    this.#stopTimer();
    if (this.#writing || this.#closed) return;
    if (this.#buffered === '' && !this.#reopen) return;
    this.#writing = true;
    if (this.#reopen) {
      this.#reopen = false;
      this.#closeFd();
    }
    if (this.#fd === null) this.#open(this.#options.path ?? '');
    else this.#writeBatch(this.#fd);
  }

  #open(file: string): void {
    const opened = (error: NodeJS.ErrnoException | null, fd: number | undefined): void => {
      if (error !== null || fd === undefined) {
        this.#fail(error ?? new Error('no descriptor'), this.#takeBatch());
        this.#done();
        return;
      }
      this.#fd = fd;
      this.#writeBatch(fd);
    };
    fs.mkdir(path.dirname(file), { recursive: true }, error => {
      // `open` itself tells best why a directory can't be used.
      void error;
      fs.open(file, 'a', 0o640, opened);
    });
  }

  #writeBatch(fd: number): void {
    if (this.#buffered === '') this.#done();
    else this.#write(fd, this.#takeBatch(), 0);
  }

  #write(fd: number, batch: Buffer, from: number): void {
    fs.write(fd, batch, from, batch.length - from, null, (error, count) => {
      if (error?.code === 'EAGAIN' && !this.#closed) {
        this.#blocked = batch.subarray(from);
        setTimeout(() => this.#unblock(fd), retryMs);
        return;
      }
      if (error !== null) {
        this.#fail(error, batch.subarray(from));
        // A file that was lost with its disk gets a fresh start with the next batch.
        this.#closeFd();
      } else if (from + count < batch.length) {
        this.#torn = true;
        this.#write(fd, batch, from + count);
        return;
      } else {
        this.#torn = false;
        this.#inTrouble = false;
      }
      this.#done();
    });
  }

  #unblock(fd: number): void {
    const batch = this.#blocked;
    this.#blocked = null;
    if (batch === null) this.#done();
    else this.#write(fd, batch, 0);
  }

  #done(): void {
    this.#writing = false;
    if (this.#buffered !== '' || this.#reopen) {
      // A full batch, lines that may not wait, or somebody who waits for them.
      const now = this.#options.flushMs === 0 || this.#buffered.length >= batchSize || this.#idle.length > 0;
      if (now || this.#reopen) this.#start();
      else this.#timer ??= setTimeout(() => this.#start(), this.#options.flushMs).unref();
      return;
    }
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #takeBatch(): Buffer {
    const text = this.#torn ? `\n${this.#buffered}` : this.#buffered;
    this.#buffered = '';
    return Buffer.from(text, 'utf8');
  }

  #fail(error: NodeJS.ErrnoException, lost: Buffer): void {
    this.#drop(lost);
    if (this.#inTrouble) return;
    this.#inTrouble = true;
    this.#options.onTrouble?.(error, this.#options.path ?? 'standard output');
  }

  #drop(lost: Buffer): void {
    // The newline that would have ended a torn line is no line.
    let lines = this.#torn && lost[0] === newline ? -1 : 0;
    for (const byte of lost) if (byte === newline) lines += 1;
    this.#dropped += lines;
  }

  #closeFd(): void {
    if (this.#fd === null || this.#options.path === null) return;
    fs.close(this.#fd, () => {});
    this.#fd = null;
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

function openFile(file: string): number {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  return fs.openSync(file, 'a', 0o640);
}
