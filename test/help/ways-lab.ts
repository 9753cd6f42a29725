/**
 * A stage for tests of what applications see of each other: two nodes with an agent each, a client, a pod beside it, a pod on
 * the other node, and the machine outside. A connection can go four ways.
 */
import type { Place } from '../lab/place.ts';
import type { LabPod } from '../lab/pod.ts';
import { AgentLab, type AgentLabOptions } from './agent-lab.ts';
import type { RemoteConnection } from './remote-sockets.ts';

export interface Way {
  readonly name: string;
  readonly from: Place;
  readonly to: Place;
  /** What the access line of a connection says that nothing goes wrong with, and whose agent writes it. */
  readonly line: { readonly node: string; readonly direction: string; readonly security: string };
}

export class WaysLab implements AsyncDisposable {
  readonly agents: AgentLab;
  readonly client: LabPod;
  readonly near: LabPod;
  readonly far: LabPod;
  readonly outside: Place;
  readonly all: readonly Way[];

  private constructor(agents: AgentLab) {
    this.agents = agents;
    const client = agents.pod('client');
    const near = agents.pod('near');
    const far = agents.pod('far');
    const { outside } = agents.lab;
    const line = (node: string, direction: string, security: string): Way['line'] => ({
      node,
      direction,
      security,
    });
    this.all = [
      { name: 'cross node', from: client, to: far, line: line('node-b', 'inbound', 'mutual_tls') },
      { name: 'same node', from: client, to: near, line: line('node-a', 'local', 'local') },
      { name: 'to outside', from: client, to: outside, line: line('node-a', 'outbound', 'plaintext') },
      { name: 'from outside', from: outside, to: far, line: line('node-b', 'inbound', 'plaintext') },
    ];
    [this.client, this.near, this.far, this.outside] = [client, near, far, outside];
  }

  static async create(name: string, agent: AgentLabOptions['agent'] = {}): Promise<WaysLab> {
    const pods = [
      { name: 'client', namespace: 'shop', node: 'node-a' },
      { name: 'near', namespace: 'shop', node: 'node-a' },
      { name: 'far', namespace: 'shop', node: 'node-b' },
    ];
    return new WaysLab(await AgentLab.create({ name, pods, agent }));
  }

  /** A connection to a port of its own, both ends; nobody listens there any more. */
  async connected(
    { from, to }: Way,
    port: number,
    address = to.address,
  ): Promise<[client: RemoteConnection, server: RemoteConnection]> {
    const [clients, servers] = await Promise.all([this.agents.sockets(from), this.agents.sockets(to)]);
    const listener = await servers.listen(address, port);
    const [opened, accepted] = await Promise.all([clients.connect(address, port), listener.accept()]);
    await listener.close();
    return [opened, accepted];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agents[Symbol.asyncDispose]();
  }
}
