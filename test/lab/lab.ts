/**
 * A lab: nodes and pods made of network namespaces on this machine, for tests, for the benchmark and for the demo.
 *
 *   await using lab = await Lab.create({ name: 'hello', nodes: ['node-a', 'node-b'] });
 *   const [client, server] = await lab.pods([{ name: 'client', node: 'node-a' }, { name: 'server', node: 'node-b' }]);
 *   server.spawn('redis-server', []);
 *
 * Everything is written down before it is made (record.ts), so that what a killed process leaves can be swept.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CulvertError } from '../../base/errors.ts';
import { freeSlot, nodeAddresses, outsideAddresses, podAddresses } from './addresses.ts';
import { AgentProcess, type AgentProcessOptions } from './agent-process.ts';
import { Capture, type CaptureOptions } from './capture.ts';
import { cgroup2Mount, killCgroup, makeCgroup, removeCgroup } from './cgroup.ts';
import { command, ip } from './commands.ts';
import { type ConfigOptions, writeConfig } from './kubernetes.ts';
import { makeNamespaces, type NodeWiring, unplugPod, wireNodes, wirePods } from './network.ts';
import { Place, type PlaceParts, type SpawnOptions } from './place.ts';
import { LabPod, type PodSpec } from './pod.ts';
import type { LabProcess } from './process.ts';
import { isAlive, type LabRecord, loadRecord, saveRecord, thisProcess } from './record.ts';
import { endWithOwner } from './signals.ts';
import { killInNamespaces, namespaceFilesDirectory, removeNamespaceFiles, sweep, takeDown } from './sweep.ts';

export interface LabOptions {
  /** Two labs of different names may run side by side; lower-case letters, digits and dashes. */
  readonly name: string;
  /** At most 200 names. */
  readonly nodes: readonly string[];
  /** True unless said. */
  readonly ipv6?: boolean;
  readonly pods?: readonly PodSpec[];
  /** False: leaves SIGINT and SIGTERM to the caller. */
  readonly signals?: boolean;
}

/** A node: its namespace runs the agent, its cgroup is above the agent's and those of its pods. */
export class LabNode extends Place {
  readonly wiring: NodeWiring;

  constructor(parts: PlaceParts, wiring: NodeWiring) {
    super(parts);
    this.wiring = wiring;
  }

  // Pods have Kubernetes names, so a name with an underscore is never one of theirs.
  override spawn(file: string, args: readonly string[] = [], options: SpawnOptions = {}): LabProcess {
    return super.spawn(file, args, { group: '_node', ...options });
  }
}

export class Lab implements AsyncDisposable {
  readonly name: string;
  readonly ipv6: boolean;
  /** For logs, captures and agents' state; goes with the lab. */
  readonly directory: string;
  readonly nodes: readonly LabNode[];
  /** A machine beside the nodes that belongs to no cluster; the way out of every node leads here. */
  readonly outside: Place;
  readonly #pods = new Map<string, LabPod>();
  readonly #record: LabRecord;
  readonly #making = new Set<Promise<unknown>>();
  #forgetOwner: () => void = () => {};
  #interfaces = 0;
  #disposed: Promise<void> | null = null;

