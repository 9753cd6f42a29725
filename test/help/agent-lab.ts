/**
 * A stage for tests of whole agents: a lab, a configuration directory for it, an agent on every node, and programs in pods.
 *
 * Pods of the namespaces `shop` and `bank` are enrolled, those of others are not.
 */
import { cpSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentStatus } from '../../agent/status.ts';
import type { AgentProcess, AgentProcessOptions } from '../lab/agent-process.ts';
import { eventually } from '../lab/eventually.ts';
import {
  enrolled,
  type KubernetesObject,
  podObject,
  type PodObjectOptions,
  writeObjects,
} from '../lab/kubernetes.ts';
import { Lab } from '../lab/lab.ts';
import type { Place } from '../lab/place.ts';
import type { LabPod, PodSpec } from '../lab/pod.ts';
import { lastBegun, RemoteSockets } from './remote-sockets.ts';

export interface AgentLabOptions {
  /** Of the concern that is tested. */
  readonly name: string;
  /** `node-a` and `node-b` unless said. */
  readonly nodes?: readonly string[];
  readonly pods: readonly PodSpec[];
  /** Services, policies: what objects.yaml has from the beginning. */
  readonly objects?: readonly KubernetesObject[];
  readonly agent?: Omit<AgentProcessOptions, 'configDir'>;
}

export interface Description extends PodObjectOptions {
  /** Another one than the pod was made with. */
  readonly serviceAccount?: string;
}

/** One line of the access log. */
export type AccessLine = Readonly<Record<string, string | number>>;

/** Times of the kernel path come from another clock. */
const clockSlackMs = 50;

export class AgentLab implements AsyncDisposable {
  readonly lab: Lab;
  readonly configDir: string;
  readonly #agents = new Map<string, AgentProcess>();
  readonly #programs = new Map<string, Promise<RemoteSockets>>();
  readonly #podOptions = new Map<string, Description>();
  readonly #agentOptions: Omit<AgentProcessOptions, 'configDir'>;

  private constructor(lab: Lab, agentOptions: Omit<AgentProcessOptions, 'configDir'>) {
    this.lab = lab;
    this.configDir = join(lab.directory, 'config');
    this.#agentOptions = agentOptions;
  }

  static async create(options: AgentLabOptions): Promise<AgentLab> {
    // What an earlier test left behind that was killed.
    await Lab.sweep();
    const lab = await Lab.create({
      name: `agent-${options.name}-${process.pid}`,
      nodes: options.nodes ?? ['node-a', 'node-b'],
    });
    const stage = new AgentLab(lab, options.agent ?? {});
    try {
      mkdirSync(stage.configDir);
      await lab.pods(options.pods);
      stage.#write(options.objects ?? []);
      // The first agent makes the certificate authority, the others find it.
      await Promise.all(lab.nodes.map(node => stage.startAgent(node.name)));
      return stage;
    } catch (error) {
      await lab.dispose();
      throw error;
    }
  }

  pod(name: string): LabPod {
    const pod = this.lab.allPods.find(candidate => candidate.name === name);
    if (pod === undefined) throw new Error(`no pod ${name}`);
    return pod;
  }

  agent(node: string): AgentProcess {
    const agent = this.#agents.get(node);
    if (agent === undefined) throw new Error(`no agent on ${node}`);
    return agent;
  }

  /** Starts the agent of a node, also after its predecessor has ended. */
  async startAgent(node: string, options: Partial<AgentProcessOptions> = {}): Promise<AgentProcess> {
    const agent = await this.lab.agent(this.lab.node(node), {
      ...this.#agentOptions,
      ...options,
      configDir: this.configDir,
    });
    this.#agents.set(node, agent);
    return agent;
  }

  /** The agent that serves a node, where another one has ended. */
  keep(node: string, agent: AgentProcess): void {
    this.#agents.set(node, agent);
  }

  /** Starts another agent beside the one that runs, and waits until it has taken its place; returns both. */
  async replaceAgent(
    node: string,
    options: Partial<AgentProcessOptions> = {},
  ): Promise<{ old: AgentProcess; fresh: AgentProcess }> {
    const old = this.agent(node);
    const fresh = await this.startAgent(node, { ...options, waitUntilReady: false });
    await this.serves(fresh);
    return { old, fresh };
  }

  /** kill -9 of an agent whose keeper starts another one; resolves once that one serves. */
  async crashAgent(node: string): Promise<void> {
    await this.agent(node).crash();
    await this.serves(this.agent(node));
  }

  /** Waits until this agent is the one that answers for its node. */
  async serves(agent: AgentProcess): Promise<void> {
    await eventually(
      async () => {
        if (!agent.process.running) await agent.ready();
        const status = await agent.get(15_000, '/status');
        return status !== null && (JSON.parse(status) as AgentStatus).pid === agent.pid;
      },
      { what: `the new agent on ${agent.node.name} to serve`, timeoutMs: 30_000 },
    );
    await agent.ready();
  }

