/**
 * A stage for the tests of redirection: real namespaces and programs, the real Redirect, and in place of the agent a
 * few lines that say what they were given. The test's own process is the agent, so it moves into the agent's cgroup.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PodPorts } from '../../agent/config.ts';
import { Redirect, type RedirectOptions } from '../../agent/redirect.ts';
import * as native from '../../native/native.ts';
import { cgroup2Mount } from '../lab/cgroup.ts';
import { Lab, type LabNode } from '../lab/lab.ts';
import type { LabPod } from '../lab/pod.ts';
import type { LabProcess } from '../lab/process.ts';
import { PodAgent, type PodAgentOptions } from './redirect-agent.ts';

export const ports: PodPorts = { outbound: 15001, plaintext: 15006, hbone: 15008, dns: 15053 };

export interface Call {
  readonly to: readonly [string, number];
  readonly also?: readonly (readonly [string, number])[];
  readonly again?: readonly [string, number];
  readonly kind?: 'tcp' | 'udp' | 'mptcp';
  readonly family?: 4 | 6;
  readonly bind?: readonly [string, number];
  readonly device?: string;
  readonly nonblocking?: boolean;
  readonly fastopen?: 'connect' | 'sendto';
  readonly connected?: boolean;
  readonly send?: string;
  readonly hold?: boolean;
  readonly timeout?: number;
}

/** What a program in a pod saw of one call. */
export interface Seen {
  readonly sockname?: [string, number];
  readonly peername?: [string, number];
  readonly source?: [string, number];
  readonly received?: string;
  readonly error?: string;
}

export class RedirectLab implements AsyncDisposable {
  readonly lab: Lab;
  readonly node: LabNode;
  readonly bpffs: string;
  readonly #home: string;
  readonly #agents = new Set<PodAgent>();
  redirect: Redirect;

  private constructor(lab: Lab, node: LabNode, bpffs: string, home: string) {
    this.lab = lab;
    this.node = node;
    this.bpffs = bpffs;
    this.#home = home;
    this.redirect = this.open();
  }

  static async create(name: string, podNames: readonly string[]): Promise<RedirectLab> {
    const home = join(ownCgroup(), 'cgroup.procs');
    // Before the lab's own: it kills everything in its cgroups.
    process.on('exit', () => writeFileSync(home, String(process.pid)));
    const lab = await Lab.create({
      name: `cvbpf-${name}`,
      nodes: ['n'],
      pods: podNames.map(pod => ({ name: pod, node: 'n' })),
    });
    const node = lab.node('n');
    const bpffs = `/run/culvert-redirect-${name}`;
    mkdirSync(bpffs, { recursive: true });
    // What a killed run has left pinned goes with its mount.
    while (!native.mountBpffs(bpffs)) native.unmount(bpffs);
    writeFileSync(join(node.cgroup, '_agent', 'cgroup.procs'), String(process.pid));
    try {
      return new RedirectLab(lab, node, bpffs, home);
    } catch (error) {
      writeFileSync(home, String(process.pid));
      await lab.dispose();
      throw error;
    }
  }

  get options(): RedirectOptions {
    return {
      cgroupRoot: this.node.cgroup,
      agentCgroup: join(this.node.cgroup, '_agent'),
      bpffs: this.bpffs,
      instance: 'node.test',
      ports,
      heartbeatTimeoutMs: 60_000,
    };
  }

  /** Opens a Redirect over what is pinned, as a restarted agent does. */
  open(changes: Partial<RedirectOptions> = {}): Redirect {
    return Redirect.open({ ...this.options, ...changes });
  }

  /** Starts an agent as a process of its own, in the agent's cgroup. */
  spawnAgent(script: string, pods: readonly object[]): LabProcess {
    const options = JSON.stringify({ redirect: this.options, pods });
    return this.node.spawn(process.execPath, [script, options], { group: '_agent' });
  }

  pod(name: string): LabPod {
    const pod = this.lab.allPods.find(candidate => candidate.name === name);
    if (pod === undefined) throw new Error(`no pod ${name}`);
    return pod;
  }

  /** Opens the agent's listeners in a pod and enrols it. */
  async enrol(pod: LabPod, options: Partial<PodAgentOptions> = {}): Promise<PodAgent> {
    const agent = await PodAgent.start(() => this.redirect, pod, {
      addresses: [pod.address, pod.address6],
      ports,
      ...options,
    });
    this.#agents.add(agent);
    return agent;
  }

  /** Runs a program in a pod that makes these calls, one after the other. */
  async calls(pod: LabPod, calls: readonly Call[]): Promise<Seen[]> {
    const { stdout } = await pod.run('python3', [clientPath, JSON.stringify(calls)]);
    return JSON.parse(stdout) as Seen[];
  }

  async call(pod: LabPod, call: Call): Promise<Seen> {
    const [seen = {}] = await this.calls(pod, [call]);
    return seen;
  }

  /** Starts a server in a pod and waits until it listens. */
  async serve(
    pod: LabPod,
    host: string,
    port: number,
    family: '4' | '6' | '46',
    protocol = 0,
  ): Promise<AsyncDisposable> {
    const server = pod.spawn('python3', [serverPath, host, String(port), family, String(protocol)]);
    await server.says(/ready/);
    return server;
  }

  /** Counters that changed while `act` ran. */
  async counted(act: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = this.redirect.counters();
    await act();
    const after = this.redirect.counters();
    const changed = Object.entries(after).map(([name, value]) => [
      name,
      Number(value - before[name as keyof typeof before]),
    ]);
    return Object.fromEntries(changed.filter(([, difference]) => difference !== 0)) as Record<string, number>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents) await agent.stop();
    this.redirect.close();
    native.unmount(this.bpffs);
    rmSync(this.bpffs, { recursive: true, force: true });
    writeFileSync(this.#home, String(process.pid));
    await this.lab.dispose();
  }
}

const clientPath = join(import.meta.dirname, 'redirect-client.py');
const serverPath = join(import.meta.dirname, 'redirect-server.py');

function ownCgroup(): string {
  const path = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  return join(cgroup2Mount(), path);
}
