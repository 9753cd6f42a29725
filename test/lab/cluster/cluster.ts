/**
 * A Kubernetes cluster on this machine: real etcd, API server, controllers and scheduler, and real nodes with containerd,
 * kubelet and kube-proxy, each of them in namespaces of its own.
 *
 *   await using cluster = await Cluster.up();
 *   await cluster.kubectl.apply(yaml);
 *
 * It stands on a lab (../lab.ts): the nodes are the lab's nodes, the control plane runs on its machine "outside", and it is
 * swept as a lab is. In the machine's own namespace there is nothing but one end of a cable, by which the API server
 * is reached. `main.ts` is the same for people.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../../../base/errors.ts';
import { podSubnet } from '../addresses.ts';
import { ip } from '../commands.ts';
import { eventually } from '../eventually.ts';
import { Lab, type LabNode } from '../lab.ts';
import type { LabProcess } from '../process.ts';
import { loadRecord, type Owner } from '../record.ts';
import { freeCable } from './addresses.ts';
import { type Binaries, buildBinaries, type Progress } from './binaries.ts';
import { type CgroupLayout, machineLayout, planNodeCgroups } from './cgroups.ts';
import { controlPlane } from './control-plane.ts';
import { Daemon } from './daemon.ts';
import { requireFitness } from './fitness.ts';
import { buildImages } from './images.ts';
import { Kubectl, type PodName } from './kubectl.ts';
import { ClusterNode } from './node.ts';
import { dnsObjects, nodeObject } from './objects.ts';
import { writePki } from './pki.ts';

export interface ClusterOptions {
  /** CULVERT_KUBE_CLUSTER or `kube` unless said. Clusters of different names may be up side by side. */
  readonly name?: string;
  /** How many nodes; two unless said. */
  readonly nodes?: number;
  /** Pods and Services with an IPv6 address beside the other. False unless said: pods start a second later with it. */
  readonly ipv6?: boolean;
  /** As the machine has it, unless said. */
  readonly cgroups?: CgroupLayout;
  readonly proxyMode?: 'nftables' | 'iptables';
  /** Archives of images that nodes get beside those of the lab, while they still start. */
  readonly archives?: Promise<readonly string[]>;
  readonly progress?: Progress;
}

type Settings = Required<Omit<ClusterOptions, 'archives' | 'progress'>>;

/** What another process must know to work with a cluster that was kept. */
interface Notes {
  readonly settings: Settings;
  readonly processes: Readonly<Record<string, Owner>>;
}

const readyMs = 60_000;

export class Cluster implements AsyncDisposable {
  readonly lab: Lab;
  readonly kubectl: Kubectl;
  readonly nodes: readonly ClusterNode[];
  readonly settings: Settings;
  readonly #daemons: ReadonlyMap<string, Daemon>;

