/**
 * The real agent as an ordinary process on a node of the lab: which flags it gets, when it is ready, what it tells.
 *
 * It runs in the node's network namespace with the machine's own files, and in a cgroup below the one that its hooks hang
 * on, as a DaemonSet's pod would. What is started is its keeper, which starts it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CulvertError } from '../../base/errors.ts';
import { eventually } from './eventually.ts';
import type { Place } from './place.ts';
import type { Exit, LabProcess } from './process.ts';

export interface AgentProcessOptions {
  /** Directory of Kubernetes YAML. */
  readonly configDir: string;
  readonly shards?: number;
  /** File for access lines; `access.log` in the state directory unless said, '' is none. */
  readonly accessLog?: string;
  readonly logLevel?: string;
  /** CPUs, as `taskset -c` takes them. */
  readonly cpus?: string;
  readonly openFiles?: number;
  /** Checkout of another build, whose agent it is. */
  readonly build?: string;
  /** Further flags of `culvert run`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** False: does not wait until it is ready. */
  readonly waitUntilReady?: boolean;
}

interface Directories {
  readonly stateDirectory: string;
  readonly bpffs: string;
}

/** One sample of the Prometheus text. */
export interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const thisBuild = fileURLToPath(new URL('../..', import.meta.url));
const adminPort = 15000;
const metricsPort = 15020;
const readinessPort = 15021;
const readyTimeoutMs = 20_000;
const stopGraceMs = 30_000;

export class AgentProcess implements AsyncDisposable {
  readonly node: Place;
  readonly process: LabProcess;
  readonly stateDirectory: string;
  readonly bpffs: string;
  readonly accessLogPath: string;

  private constructor(node: Place, process: LabProcess, directories: Directories, accessLogPath: string) {
    this.node = node;
    this.process = process;
    this.stateDirectory = directories.stateDirectory;
    this.bpffs = directories.bpffs;
    this.accessLogPath = accessLogPath;
  }

