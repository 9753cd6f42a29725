/**
 * Runs a program of this machine to its end and returns everything that it said: for programs that are part of no place in
 * the lab, such as compilers and kubectl.
 */
import { spawn } from 'node:child_process';
import { CulvertError } from '../../base/errors.ts';

export interface Finished {
  /** Null: a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunProgramOptions {
  readonly cwd?: string;
  /** Added to our environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Given on standard input. */
  readonly input?: string;
  /** False: a non-zero exit is returned instead of thrown. */
  readonly check?: boolean;
  /** Killed after this; a minute unless said. */
  readonly timeoutMs?: number;
}

/** Throws LAB_COMMAND_FAILED with what it said on stderr, unless told not to check. */
export async function run(
  file: string,
  args: readonly string[],
  options: RunProgramOptions = {},
): Promise<Finished> {
  const finished = await toItsEnd(file, args, options);
  if (options.check === false || finished.code === 0) return finished;
  const said = (finished.stderr.trim() || finished.stdout.trim()).slice(-4_000);
  const why = said || (finished.code === null ? 'it was killed' : `it ended with ${finished.code}`);
  throw new CulvertError('LAB_COMMAND_FAILED', `${file} ${args.join(' ')}: ${why}`);
}

function toItsEnd(file: string, args: readonly string[], options: RunProgramOptions): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    });
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
    // A program that ends without reading its input is judged by its exit code, not by the broken pipe.
    child.stdin.on('error', () => {});
    child.on('error', cause =>
      reject(new CulvertError('LAB_COMMAND_FAILED', `cannot run ${file}: ${cause.message}`, { cause })),
    );
    child.on('close', code =>
      resolve({ code, stdout: Buffer.concat(output).toString(), stderr: Buffer.concat(errors).toString() }),
    );
    child.stdin.end(options.input ?? '');
  });
}