  private constructor(lab: Lab, binaries: Binaries, { settings, processes }: Notes) {
    this.lab = lab;
    this.settings = settings;
    this.kubectl = new Kubectl(join(binaries.kubernetes, 'kubectl'), join(this.#pki, 'admin.kubeconfig'));
    this.nodes = lab.nodes.map(place => this.#node(place, binaries, processes));
    const commands = controlPlane({
      binaries: binaries.kubernetes,
      pki: this.#pki,
      state: lab.directory,
      address: lab.outside.address,
      ipv6: settings.ipv6,
    });
    this.#daemons = new Map(
      Object.entries(commands).map(([name, [file = '', ...args]]) => [
        name,
        new Daemon({
          name,
          spawn: () => lab.outside.spawn(file, args),
          inside: false,
          known: processes[name] ?? null,
          started: () => this.#note(),
        }),
      ]),
    );
  }

  /** Makes a cluster or, where one of this name was kept, takes that: then disposing of it leaves it up. Needs root and Go. */
  static async up(options: ClusterOptions = {}): Promise<Cluster> {
    requireFitness();
    const { archives = Promise.resolve([]), progress = () => {}, ...chosen } = options;
    const settings: Settings = {
      name: defaultName(),
      nodes: 2,
      ipv6: false,
      cgroups: machineLayout(),
      proxyMode: 'nftables',
      ...chosen,
    };
    const binaries = await buildBinaries(progress);
    const kept = await Cluster.kept(settings.name, chosen, progress);
    if (kept !== null) {
      await kept.load(await archives);
      return kept;
    }
    const images = await buildImages(binaries);
    const lab = await Lab.create(labOptions(settings));
    const cluster = new Cluster(lab, binaries, { settings, processes: {} });
    try {
      await cluster.#build(images, archives, progress);
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
    return cluster;
  }

  /** A cluster that was kept and answers, or null. Throws LAB_OTHER_CLUSTER when it is not as chosen. */
  static async kept(
    name: string,
    chosen: Partial<Settings> = {},
    progress: Progress = () => {},
  ): Promise<Cluster | null> {
    const record = loadRecord(name);
    if (record === null || record.owner !== null) return null;
    const notes = JSON.parse(readFileSync(notesOf(record), 'utf8')) as Notes;
    const lab = Lab.reopen(labOptions(notes.settings));
    if (lab === null) return null;
    const cluster = new Cluster(lab, await buildBinaries(progress), notes);
    if (!(await cluster.#answers())) return null;
    const is: Partial<Settings> = notes.settings;
    const other = Object.entries(chosen).filter(([key, value]) => is[key as keyof Settings] !== value);
    if (other.length === 0) return cluster;
    const wanted = other.map(([key, value]) => `${key} ${value}`).join(', ');
    throw new CulvertError('LAB_OTHER_CLUSTER', `the cluster ${name} that is up is not one with ${wanted}`, {
      fix: `node test/lab/cluster/main.ts down --name ${name}`,
    });
  }

  /** For files that tests want to see until the cluster is taken down. */
  get directory(): string {
    return this.lab.directory;
  }

  node(name: string): ClusterNode {
    const node = this.nodes.find(candidate => candidate.name === name);
    if (node === undefined) throw new CulvertError('LAB_NO_SUCH_NODE', `the cluster has no node ${name}`);
    return node;
  }

  /** A process of the control plane: etcd, kube-apiserver, kube-controller-manager or kube-scheduler. */
  daemon(name: string): Daemon {
    const daemon = this.#daemons.get(name);
    if (daemon === undefined) throw new CulvertError('LAB_NO_SUCH_DAEMON', `there is no ${name}`);
    return daemon;
  }

  /** Gives the images of archives, which are named by what is in them, to every node that has not had them last. */
  async load(archives: readonly string[]): Promise<void> {
    const note = join(this.directory, 'loaded');
    const loaded = existsSync(note) ? readFileSync(note, 'utf8').split('\n') : [];
    const fresh = archives.filter(archive => !loaded.includes(archive));
    await Promise.all(
      this.nodes.map(async node => {
        for (const archive of fresh) await node.load(archive);
      }),
    );
    const isReplaced = (before: string): boolean => fresh.some(archive => stemOf(archive) === stemOf(before));
    writeFileSync(note, [...loaded.filter(archive => !isReplaced(archive)), ...fresh].join('\n'));
  }

  /** Starts a program in a pod, by way of the API server and the kubelet, and returns at once. */
  spawnInPod(pod: PodName, argv: readonly string[]): LabProcess {
    const { program, kubeconfig } = this.kubectl;
    const exec = this.kubectl.execArguments(pod, argv);
    // From outside, where the other end of the cable is: what runs there is ended with the lab.
    return this.lab.outside.spawn(program, [`--kubeconfig=${kubeconfig}`, ...exec]);
  }

  /** Waits until the API server answers. */
  async answers(): Promise<void> {
    await eventually(() => this.#answers(), { timeoutMs: readyMs, what: 'the API server' });
  }

  /** Leaves everything up when this process ends; `main.ts down` takes it down. */
  keep(): void {
    this.lab.keep();
  }

  async dispose(): Promise<void> {
    await this.lab.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  get #pki(): string {
    return join(this.lab.directory, 'pki');
  }

  async #build(
    images: readonly string[],
    more: Promise<readonly string[]>,
    progress: Progress,
  ): Promise<void> {
    progress('certificates and network');
    const fromOutside = await this.#plugIn();
    await writePki(this.#pki, {
      apiAddresses: [this.lab.outside.address, fromOutside],
      fromNodes: this.lab.outside.address,
      fromOutside,
      nodes: this.nodes.map(({ name, place }) => ({
        name,
        addresses: Object.values(place.addresses).filter(address => address !== null),
      })),
    });
    progress('control plane, containerd');
    mkdirSync(join(this.directory, 'etcd'), { mode: 0o700 });
    await Promise.all([this.#startControlPlane(), ...this.nodes.map(node => this.#boot(node, images))]);
    progress('kubelets');
    await Promise.all(this.nodes.map(node => node.join()));
    await this.kubectl.apply(dnsObjects());
    await this.kubectl.waitFor(
      'condition=Ready',
      this.nodes.map(({ name }) => `node/${name}`),
      readyMs,
    );
    progress('DNS');
    await Promise.all([
      this.kubectl.rolledOut('kube-system', 'deployment/coredns', readyMs),
      more.then(archives => this.load(archives)),
    ]);
  }

  /** The cable to the control plane; returns the address that the API server has at its end. */
  async #plugIn(): Promise<string> {
    const cable = await freeCable();
    const { netns } = this.lab.outside;
    this.lab.remember({ interfaces: [cable.interface] });
    await ip(null, [
      `link add ${cable.interface} type veth peer name cable netns ${netns}`,
      `addr add ${cable.ours}/30 dev ${cable.interface}`,
      `link set ${cable.interface} up`,
    ]);
    await ip(netns, [`addr add ${cable.theirs}/30 dev cable`, 'link set cable up']);
    // The CNI plugin lays a cable to each pod; the lab's switch for pods is in its way.
    for (const { place } of this.nodes) await ip(place.netns, ['link del pods']);
    return cable.theirs;
  }

  async #startControlPlane(): Promise<void> {
    for (const daemon of this.#daemons.values()) await daemon.start();
    await this.answers();
    await this.kubectl.apply(
      this.nodes.map(({ name, place }) =>
        nodeObject(name, podSubnet(place.wiring.index, this.settings.ipv6)),
      ),
    );
  }

  async #boot(node: ClusterNode, images: readonly string[]): Promise<void> {
    await node.boot();
    for (const archive of images) await node.load(archive);
  }

  async #answers(): Promise<boolean> {
    const patience = { check: false, timeoutMs: 5_000 };
    return (await this.kubectl.run(['get', '--raw=/readyz'], patience)).code === 0;
  }

  #node(place: LabNode, binaries: Binaries, known: Readonly<Record<string, Owner>>): ClusterNode {
    const { lab, settings } = this;
    const cgroups = planNodeCgroups(
      join(place.cgroup, '_kube'),
      settings.cgroups,
      `culvert-${lab.name}-${place.name}`,
    );
    if (Object.keys(known).length === 0) lab.remember({ legacyCgroups: cgroups.legacy });
    return new ClusterNode({
      place,
      cgroups,
      binaries,
      state: join(lab.directory, place.name),
      files: {
        name: place.name,
        pki: this.#pki,
        podSubnets: podSubnet(place.wiring.index, settings.ipv6),
        runc: cgroups.limits ? null : binaries.runcWithoutLimits,
        limits: cgroups.limits,
        proxyMode: settings.proxyMode,
      },
      known,
      started: () => this.#note(),
    });
  }

  #note(): void {
    const daemons = [...this.#daemons.values(), ...this.nodes.flatMap(node => node.daemons)];
    const processes = Object.fromEntries(
      daemons.flatMap(({ name, process }) => (process === null ? [] : [[name, process]])),
    );
    const notes: Notes = { settings: this.settings, processes };
    writeFileSync(notesOf(this.lab), JSON.stringify(notes, null, 2));
  }
}

/** The cluster that is meant where none is named. */
export function defaultName(): string {
  const chosen = process.env['CULVERT_KUBE_CLUSTER'];
  return chosen === undefined || chosen === '' ? 'kube' : chosen;
}

/** What of an archive's name stays when other things are in it. */
function stemOf(archive: string): string {
  return archive.replace(/-[0-9a-f]+\.tar$/, '');
}

function labOptions({ name, nodes, ipv6 }: Settings): { name: string; nodes: string[]; ipv6: boolean } {
  // node-a, node-b, …
  const names = Array.from({ length: nodes }, (_, index) => `node-${String.fromCodePoint(97 + index)}`);
  return { name, nodes: names, ipv6 };
}

function notesOf({ directory }: { readonly directory: string }): string {
  return join(directory, 'cluster.json');
}
