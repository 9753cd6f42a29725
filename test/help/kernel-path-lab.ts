/**
 * A stage for tests of the kernel path: one node, two pods that the mesh knows, and an agent that may leave them to the
 * kernel. Waits for verdicts, and reads the kernel's decisions.
 */
import { AgentLab, type AccessLine } from './agent-lab.ts';
import { eventually } from '../lab/eventually.ts';
import type { LabPod } from '../lab/pod.ts';

export interface KernelPathLabOptions {
  readonly mode: 'off' | 'direct' | 'join';
  /** Bytes that may wait in a join. */
  readonly limit?: number;
  /** Further pods. */
  readonly pods?: readonly string[];
}

const node = 'node-a';

export class KernelPathLab implements AsyncDisposable {
  readonly agents: AgentLab;
  readonly client: LabPod;
  readonly server: LabPod;

  private constructor(agents: AgentLab) {
    this.agents = agents;
    this.client = agents.pod('client');
    this.server = agents.pod('server');
  }

  static async create(name: string, options: KernelPathLabOptions): Promise<KernelPathLab> {
    const { mode, limit, pods = [] } = options;
    const args = ['--kernel-path', mode, ...(limit === undefined ? [] : ['--limit', `joinBytes=${limit}`])];
    const agents = await AgentLab.create({
      name,
      nodes: [node],
      pods: ['client', 'server', ...pods].map(pod => ({
        name: pod,
        namespace: 'shop',
        node,
        serviceAccount: pod,
      })),
      agent: { args },
    });
    return new KernelPathLab(agents);
  }

  /** Connects until the kernel has a verdict and has seen how the programs at both ends use their sockets. */
  async learn(address: string, port: number, connect: () => Promise<unknown>): Promise<void> {
    const before = await this.decisions();
    await eventually(
      async () => {
        await connect();
        const now = await this.decisions();
        return now('path_accepted') > before('path_accepted');
      },
      { timeoutMs: 30_000, what: `a verdict for ${this.name(address, port)}` },
    );
  }

  /** The counters of the BPF programs as they are now. */
  async decisions(): Promise<(name: string) => number> {
    const samples = await this.agents.agent(node).metrics();
    const counts = new Map<string, number>();
    for (const { name, labels, value } of samples)
      if (name === 'culvert_redirect_decisions_total') counts.set(labels['decision'] ?? '', value);
    return name => counts.get(name) ?? 0;
  }

  line(expected: Readonly<Record<string, string | number>>): Promise<AccessLine> {
    return this.agents.line(node, expected);
  }

  name(address: string, port: number): string {
    return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agents[Symbol.asyncDispose]();
  }
}
