/**
 * A place where programs run: a network namespace with a cgroup. Pods, nodes and the world outside are places.
 *
 * A program is started by a shell that first joins the cgroup, so that every socket it will ever have belongs there, and
 * then becomes the program by exec: what runs is unmodified and its process id is known.
 */
import { join } from 'node:path';
import { CulvertError } from '../../base/errors.ts';
import type { Addresses } from './addresses.ts';
import { type Exit, LabProcess, type ProcessOptions } from './process.ts';
import { namespaceDirectory } from './sweep.ts';

export interface SpawnOptions extends ProcessOptions {
  /** CPUs that it may use, as `taskset -c` takes them: `1` or `0,1`. */
  readonly cpus?: string;
  /** File descriptors that it may have, or as many as this machine allows. */
  readonly openFiles?: number;
  /** Cgroup below the place's own. */
  readonly group?: string;
}

export interface RunOptions extends SpawnOptions {
  /** Given on standard input. */
  readonly input?: string;
  /** False: a non-zero exit is returned instead of thrown. */
  readonly check?: boolean;
  /** Killed after this; 60 s unless said. */
  readonly timeoutMs?: number;
}

export interface RunResult extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

const joinAndBecome = [
  'group=$1 files=$2; shift 2',
  'echo $$ > "$group/cgroup.procs" || exit 125',
  // Lifting the hard limit takes a capability that root in a container may lack; then it is what there is.
  'if [ "$files" -gt 0 ]; then ulimit -n "$files" 2>/dev/null || ulimit -n "$(ulimit -H -n)" || exit 125; fi',
  'exec "$@"',
].join('\n');

export interface PlaceParts {
  readonly name: string;
  /** Name of the namespace for `ip netns`. */
  readonly netns: string;
  readonly cgroup: string;
  readonly addresses: Addresses;
  readonly logs: string;
  /**
   * True: programs get their own /etc/resolv.conf and a /sys that shows this namespace (`ip netns exec`), and do not see
   * cgroups and BPF file systems. False: the machine's files (`nsenter`), as an agent on a node needs them.
   */
  readonly ownFiles: boolean;
}

export class Place {
  readonly name: string;
  readonly netns: string;
  /** A path for `setns`, and for the annotation that tells the agent where a pod lives. */
  readonly netnsPath: string;
  readonly cgroup: string;
  readonly addresses: Addresses;
  readonly #logs: string;
  readonly #ownFiles: boolean;
  readonly #processes = new Set<LabProcess>();

  constructor(parts: PlaceParts) {
    this.name = parts.name;
    this.netns = parts.netns;
    this.netnsPath = join(namespaceDirectory, parts.netns);
    this.cgroup = parts.cgroup;
    this.addresses = parts.addresses;
    this.#logs = parts.logs;
    this.#ownFiles = parts.ownFiles;
  }

  get address(): string {
    return this.addresses.v4;
  }

  get address6(): string {
    const { v6 } = this.addresses;
    if (v6 === null) throw new CulvertError('LAB_NO_IPV6', `${this.name} is in a lab without IPv6`);
    return v6;
  }

  /** Starts a program and returns at once. */
  spawn(file: string, args: readonly string[] = [], options: SpawnOptions = {}): LabProcess {
    const enter = this.#ownFiles
      ? ['ip', 'netns', 'exec', this.netns]
      : ['nsenter', `--net=${this.netnsPath}`];
    const group = options.group === undefined ? this.cgroup : join(this.cgroup, options.group);
    const pin = options.cpus === undefined ? [] : ['taskset', '-c', options.cpus];
    const files = String(options.openFiles ?? 0);
    const argv = ['sh', '-c', joinAndBecome, 'sh', group, files, ...pin, ...enter, file, ...args];
    const started = new LabProcess(file, argv, this.#logs, options);
    this.#processes.add(started);
    void started.exited.then(() => this.#processes.delete(started));
    return started;
  }

  /** Runs a program to its end. Throws LAB_PROGRAM_FAILED with what it said, unless told not to check. */
  async run(file: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
    const { timeoutMs = 60_000, check = true } = options;
    const program = this.spawn(file, args, options);
    const timer = setTimeout(() => program.kill('SIGKILL'), timeoutMs);
    program.stdin.end(options.input ?? '');
    const exit = await program.exited;
    clearTimeout(timer);
    const result = { ...exit, stdout: program.stdout(), stderr: program.stderr() };
    program.discardOutput();
    if (check && exit.code !== 0) {
      const said = (result.stderr.trim() || result.stdout.trim()).slice(-2_000);
      throw new CulvertError(
        'LAB_PROGRAM_FAILED',
        `${file} ${args.join(' ')} in ${this.name} ended with ${exit.code ?? exit.signal}: ${said}`,
      );
    }
    return result;
  }

  /** What a person types to look around in here. */
  get enterCommand(): string {
    return `ip netns exec ${this.netns} sh`;
  }

  /** Lets our process end while the programs here go on. */
  unref(): void {
    for (const running of this.#processes) running.unref();
  }
}
