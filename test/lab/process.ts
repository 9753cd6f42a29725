/**
 * One program that runs in a pod or on a node.
 *
 * Its output goes to files, not to pipes: it may outlive the process that started it, and a person can read the files
 * while it runs.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { basename, join } from 'node:path';
import type { Writable } from 'node:stream';
import { CulvertError } from '../../base/errors.ts';
import { eventually } from './eventually.ts';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  /** Added to our environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Ends it when the signal fires. */
  readonly signal?: AbortSignal;
}

const stopGraceMs = 3_000;

let started = 0;

export class LabProcess implements AsyncDisposable {
  readonly command: string;
  readonly stdoutPath: string;
  readonly stderrPath: string;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  #exit: Exit | null = null;

  /**
   * @param name of the program, for messages and file names
   * @param argv what is executed, with the way into the namespace and cgroup before the program itself
   */
  constructor(name: string, argv: readonly string[], directory: string, options: ProcessOptions = {}) {
    const [file = '', ...args] = argv;
    this.command = name;
    const stem = join(directory, `${String(++started).padStart(4, '0')}-${basename(name)}`);
    this.stdoutPath = `${stem}.out`;
    this.stderrPath = `${stem}.err`;
    const stdout = openSync(this.stdoutPath, 'w');
    const stderr = openSync(this.stderrPath, 'w');
    // Detached: Ctrl-C in a terminal must reach the lab, which then ends its programs in its own order.
    this.#child = spawn(file, args, {
      stdio: ['pipe', stdout, stderr],
      detached: true,
      env: { ...withoutOurs(process.env), ...options.env },
    });
    closeSync(stdout);
    closeSync(stderr);
    this.#child.stdin?.on('error', () => {});
    this.exited = new Promise(resolve => {
      const ended = (exit: Exit): void => {
        this.#exit ??= exit;
        resolve(this.#exit);
      };
      this.#child.once('exit', (code, signal) => ended({ code, signal }));
      this.#child.once('error', () => ended({ code: 127, signal: null }));
    });
    options.signal?.addEventListener('abort', () => this.kill('SIGKILL'), { once: true });
  }

  /** The program's own process id: what goes before it on the command line replaces itself by it. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#exit === null;
  }

  get stdin(): Writable {
    const { stdin } = this.#child;
    if (stdin === null) throw new CulvertError('LAB_NO_STDIN', `${this.command} has no standard input`);
    return stdin;
  }

  stdout(): string {
    return readFileSync(this.stdoutPath, 'utf8');
  }

  stderr(): string {
    return readFileSync(this.stderrPath, 'utf8');
  }

  /** Waits for text on stdout or stderr. Throws LAB_PROCESS_ENDED when it ends without. */
  async says(pattern: RegExp, timeoutMs = 10_000): Promise<RegExpMatchArray> {
    return this.#while(
      () => this.stdout().match(pattern) ?? this.stderr().match(pattern),
      `${pattern}`,
      timeoutMs,
    );
  }

  /** Waits until something in its namespace listens on this TCP port. */
  async listensOn(port: number, timeoutMs = 10_000): Promise<void> {
    const wanted = new RegExp(
      `^\\s*\\d+: [0-9A-F]+:${port.toString(16).toUpperCase().padStart(4, '0')} [0-9A-F:]+ 0A `,
      'm',
    );
    // /proc/PID/net is the namespace of that process, seen from outside.
    const listens = (table: string): boolean =>
      wanted.test(readFileSync(`/proc/${this.pid}/net/${table}`, 'utf8'));
    await this.#while(() => this.running && ['tcp', 'tcp6'].some(listens), `port ${port}`, timeoutMs);
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#exit === null && this.pid > 0) this.#child.kill(signal);
  }

  /** Asks it to end, and insists when it has not after `graceMs`, three seconds unless said. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = stopGraceMs): Promise<Exit> {
    this.kill(signal);
    const insist = setTimeout(() => this.kill('SIGKILL'), graceMs);
    const exit = await this.exited;
    clearTimeout(insist);
    return exit;
  }

  /** Lets our process end while this one goes on. */
  unref(): void {
    this.#child.unref();
    if (this.#child.stdin instanceof Socket) this.#child.stdin.unref();
  }

  discardOutput(): void {
    rmSync(this.stdoutPath, { force: true });
    rmSync(this.stderrPath, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #while<T>(ask: () => T | null | false, what: string, timeoutMs: number): Promise<T> {
    const patience = { timeoutMs, intervalMs: 10, what: `${what} of ${this.command}` };
    const first = await eventually(() => {
      const running = this.running;
      const answer = ask();
      // Asked after it has ended, it has said all that it ever will.
      return answer || !running ? { answer } : null;
    }, patience);
    if (first.answer) return first.answer;
    const { code, signal } = await this.exited;
    throw new CulvertError(
      'LAB_PROCESS_ENDED',
      `${this.command} ended with ${code ?? signal} before ${what}: ${this.stderr().trim().slice(-2_000)}`,
    );
  }
}

/** The environment without what a test runner puts in for Node: programs of the lab are nobody's children. */
function withoutOurs(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(
    ([name]) => name !== 'NODE_OPTIONS' && !/^(_?TAPJS|TAP)_/.test(name),
  );
  return Object.fromEntries(kept);
}
