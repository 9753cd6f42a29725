/** What a process uses, as the kernel accounts for it: memory, and processors in ticks of a hundredth of a second. */
import { readFileSync } from 'node:fs';

/** Microseconds. */
export interface ProcessorTime {
  /** In its own code and its libraries'. */
  readonly user: number;
  /** In the kernel, on its behalf. */
  readonly system: number;
}

/** Resident memory. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

const tickUs = 10_000;
const none: ProcessorTime = { user: 0, system: 0 };

/** Of all threads of a process, and of the processes that it has started and that run. */
export function processorTime(pid: number): ProcessorTime {
  const [own, children] = ['stat', `task/${pid}/children`].map(name =>
    readFileSync(`/proc/${pid}/${name}`, 'utf8'),
  );
  // The name of the program, which is in brackets, may have blanks in it.
  const fields = own?.slice(own.lastIndexOf(')') + 2).split(' ') ?? [];
  const [user, system] = [Number(fields[11]) * tickUs, Number(fields[12]) * tickUs];
  return (children ?? '')
    .split(' ')
    .filter(Boolean)
    .map(child => processorTime(Number(child)))
    .reduce((sum, time) => ({ user: sum.user + time.user, system: sum.system + time.system }), {
      user,
      system,
    });
}

export function since(before: ProcessorTime = none, now: ProcessorTime): ProcessorTime {
  return { user: now.user - before.user, system: now.system - before.system };
}