  static async start(node: Place, options: AgentProcessOptions & Directories): Promise<AgentProcess> {
    const { stateDirectory, bpffs, configDir } = options;
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
    const accessLog = options.accessLog ?? join(stateDirectory, 'access.log');
    const flags = ['--config', configDir, '--node', node.name, '--state-dir', stateDirectory];
    flags.push('--cgroup-root', node.cgroup, '--bpffs', bpffs, '--access-log', accessLog);
    if (options.shards !== undefined) flags.push('--shards', String(options.shards));
    if (options.logLevel !== undefined) flags.push('--log-level', options.logLevel);
    const launcher = join(options.build ?? thisBuild, 'cli/culvert');
    const process = node.spawn(launcher, ['run', ...flags, ...(options.args ?? [])], {
      group: '_agent',
      ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
      ...(options.openFiles === undefined ? {} : { openFiles: options.openFiles }),
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    const agent = new AgentProcess(node, process, { stateDirectory, bpffs }, accessLog);
    if (options.waitUntilReady !== false) await agent.ready();
    return agent;
  }

  /** Of the agent itself, whose parent `process` is. */
  get pid(): number {
    const { pid } = this.process;
    const children = `/proc/${pid}/task/${pid}/children`;
    // Not every kernel of test/kernels need have it.
    const [child] = existsSync(children) ? readFileSync(children, 'utf8').split(' ') : [];
    return child === undefined || child === '' ? pid : Number(child);
  }

  /** Waits until it says that it is ready. Throws LAB_AGENT_ENDED with its last words when it ends instead. */
  async ready(timeoutMs = readyTimeoutMs): Promise<void> {
    const path = '/healthz/ready';
    await eventually(async () => !this.process.running || (await this.get(readinessPort, path)) !== null, {
      timeoutMs,
      what: `readiness of the agent on ${this.node.name} (${this.process.stderrPath})`,
    });
    if (this.process.running) return;
    const { code, signal } = await this.process.exited;
    const said = (this.process.stderr().trim() || this.process.stdout().trim()).slice(-3_000);
    throw new CulvertError(
      'LAB_AGENT_ENDED',
      `the agent on ${this.node.name} ended with ${code ?? signal} instead of becoming ready: ${said}`,
    );
  }

  /** GET from its loopback; null while it refuses or answers with an error. */
  async get(port: number, path: string): Promise<string | null> {
    const url = `http://127.0.0.1:${port}${path}`;
    const result = await this.node.run('curl', ['-sSf', '--max-time', '5', url], { check: false });
    return result.code === 0 ? result.stdout : null;
  }

  /** GET from the admin interface; throws when it does not answer. */
  async admin(path: string): Promise<string> {
    return this.#must(adminPort, path);
  }

  async metrics(): Promise<MetricSample[]> {
    return parseMetrics(await this.#must(metricsPort, '/metrics'));
  }

  /** Sum of all samples of a metric whose labels include these. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    return (await this.metrics())
      .filter(
        sample =>
          sample.name === name &&
          Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
      )
      .reduce((sum, sample) => sum + sample.value, 0);
  }

  /** Lines of the access log so far. */
  accessLines(): string[] {
    if (!existsSync(this.accessLogPath)) return [];
    return readFileSync(this.accessLogPath, 'utf8').split('\n').filter(Boolean);
  }

  /** Resident memory in bytes, all threads together, and its keeper's. */
  residentBytes(): number {
    const pids = new Set([this.process.pid, this.pid]);
    return [...pids].reduce((sum, pid) => sum + this.#residentBytes(pid), 0);
  }

  /** SIGTERM: it drains and ends, or is killed when it has not after `graceMs`. */
  stop(graceMs = stopGraceMs): Promise<Exit> {
    return this.process.stop('SIGTERM', graceMs);
  }

  /** kill -9, whatever it is doing, and nobody is left who keeps anything. */
  async kill(): Promise<Exit> {
    if (!this.process.running) return this.process.exited;
    const { pid } = this;
    this.process.kill('SIGKILL');
    const exit = await this.process.exited;
    await untilGone(pid);
    return exit;
  }

  /** kill -9 of the agent alone; returns when it has ended. Its keeper starts another one. */
  async crash(): Promise<void> {
    const { pid } = this;
    process.kill(pid, 'SIGKILL');
    await untilGone(pid);
  }

  /** As `crash`, and the next agent does nothing until the returned function is called. */
  async crashAndHold(): Promise<() => void> {
    const before = this.pid;
    await this.crash();
    const keeper = readlinkSync(`/proc/${this.process.pid}/exe`);
    // Held before it has become another program, it would hold what its keeper holds.
    const isNext = (pid: number): boolean => pid !== before && readlinkSync(`/proc/${pid}/exe`) !== keeper;
    const next = await eventually(() => isNext(this.pid) && this.pid, {
      intervalMs: 2,
      what: 'the next agent',
    });
    process.kill(next, 'SIGSTOP');
    return () => process.kill(next, 'SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #residentBytes(pid: number): number {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
    if (kibibytes === undefined)
      throw new CulvertError('LAB_AGENT_ENDED', `the agent on ${this.node.name} has ended`);
    return Number(kibibytes) * 1024;
  }

  async #must(port: number, path: string): Promise<string> {
    return (await this.node.run('curl', ['-sSf', '--max-time', '5', `http://127.0.0.1:${port}${path}`]))
      .stdout;
  }
}

/** A process that is killed holds its sockets until its last thread has ended, though its first is a zombie already. */
async function untilGone(pid: number): Promise<void> {
  const gone = (): boolean => {
    try {
      const tasks = readdirSync(`/proc/${pid}/task`);
      const state = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0];
      return state === 'Z' && tasks.length === 1;
    } catch {
      return true;
    }
  };
  await eventually(gone, { intervalMs: 2, what: `process ${pid} to be gone` });
}

/** Reads the Prometheus text format as far as an agent writes it. */
export function parseMetrics(text: string): MetricSample[] {
  const samples: MetricSample[] = [];
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null) continue;
    const [, name = '', labelText = '', value = ''] = match;
    const labels: Record<string, string> = {};
    for (const [, key = '', quoted = ''] of labelText.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[key] = quoted.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    }
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}
