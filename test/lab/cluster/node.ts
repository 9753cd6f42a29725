/**
 * One node of the cluster: a machine made of namespaces, in which containerd, a kubelet and a kube-proxy run.
 *
 *   network     the lab's: eth0 to the other nodes, a cable to each pod
 *   processes   its own numbering, so that "all processes of the node" means its own; process 1 ends with everything
 *   cgroups     its own tree as the root, so that two kubelets do not clean up each other's
 *   mounts      its own /run, /sys and the directories below; everything else is this machine's, and shared
 */
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { CulvertError } from '../../../base/errors.ts';
import { eventually } from '../eventually.ts';
import type { LabNode } from '../lab.ts';
import type { RunOptions, RunResult } from '../place.ts';
import type { LabProcess } from '../process.ts';
import type { Owner } from '../record.ts';
import type { Binaries } from './binaries.ts';
import { makeNodeCgroups, type NodeCgroups } from './cgroups.ts';
import { Daemon } from './daemon.ts';
import {
  cniConfiguration,
  cniFile,
  cniPlugins,
  containerdFile,
  kubeletFile,
  type NodeFileOptions,
  kubeProxyFile,
  packagedCniPlugins,
  resolverFile,
} from './node-files.ts';
import { dnsServiceAddress } from './addresses.ts';

export interface ClusterNodeParts {
  readonly place: LabNode;
  readonly cgroups: NodeCgroups;
  readonly binaries: Binaries;
  /** Folder for everything that the node writes. */
  readonly state: string;
  readonly files: NodeFileOptions;
  /** Processes that run already, by name: the cluster was kept. */
  readonly known: Readonly<Record<string, Owner>>;
  /** Called after each start of a process. */
  readonly started: () => void;
}

/** Directories that every node writes to and that must not be one and the same. */
const privateDirectories = [
  '/etc/cni',
  '/etc/containerd',
  cniPlugins,
  '/var/lib/cni',
  '/var/lib/containerd',
  '/var/lib/kubelet',
  '/var/log/containers',
  '/var/log/pods',
];

/** Joins the cgroups named before `--`, then becomes the command behind it. */
const joinAndBecome =
  'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@"';

export class ClusterNode {
  readonly name: string;
  /** Its network namespace: captures, and programs that see the node's network but the machine's files. */
  readonly place: LabNode;
  /** What the node writes to /var/lib/X is in here, as var/lib/X. */
  readonly state: string;
  readonly init: Daemon;
  readonly containerd: Daemon;
  readonly kubelet: Daemon;
  readonly kubeProxy: Daemon;
  readonly #parts: ClusterNodeParts;

  constructor(parts: ClusterNodeParts) {
    this.name = parts.place.name;
    this.place = parts.place;
    this.state = parts.state;
    this.#parts = parts;
    this.init = this.#daemon('init', () => this.#spawnInit());
    this.containerd = this.#daemon('containerd', () => this.spawn('containerd', []));
    this.kubelet = this.#daemon('kubelet', () => this.spawn(...this.#kubeletCommand()));
    this.kubeProxy = this.#daemon('kube-proxy', () => this.spawn(...this.#kubeProxyCommand()));
  }

  get daemons(): readonly Daemon[] {
    return [this.init, this.containerd, this.kubelet, this.kubeProxy];
  }

  /** Path by which this machine sees a file of the node. */
  path(file: string): string {
    return `/proc/${this.init.process?.pid ?? 0}/root${file}`;
  }

