/**
 * `culvert control` as a process of its own, against the API server of the benchmark, and what it costs.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CulvertError } from '../../base/errors.ts';
import type { ControlStatus } from '../../control/surface.ts';

export interface PlaneOptions {
  readonly kubeconfig: string;
  /** Of Node, as the launcher of the image gives them. */
  readonly nodeFlags: readonly string[];
}

export interface PlanePorts {
  readonly grpc: number;
  readonly metrics: number;
  readonly ready: number;
  readonly admin: number;
}

const lookMs = 25;
/** What `stat` in /proc counts in: USER_HZ, the same on every Linux that Node has. */
const ticksPerSecond = 100;

export class PlaneProcess implements AsyncDisposable {
  readonly ports: PlanePorts;
  readonly #child: ChildProcess;
  readonly #endBy: 'SIGKILL' | 'SIGTERM';
  #output = '';

  private constructor(options: PlaneOptions, ports: PlanePorts) {
    this.ports = ports;
    // A profile is only written by a process that ends in order.
    this.#endBy = options.nodeFlags.includes('--cpu-prof') ? 'SIGTERM' : 'SIGKILL';
    const cli = resolve(import.meta.dirname, '../../cli/main.ts');
    const settings = {
      kubeconfig: options.kubeconfig,
      address: '127.0.0.1',
      'dns-name': 'localhost',
      identity: 'bench',
      'log-level': 'warn',
      port: ports.grpc,
      'metrics-port': ports.metrics,
      'ready-port': ports.ready,
      'admin-port': ports.admin,
    };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const args = [...options.nodeFlags, cli, 'control', ...words];
    // As the image and the launcher have it.
    const env = { MALLOC_ARENA_MAX: '1', ...process.env };
    this.#child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const output of [this.#child.stdout, this.#child.stderr])
      output?.on('data', (chunk: Buffer) => (this.#output = (this.#output + String(chunk)).slice(-8_192)));
  }

  /** With the same ports as one before, agents find it again. */
  static start(options: PlaneOptions, ports: PlanePorts): PlaneProcess {
    return new PlaneProcess(options, ports);
  }

  /** Resolves when it serves. */
  async ready(deadlineMs: number): Promise<void> {
    for (const end = Date.now() + deadlineMs; ; await delay(lookMs)) {
      this.#mustRun();
      const response = await fetch(`http://127.0.0.1:${this.ports.ready}/healthz/ready`).catch(() => null);
      await response?.body?.cancel();
      if (response?.ok === true) return;
      if (Date.now() > end)
        throw new CulvertError('BENCH_RUN', `the control plane is not ready in time:\n${this.#output}`);
    }
  }

  /** Resident memory, and the most there has been, bytes. */
  resident(): { readonly now: number; readonly most: number } {
    const status = readFileSync(join('/proc', String(this.#child.pid), 'status'), 'utf8');
    const of = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1_024;
    return { now: of('VmRSS'), most: of('VmHWM') };
  }

  /** Processor time since it started, of all threads, seconds. */
  cpuSeconds(): number {
    const stat = readFileSync(join('/proc', String(this.#child.pid), 'stat'), 'utf8');
    // After the name in parentheses: utime and stime are the 12th and 13th.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  }

  async status(): Promise<ControlStatus> {
    const response = await fetch(`http://127.0.0.1:${this.ports.admin}/status`);
    return (await response.json()) as ControlStatus;
  }

  /** The sum of a counter over its labels. */
  async counter(name: string): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.ports.metrics}/metrics`);
    const lines = (await response.text()).matchAll(new RegExp(`^${name}(?:\\{.*\\})? (.*)$`, 'gm'));
    return [...lines].reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** As a crash would. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.kill(this.#endBy);
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #mustRun(): void {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null)
      throw new CulvertError('BENCH_RUN', `the control plane has ended:\n${this.#output}`);
  }
}

/** Ports that are free now; nobody else takes such by chance soon. */
export async function freePorts(): Promise<PlanePorts> {
  const servers = Array.from({ length: 4 }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map(server => once(server, 'listening')));
  const [grpc = 0, metrics = 0, ready = 0, admin = 0] = servers.map(
    server => (server.address() as AddressInfo).port,
  );
  await Promise.all(servers.map(server => once(server.close(), 'close')));
  return { grpc, metrics, ready, admin };
}
