/**
 * One process per state directory: a file with the owner's PID and start time, so that a PID that was reused after a
 * crash is not taken for the owner.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { CulvertError } from './errors.ts';

/** Takes the lock or throws ALREADY_RUNNING. Returns what gives it back, if it is still ours then. */
export function lock(path: string): () => void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const mine = ownerLine();
  try {
    writeFileSync(path, mine, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw unusable(path, error);
    const pid = holderOf(path);
    if (pid !== null) {
      throw new CulvertError('ALREADY_RUNNING', `process ${pid} holds ${path}`, {
        fix: 'stop that agent, or give this one another --state-dir and --node',
      });
    }
    return takeLock(path);
  }
  return () => release(path);
}

/** PID of the process that has it; null where none that lives has. */
export function holderOf(path: string): number | null {
  try {
    const [pid, started] = readFileSync(path, 'utf8').split(' ');
    return pid !== undefined && started !== undefined && startTime(Number(pid)) === started
      ? Number(pid)
      : null;
  } catch {
    return null;
  }
}

/**
 * Takes it from whoever has it, who has agreed to that or is dead. Throws STATE_DIR_UNUSABLE, on a full disk for instance,
 * and then it is as it was; one that is ours already is no reason to write.
 */
export function takeLock(path: string): () => void {
  if (isOurs(path)) return () => release(path);
  try {
    writeFileSync(`${path}.new`, ownerLine(), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch (error) {
    rmSync(`${path}.new`, { force: true });
    throw unusable(path, error);
  }
  return () => release(path);
}

/** Says in a file that another process lives; as a lock that nobody waits for. */
export function announce(path: string, pid: number): void {
  writeFileSync(path, `${pid} ${startTime(pid) ?? '0'}`, { mode: 0o600 });
}

function unusable(path: string, error: unknown): CulvertError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new CulvertError('STATE_DIR_UNUSABLE', `cannot write ${path}: ${message}`, {
    fix: code === 'ENOSPC' ? 'make room in its file system' : 'give a writable directory with --state-dir',
    cause: error,
  });
}

function release(path: string): void {
  if (isOurs(path)) rmSync(path, { force: true });
}

export function isOurs(path: string): boolean {
  try {
    return readFileSync(path, 'utf8') === ownerLine();
  } catch {
    return false;
  }
}

function ownerLine(): string {
  return `${process.pid} ${startTime(process.pid) ?? '0'}`;
}

/**
 * Field 22 of /proc/PID/stat (proc(5)): clock ticks after boot; null when there is no such process, or it has ended and its
 * parent does not care.
 */
function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? null : (fields[18] ?? null);
  } catch {
    return null;
  }
}