  /** Makes the machine and starts the container runtime. The kubelet comes when there is an API server. */
  async boot(): Promise<void> {
    makeNodeCgroups(this.#parts.cgroups);
    this.#writeFiles();
    const first = await this.init.start();
    await first.says(/^ready$/m);
    await this.startContainerd();
  }

  /** Starts the container runtime and waits until it answers: a kubelet that finds none ends. */
  async startContainerd(): Promise<void> {
    const started = await this.containerd.start();
    const answers = async (): Promise<boolean> =>
      !started.running || (await this.run('ctr', ['version'], { check: false })).code === 0;
    await eventually(answers, { timeoutMs: startMs, what: `containerd on ${this.name}` });
    if (!started.running) throw new CulvertError('LAB_PROCESS_ENDED', `containerd: ${started.stderr()}`);
  }

  /** Starts the programs that make a node of the cluster out of it. */
  async join(): Promise<void> {
    await Promise.all([this.kubelet.start(), this.kubeProxy.start()]);
  }

  /** Gives it the images of an archive. */
  async load(archive: string): Promise<void> {
    const args = ['--namespace', 'k8s.io', 'images', 'import', archive];
    await this.run('ctr', args, { timeoutMs: 300_000 });
  }

  /** Starts a program of this machine in all namespaces of the node. */
  spawn(file: string, args: readonly string[]): LabProcess {
    return this.place.spawn('sh', this.#inside(file, args), { group: this.#ownGroup });
  }

  /** Runs one to its end. */
  run(file: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.place.run('sh', this.#inside(file, args), { group: this.#ownGroup, ...options });
  }

  /** Runs a program of a container without asking the API server or the kubelet. */
  runInContainer(id: string, argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const exec = ['tasks', 'exec', '--exec-id', `lab-${++execs}`, id, ...argv];
    return this.run('ctr', ['--namespace', 'k8s.io', ...exec], options);
  }

  /** What a person types to look around in here. */
  get enterCommand(): readonly string[] {
    return ['nsenter', '--target', String(this.init.process?.pid ?? 0), '--all', 'sh'];
  }

  get #ownGroup(): string {
    return relative(this.place.cgroup, this.#parts.cgroups.own);
  }

  #daemon(program: string, spawn: () => LabProcess): Daemon {
    const name = `${this.name}/${program}`;
    const { known, started } = this.#parts;
    return new Daemon({ name, spawn, inside: true, known: known[name] ?? null, started });
  }

  #inside(file: string, args: readonly string[]): string[] {
    // The network namespace is the place's already.
    const spaces = ['--mount', '--uts', '--ipc', '--pid', '--cgroup'];
    const enter = ['nsenter', '--target', String(this.init.process?.pid ?? 0), ...spaces, '--'];
    return ['-c', joinAndBecome, 'sh', ...this.#parts.cgroups.legacy, '--', ...enter, file, ...args];
  }

  /** Process 1: lays out the file systems, then does nothing for ever. With unshare ends all that is in the namespaces. */
  #spawnInit(): LabProcess {
    const { cgroups, place } = this.#parts;
    const spaces = ['--cgroup', '--mount', '--propagation', 'private', '--uts', '--ipc', '--pid'];
    const make = ['unshare', ...spaces, '--fork', '--kill-child', '--mount-proc', 'sh', '-c', this.#layOut()];
    return place.spawn('sh', ['-c', joinAndBecome, 'sh', ...cgroups.legacy, '--', ...make], {
      group: relative(place.cgroup, cgroups.root),
    });
  }

  #layOut(): string {
    const { cgroups, binaries } = this.#parts;
    const unified = cgroups.layout === 'unified' ? '/sys/fs/cgroup' : '/sys/fs/cgroup/unified';
    return [
      'set -e',
      `hostname ${this.name}`,
      // Shows the interfaces of this network namespace, and takes new mounts on it.
      'mount -t sysfs sysfs /sys',
      ...cgroups.mountLines,
      // Nobody may live in the root where it passes controllers on.
      `echo $$ > ${unified}/init/cgroup.procs`,
      'mount -t bpf bpf /sys/fs/bpf',
      'mount -t tmpfs -o mode=755,size=256m tmpfs /run',
      'mkdir /run/netns /run/lock',
      ...privateDirectories.map(path => `mount --bind ${this.state}${path} ${path}`),
      `printf 'nameserver ${dnsServiceAddress}\\n' > ${resolverFile}`,
      // No question about a name leaves the cluster.
      `mount --bind ${resolverFile} /etc/resolv.conf`,
      // What a kubelet mounts must be seen by containers that asked for it.
      'mount --make-rshared /',
      'echo ready',
      `exec ${binaries.pause}`,
    ].join('\n');
  }

  #writeFiles(): void {
    for (const path of privateDirectories) {
      mkdirSync(join(this.state, path), { recursive: true });
      // A mount point has to be there; an empty directory stays behind on a machine that did not have it.
      mkdirSync(path, { recursive: true });
    }
    for (const plugin of readdirSync(packagedCniPlugins))
      symlinkSync(join(packagedCniPlugins, plugin), join(this.state, cniPlugins, plugin));
    const { files } = this.#parts;
    const write = (path: string, text: string): void => {
      mkdirSync(dirname(join(this.state, path)), { recursive: true });
      writeFileSync(join(this.state, path), text);
    };
    write(cniConfiguration, cniFile(files));
    write('/etc/containerd/config.toml', containerdFile(files));
    write('kubelet.yaml', kubeletFile(files));
    write('kube-proxy.yaml', kubeProxyFile(files));
  }

  #kubeletCommand(): [string, string[]] {
    const { binaries, files, place } = this.#parts;
    const { v4, v6 } = place.addresses;
    return [
      join(binaries.kubernetes, 'kubelet'),
      [
        `--config=${join(this.state, 'kubelet.yaml')}`,
        `--kubeconfig=${join(files.pki, `${this.name}.kubeconfig`)}`,
        `--hostname-override=${this.name}`,
        `--node-ip=${v6 === null ? v4 : `${v4},${v6}`}`,
      ],
    ];
  }

  #kubeProxyCommand(): [string, string[]] {
    const config = join(this.state, 'kube-proxy.yaml');
    return [join(this.#parts.binaries.kubernetes, 'kube-proxy'), [`--config=${config}`]];
  }
}

const startMs = 30_000;

let execs = 0;
