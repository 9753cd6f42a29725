/**
 * The product in a cluster: installed as a user would, and asked what it has seen.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentName, controlName, defaultNamespace } from '../../daemonset/names.ts';
import { podRange } from '../lab/cluster/addresses.ts';
import { Cluster, type ClusterOptions } from '../lab/cluster/cluster.ts';
import { buildProductImage } from '../lab/cluster/images.ts';
import type { PodName } from '../lab/cluster/kubectl.ts';
import { podLogs } from '../lab/cluster/pod-logs.ts';
import { eventually } from '../lab/eventually.ts';
import type { Flow } from '../lab/pcap.ts';
import { run } from '../lab/run.ts';
import { helm } from './helm.ts';

/** One line of the access log. */
export type AccessLine = Readonly<Record<string, string | number>>;

interface AgentPod {
  readonly metadata: {
    readonly name: string;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
  };
}

export interface Overheard {
  readonly contains: (text: string) => boolean;
  readonly flows: readonly Flow[];
}

export type Way = 'kustomize' | 'command' | 'helm';

/** Nobody uses another one in these tests. */
export const system = defaultNamespace;
export const dataplaneMode = 'culvert.dev/dataplane-mode';

const checkout = join(import.meta.dirname, '../..');
const culvert = join(checkout, 'cli/culvert');
const adminPort = 15_000;
const metricsPort = 15_020;
const rolloutMs = 120_000;
/** The annotation that says that a pod's traffic is redirected, as `kubectl wait` finds it. */
const redirection = String.raw`jsonpath={.metadata.annotations.culvert\.dev/redirection}`;

export class Mesh {
  readonly cluster: Cluster;
  /** A cluster that is kept has seen other tests. */
  readonly #since = Date.now();

  private constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  /** A cluster with the mesh of this checkout in it. */
  static async up(way: Way, options: ClusterOptions = {}): Promise<Mesh> {
    // What manifests say by default is where cgroup v2 is when it is alone.
    const archive = buildProductImage();
    const archives = archive.then(path => [path]);
    const cluster = await Cluster.up({ cgroups: 'unified', archives, ...options });
    try {
      const mesh = new Mesh(cluster);
      await mesh.install(way);
      await mesh.#renew(await archive);
      return mesh;
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
  }

  async install(way: Way): Promise<void> {
    const { kubectl, settings } = this.cluster;
    const cgroupRoot = settings.cgroups === 'unified' ? '/sys/fs/cgroup' : '/sys/fs/cgroup/unified';
    const set = ['--set', `node.cgroupRoot=${cgroupRoot}`];
    const kubeconfig = `--kubeconfig=${kubectl.kubeconfig}`;
    // In a shared cluster `culvert upgrade` may have applied the same objects in its own name.
    const owns = ['--server-side', '--force-conflicts'];
    if (way === 'kustomize')
      await kubectl.run(['apply', ...owns, '--kustomize', join(checkout, 'daemonset')]);
    else if (way === 'command') await run(culvert, ['install', kubeconfig, ...set], { timeoutMs: rolloutMs });
    else
      await helm([
        'install',
        'culvert',
        join(checkout, 'daemonset/helm'),
        '--namespace',
        system,
        '--create-namespace',
        kubeconfig,
        ...set,
      ]);
    await this.rolledOut();
  }

  /** Another value for what Helm has installed. */
  async change(value: string): Promise<void> {
    const kubeconfig = `--kubeconfig=${this.cluster.kubectl.kubeconfig}`;
    const chart = join(checkout, 'daemonset/helm');
    await helm([
      'upgrade',
      'culvert',
      chart,
      '--namespace',
      system,
      '--reuse-values',
      '--set',
      value,
      kubeconfig,
    ]);
    await this.rolledOut();
  }

  /** In a cluster that was kept pods may run an older image of the same name. */
  async #renew(archive: string): Promise<void> {
    const { kubectl, directory } = this.cluster;
    const note = join(directory, 'product');
    const before = existsSync(note) ? readFileSync(note, 'utf8') : archive;
    writeFileSync(note, archive);
    if (before === archive) return;
    await kubectl.text('rollout', 'restart', 'deployment,daemonset', `--namespace=${system}`);
    await this.rolledOut();
  }

  /** Waits until control plane and agents run, all of them. */
  async rolledOut(): Promise<void> {
    const { kubectl } = this.cluster;
    try {
      await kubectl.rolledOut(system, `deployment/${controlName}`, rolloutMs);
      await kubectl.rolledOut(system, `daemonset/${agentName}`, rolloutMs);
    } catch (cause) {
      throw new Error(`the mesh does not run:\n${await this.#lastWords()}`, { cause });
    }
  }

  /** Runs the operator's command on this machine. */
  async culvert(...args: string[]): Promise<string> {
    const kubeconfig = `--kubeconfig=${this.cluster.kubectl.kubeconfig}`;
    return (await run(culvert, [...args, kubeconfig], { timeoutMs: rolloutMs })).stdout;
  }

  /** Labels a namespace, so that its pods join the mesh, and waits until those named are in it. */
  async enrol(namespace: string, pods: readonly string[]): Promise<void> {
    await this.cluster.kubectl.text(
      'label',
      '--overwrite',
      'namespace',
      namespace,
      `${dataplaneMode}=ambient`,
    );
    await this.untilEnrolled(namespace, pods);
  }

  async untilEnrolled(namespace: string, pods: readonly string[]): Promise<void> {
    const names = pods.map(name => `pod/${name}`);
    await this.cluster.kubectl.waitFor(`${redirection}=enabled`, [...names, `--namespace=${namespace}`]);
  }

