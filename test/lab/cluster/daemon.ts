/**
 * A program of the cluster that a test may kill and start again, also one that another process has started.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { CulvertError } from '../../../base/errors.ts';
import { eventually } from '../eventually.ts';
import type { LabProcess } from '../process.ts';
import { identify, isAlive, type Owner } from '../record.ts';

export interface DaemonParts {
  readonly name: string;
  readonly spawn: () => LabProcess;
  /** Whether it runs in a namespace of process ids of its own. */
  readonly inside: boolean;
  /** The running one, if it has been started already. */
  readonly known: Owner | null;
  /** Called after each start. */
  readonly started: () => void;
}

export class Daemon {
  readonly name: string;
  readonly #spawn: () => LabProcess;
  readonly #inside: boolean;
  readonly #started: () => void;
  #process: Owner | null;

  constructor(parts: DaemonParts) {
    this.name = parts.name;
    this.#spawn = parts.spawn;
    this.#inside = parts.inside;
    this.#started = parts.started;
    this.#process = parts.known;
  }

  /** The program itself, as this machine numbers it; null before its first start. */
  get process(): Owner | null {
    return this.#process;
  }

  get running(): boolean {
    return this.#process !== null && isAlive(this.#process) && !hasEnded(this.#process.pid);
  }

  async start(): Promise<LabProcess> {
    const spawned = this.#spawn();
    // It ends with the lab, and it does not keep a process alive that has nothing more to do.
    spawned.unref();
    const { pid } = spawned;
    const program = this.#inside
      ? await eventually(() => !spawned.running || childOf(pid), { what: `the start of ${this.name}` })
      : pid;
    if (typeof program !== 'number') throw new CulvertError('LAB_PROCESS_ENDED', spawned.stderr());
    this.#process = identify(program);
    this.#started();
    return spawned;
  }

  /** Ends it and waits until it has ended. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.#process === null || !this.running) return;
    process.kill(this.#process.pid, signal);
    await eventually(() => !this.running, { timeoutMs: 60_000, what: `the end of ${this.name}` });
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }
}

/** The process that stays behind at the door of a namespace of process ids has one child: who went in. */
function childOf(pid: number): number | null {
  const [child = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
  return child === '' ? null : Number(child);
}

/** Ended, but its parent has not noticed yet. As long as one thread is there, its sockets are, and nobody else can listen on them. */
function hasEnded(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every(thread => isZombie(`/proc/${pid}/task/${thread}/stat`));
  } catch {
    return true;
  }
}

function isZombie(path: string): boolean {
  try {
    const stat = readFileSync(path, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return true;
  }
}