  private constructor(options: LabOptions) {
    this.name = options.name;
    this.ipv6 = options.ipv6 ?? true;
    this.directory = join(tmpdir(), `culvert-lab-${options.name}`);
    this.#record = {
      name: options.name,
      owner: thisProcess(),
      directory: this.directory,
      cgroup: join(cgroup2Mount(), `cv-${options.name}`),
      namespaces: [],
      mounts: [],
      legacyCgroups: [],
      interfaces: [],
    };
    const { ipv6 } = this;
    this.outside = new Place({
      ...this.#parts('outside', '_outside'),
      addresses: outsideAddresses(ipv6),
      ownFiles: true,
    });
    this.nodes = options.nodes.map((name, position) => {
      const parts = this.#parts(name, name);
      const wiring = { netns: parts.netns, index: position + 1 };
      return new LabNode({ ...parts, addresses: nodeAddresses(wiring.index, ipv6), ownFiles: false }, wiring);
    });
  }

  /** Builds a lab, after removing what an earlier one of the same name left behind. Needs root. */
  static async create(options: LabOptions): Promise<Lab> {
    requireFitness(options);
    const lab = new Lab(options);
    await sweep(options.name);
    // Written down before anything is made, and again before each addition.
    lab.#remember([lab.outside.netns, ...lab.nodes.map(node => node.netns)]);
    lab.#forgetOwner = endWithOwner(lab, options.signals ?? true);
    try {
      await lab.#unhurried(lab.#build());
      await lab.pods(options.pods ?? []);
    } catch (error) {
      await lab.dispose();
      throw error;
    }
    return lab;
  }

  /** The lab of this name that was kept, for another process to work with, or null. Disposing of it leaves it up. */
  static reopen(options: LabOptions): Lab | null {
    const record = loadRecord(options.name);
    if (record === null || record.owner !== null) return null;
    const lab = new Lab(options);
    lab.#record.owner = null;
    lab.#record.namespaces.push(...record.namespaces);
    lab.#record.mounts.push(...record.mounts);
    lab.#record.legacyCgroups.push(...record.legacyCgroups);
    lab.#record.interfaces.push(...record.interfaces);
    lab.#disposed = Promise.resolve();
    return lab;
  }

  /** Removes the lab of this name or, without one, each whose owner has died; returns the names of those removed. */
  static sweep(name: string | null = null): Promise<string[]> {
    return sweep(name);
  }

  node(name: string): LabNode {
    const node = this.nodes.find(candidate => candidate.name === name);
    if (node === undefined) throw new CulvertError('LAB_NO_SUCH_NODE', `the lab has no node ${name}`);
    return node;
  }

  /** The pods there are, in the order they were made. */
  get allPods(): readonly LabPod[] {
    return [...this.#pods.values()];
  }

  async pod(spec: PodSpec): Promise<LabPod> {
    const [pod] = await this.pods([spec]);
    if (pod === undefined) throw new CulvertError('LAB_POD_MISSING', `pod ${spec.name} was not made`);
    return pod;
  }

  /** Makes pods, many as fast as one. */
  pods(specs: readonly PodSpec[]): Promise<LabPod[]> {
    return this.#unhurried(this.#makePods(specs));
  }

  /** Gives the machine outside one more address, to stand for a host somewhere on the Internet. */
  async addOutsideAddress(address: string): Promise<void> {
    const bits = address.includes(':') ? 128 : 32;
    await ip(this.outside.netns, [`addr add ${address}/${bits} dev lo${bits === 128 ? ' nodad' : ''}`]);
  }

  /** Starts an agent for a node, in its namespace, and waits until it is ready. */
  async agent(node: LabNode, options: AgentProcessOptions): Promise<AgentProcess> {
    const stateDirectory = join(this.directory, node.name);
    const bpffs = join(stateDirectory, 'bpf');
    if (!this.#record.mounts.includes(bpffs)) {
      mkdirSync(bpffs, { recursive: true, mode: 0o700 });
      this.#record.mounts.push(bpffs);
      saveRecord(this.#record);
      // Its own, so that nothing is pinned where other labs or the machine look.
      await command('mount', ['-t', 'bpf', 'culvert-lab', bpffs]);
    }
    return AgentProcess.start(node, { ...options, stateDirectory, bpffs });
  }

  /** Records packets on an interface of a place until `stop`; returns when it has begun. */
  async capture(place: Place, device: string, options: CaptureOptions = {}): Promise<Capture> {
    return Capture.start(place, device, join(this.directory, 'logs'), options);
  }

  /** Writes the lab's namespaces, service accounts and pods, and what else is given, as Kubernetes YAML. */
  writeConfig(directory: string, options: ConfigOptions = {}): void {
    writeConfig(directory, this.allPods, options);
  }

  /** Has what others are about to make on this machine removed with the lab. */
  remember(made: {
    readonly legacyCgroups?: readonly string[];
    readonly interfaces?: readonly string[];
  }): void {
    this.#record.legacyCgroups.push(...(made.legacyCgroups ?? []));
    this.#record.interfaces.push(...(made.interfaces ?? []));
    saveRecord(this.#record);
  }

  /** Leaves everything running when this process ends; `Lab.sweep(name)` takes it down. */
  keep(): void {
    this.#forgetOwner();
    this.#record.owner = null;
    saveRecord(this.#record);
    for (const place of [this.outside, ...this.nodes, ...this.allPods]) place.unref();
    this.#disposed = Promise.resolve();
  }

  /** Ends all programs and removes everything that was made. */
  dispose(): Promise<void> {
    this.#disposed ??= Promise.allSettled(this.#making)
      .then(() => takeDown(this.#record))
      .finally(() => this.#forgetOwner());
    return this.#disposed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #build(): Promise<void> {
    rmSync(this.directory, { recursive: true, force: true });
    mkdirSync(join(this.directory, 'logs'), { recursive: true, mode: 0o700 });
    makeCgroup(this.outside.cgroup);
    for (const node of this.nodes)
      for (const group of ['_node', '_agent']) makeCgroup(join(node.cgroup, group));
    await makeNamespaces([this.outside.netns, ...this.nodes.map(node => node.netns)]);
    await wireNodes(
      this.outside.netns,
      this.nodes.map(node => node.wiring),
      this.ipv6,
    );
  }

  async #makePods(specs: readonly PodSpec[]): Promise<LabPod[]> {
    const pods = specs.map(spec => this.#register(spec));
    this.#remember(pods.map(pod => pod.netns));
    for (const pod of pods) {
      makeCgroup(pod.cgroup);
      this.#writeResolver(pod.netns, pod.namespace);
    }
    await makeNamespaces(pods.map(pod => pod.netns));
    await wirePods(
      pods.map(pod => pod.wiring),
      this.ipv6,
    );
    return pods;
  }

  #parts(name: string, group: string): Omit<PlaceParts, 'addresses' | 'ownFiles'> {
    return {
      name,
      netns: `cv-${this.name}-${name}`,
      cgroup: join(this.#record.cgroup, group),
      logs: join(this.directory, 'logs'),
    };
  }

  #register(spec: PodSpec): LabPod {
    const node = this.node(spec.node);
    const { wiring: bridge } = this.node(spec.pluggedInto ?? spec.node);
    const parts = this.#parts(
      spec.name,
      join(spec.outsideCgroupRoot === true ? '_outside' : node.name, spec.name),
    );
    if (this.#record.namespaces.includes(parts.netns)) {
      throw new CulvertError('LAB_NAME_TAKEN', `the lab has something called ${spec.name} already`);
    }
    const slot = spec.slot ?? freeSlot(this.#slotsOf(bridge));
    const pod = new LabPod({
      ...parts,
      spec,
      addresses: podAddresses(bridge.index, slot, this.ipv6),
      ownFiles: true,
      wiring: { netns: parts.netns, node: bridge, slot, hostInterface: `pod${++this.#interfaces}` },
      remove: removed => this.#deletePod(removed),
    });
    this.#pods.set(spec.name, pod);
    return pod;
  }

  async #deletePod(pod: LabPod): Promise<void> {
    await killCgroup(pod.cgroup);
    killInNamespaces([pod.netns]);
    await unplugPod(pod.wiring);
    await ip(null, [`netns del ${pod.netns}`]);
    removeNamespaceFiles(pod.netns);
    await removeCgroup(pod.cgroup);
    this.#pods.delete(pod.name);
    this.#record.namespaces.splice(this.#record.namespaces.indexOf(pod.netns), 1);
    saveRecord(this.#record);
  }

  #slotsOf(bridge: NodeWiring): Set<number> {
    return new Set(this.allPods.filter(pod => pod.wiring.node === bridge).map(pod => pod.wiring.slot));
  }

  /** The resolver configuration that a kubelet writes; queries go to the machine outside, where a test may answer. */
  #writeResolver(netns: string, namespace: string): void {
    const directory = join(namespaceFilesDirectory, netns);
    mkdirSync(directory, { recursive: true });
    const domains = [`${namespace}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'];
    const lines = [`nameserver ${this.outside.address}`, `search ${domains.join(' ')}`, 'options ndots:5'];
    writeFileSync(join(directory, 'resolv.conf'), `${lines.join('\n')}\n`);
  }

  /** What is being made when the end comes is finished first, or it would be made after its removal. */
  async #unhurried<T>(making: Promise<T>): Promise<T> {
    this.#making.add(making);
    try {
      return await making;
    } finally {
      this.#making.delete(making);
    }
  }

  #remember(namespaces: readonly string[]): void {
    this.#record.namespaces.push(...namespaces);
    saveRecord(this.#record);
  }
}

function requireFitness(options: LabOptions): void {
  if (process.getuid?.() !== 0) {
    throw new CulvertError('LAB_NEEDS_ROOT', 'making network namespaces needs root', {
      fix: 'run it with sudo',
    });
  }
  if (!/^[a-z0-9][a-z0-9-]{0,40}$/.test(options.name)) {
    throw new CulvertError(
      'LAB_NAME',
      `${options.name}: a lab's name is lower-case letters, digits and dashes`,
    );
  }
  const owner = loadRecord(options.name)?.owner ?? null;
  if (owner !== null && isAlive(owner)) {
    throw new CulvertError('LAB_IN_USE', `process ${owner.pid} has a lab ${options.name} already`, {
      fix: 'choose another name',
    });
  }
}