  /** The program of a pod, or of the machine outside, that makes socket calls. One each. */
  sockets(place: Place | string): Promise<RemoteSockets> {
    const where = typeof place === 'string' ? this.pod(place) : place;
    const known = this.#programs.get(where.netns);
    if (known !== undefined) return known;
    const starting = RemoteSockets.start(where, this.lab.directory);
    this.#programs.set(where.netns, starting);
    return starting;
  }

  /** Ends the program of a place. */
  async endProgram(place: Place): Promise<void> {
    const program = this.#programs.get(place.netns);
    this.#programs.delete(place.netns);
    await (await program)?.[Symbol.asyncDispose]();
  }

  async status(node: string): Promise<AgentStatus> {
    return JSON.parse(await this.agent(node).admin('/status')) as AgentStatus;
  }

  /** Writes one file of the directory and waits until every running agent has taken notice. */
  apply(file: string, objects: readonly KubernetesObject[]): Promise<void> {
    return this.change(() => writeObjects(join(this.configDir, file), objects));
  }

  /** Writes text as it is, good or bad. */
  applyText(file: string, text: string): Promise<void> {
    return this.change(() => writeFileSync(join(this.configDir, file), text));
  }

  remove(file: string): Promise<void> {
    return this.change(() => rmSync(join(this.configDir, file)));
  }

  /** Changes how a pod is described (labels, annotations) or, after one was made or deleted, which there are. */
  describe(pod: LabPod | null = null, options: Description = {}): Promise<void> {
    if (pod !== null) this.#podOptions.set(pod.name, options);
    return this.change(() => this.#writePods());
  }

  /** As `describe`, for agents that cannot take notice. */
  describeUnseen(pod: LabPod | null = null, options: Description = {}): void {
    if (pod !== null) this.#podOptions.set(pod.name, options);
    this.#writePods();
  }

  /** Makes a change to the directory and waits until it is in force. */
  async change(make: () => void): Promise<void> {
    const running = [...this.#agents].filter(([, agent]) => agent.process.running).map(([node]) => node);
    const before = await Promise.all(
      running.map(async node => (await this.status(node)).configuration.generation),
    );
    make();
    await Promise.all(
      running.map((node, index) =>
        eventually(async () => (await this.status(node)).configuration.generation > (before[index] ?? 0), {
          what: `the new configuration on ${node}`,
        }),
      ),
    );
  }

  /** Waits until the pod is enrolled, or is not. */
  async untilEnrolled(pod: LabPod, wanted = true): Promise<void> {
    await eventually(
      async () => {
        const { pods } = await this.status(pod.node);
        return (
          (pods.find(it => it.name === pod.name && it.namespace === pod.namespace)?.enrolled ?? false) ===
          wanted
        );
      },
      { what: `${pod.name} ${wanted ? '' : 'not '}being enrolled` },
    );
  }

  /** Waits for an access line of a node with these fields, of the last connection from there where a source is one of them. */
  line(node: string, fields: AccessLine): Promise<AccessLine> {
    const since = lastBegun(String(fields['src.addr'])) ?? 0;
    const has = (line: AccessLine): boolean =>
      Date.parse(String(line['time'])) >= since - clockSlackMs &&
      Object.entries(fields).every(([key, value]) => line[key] === value);
    return eventually(() => this.lines(node).findLast(has), {
      what: `an access line with ${JSON.stringify(fields)}`,
    });
  }

  lines(node: string): AccessLine[] {
    return this.agent(node)
      .accessLines()
      .map(line => JSON.parse(line) as AccessLine);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#programs.values()) await (await program)[Symbol.asyncDispose]();
    // For whoever wants to read what the agents said after a failure.
    const keep = process.env['CULVERT_TEST_LOGS'];
    if (keep !== undefined)
      cpSync(this.lab.directory, join(keep, this.lab.name), { recursive: true, filter: isLog });
    await this.lab.dispose();
  }

  #write(objects: readonly KubernetesObject[]): void {
    this.lab.writeConfig(this.configDir, { namespaceLabels: { shop: enrolled, bank: enrolled }, objects });
    this.#writePods();
  }

  #writePods(): void {
    const pods = this.lab.allPods.map(pod => described(pod, this.#podOptions.get(pod.name) ?? {}));
    writeObjects(join(this.configDir, 'pods.yaml'), pods);
  }
}

function described(pod: LabPod, description: Description): KubernetesObject {
  const object = podObject(pod, description);
  const { serviceAccount = pod.serviceAccount } = description;
  return { ...object, spec: { ...(object.spec as object), serviceAccountName: serviceAccount } };
}

function isLog(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true || (stat?.isDirectory() === true && !path.endsWith('/bpf'));
}