  /** Takes the label off, and waits until the pods named are out of the mesh. */
  async release(namespace: string, pods: readonly string[]): Promise<void> {
    const { kubectl } = this.cluster;
    await kubectl.text('label', 'namespace', namespace, `${dataplaneMode}-`);
    for (const name of pods) {
      await eventually(
        async () => {
          const { metadata } = await kubectl.get('pod', name, `--namespace=${namespace}`);
          return metadata.annotations?.['culvert.dev/redirection'] === undefined;
        },
        { timeoutMs: 30_000, what: `${name} leaving the mesh` },
      );
    }
  }

  /** The agent's pod on a node; while one takes the place of another, the new one. */
  async agentOn(node: string): Promise<PodName> {
    const { items } = await this.cluster.kubectl.get<{ items: AgentPod[] }>(
      'pods',
      `--namespace=${system}`,
      `--field-selector=spec.nodeName=${node}`,
      '--selector=app.kubernetes.io/component=agent',
    );
    const newest = items
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .sort((a, b) => a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp))
      .at(-1);
    return { namespace: system, name: newest?.metadata.name ?? '' };
  }

  /** What the agent of a node answers on its loopback, read as JSON. */
  async admin<T>(node: string, path: string): Promise<T> {
    return JSON.parse(await this.#ask(node, `http://127.0.0.1:${adminPort}${path}`)) as T;
  }

  /** Sum of a metric of a node's agent over the samples that have this text among their labels. */
  async metric(node: string, name: string, label = ''): Promise<number> {
    const samples = await this.#samples(node, name, label);
    return samples.reduce((sum, [, value]) => sum + value, 0);
  }

  /** Of a histogram, over all agents: how many were within each bound, bounds ascending. */
  async within(name: string, label: string): Promise<ReadonlyMap<number, number>> {
    const sums = new Map<number, number>();
    for (const { name: node } of this.cluster.nodes) {
      for (const [labels, value] of await this.#samples(node, `${name}_bucket`, label)) {
        const bound = /le="([^"]+)"/.exec(labels)?.[1] ?? '';
        const seconds = bound === '+Inf' ? Infinity : Number(bound);
        sums.set(seconds, (sums.get(seconds) ?? 0) + value);
      }
    }
    return new Map([...sums].sort(([one], [other]) => one - other));
  }

  /** Access lines of a node since this test began, also of agents that are gone. */
  lines(node: string): AccessLine[] {
    return podLogs(this.cluster.node(node), { namespace: system, name: agentName })
      .flatMap(({ lines }) => lines)
      .filter(line => line.includes('"component":"access"'))
      .map(line => JSON.parse(line) as AccessLine)
      .filter(({ time }) => Date.parse(String(time)) >= this.#since);
  }

  /** Waits for an access line of a node with these fields. */
  line(node: string, fields: AccessLine): Promise<AccessLine> {
    const has = (line: AccessLine): boolean =>
      Object.entries(fields).every(([key, value]) => line[key] === value);
    return eventually(() => this.lines(node).findLast(has), {
      what: `an access line of ${node} with ${JSON.stringify(fields)}`,
    });
  }

  /** What somebody on the network between the nodes hears of pods while something is done. */
  async overheard(act: () => Promise<void>): Promise<Overheard> {
    const { lab } = this.cluster;
    const filter = `tcp and (net ${podRange.v4} or net ${podRange.v6})`;
    const captures = await Promise.all(lab.nodes.map(node => lab.capture(node, 'eth0', { filter })));
    await act();
    const heard = await Promise.all(captures.map(capture => capture.stop()));
    const dropped = heard.reduce((sum, capture) => sum + capture.dropped, 0);
    if (dropped > 0) throw new Error(`${dropped} packets are missing: this would prove nothing`);
    return {
      contains: text => heard.some(capture => capture.contains(text)),
      flows: heard.flatMap(capture => capture.flows),
    };
  }

  /** Kills a node's agent, as a kernel that is out of memory would; returns when it has ended. Its keeper starts another. */
  async crashAgent(node: string): Promise<void> {
    const { pid } = await this.admin<{ pid: number }>(node, '/status');
    const script = `kill -9 ${pid}; while [ -d /proc/${pid} ]; do sleep 0.01; done`;
    await this.cluster.node(node).run('sh', ['-c', script]);
  }

  /** Kills what a node's container of the agent began with, and all of it with that. The kubelet starts another. */
  async killAgent(node: string): Promise<void> {
    const pod = await this.agentOn(node);
    const id = await this.cluster.kubectl.containerId(pod);
    await this.cluster
      .node(node)
      .run('ctr', ['--namespace', 'k8s.io', 'tasks', 'kill', '--signal', 'SIGKILL', id]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster.dispose();
  }

  /** What there is to know about an installation that does not come up. */
  async #lastWords(): Promise<string> {
    const here = `--namespace=${system}`;
    const { kubectl, nodes } = this.cluster;
    const objects = await kubectl.text('get', 'pods', here, '--output=wide');
    const events = await kubectl.text('get', 'events', here, '--field-selector=type=Warning');
    const logs = nodes.flatMap(node =>
      podLogs(node, { namespace: system, name: '' }).flatMap(({ path, lines }) => [path, ...lines.slice(-5)]),
    );
    return [objects, events, ...logs].join('\n');
  }

  /** Labels and values. */
  async #samples(node: string, name: string, label: string): Promise<[string, number][]> {
    const { address } = this.cluster.node(node).place;
    const text = await this.#ask(node, `http://${address}:${metricsPort}/metrics`);
    return text
      .split('\n')
      .filter(line => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter(line => line.includes(label))
      .map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]);
  }

  async #ask(node: string, url: string): Promise<string> {
    const answered = await this.cluster.node(node).place.run('curl', ['-sSf', '--max-time', '5', url]);
    return answered.stdout;
  }
}
