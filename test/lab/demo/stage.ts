/**
 * The demo's stage: the lab with its pods, the directory of YAML, one agent per node, and the programs.
 *
 * What the demo does to an agent a person could do too: write YAML, ask the HTTP ports, read the logs, send a signal.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentStatus } from '../../../agent/status.ts';
import { CulvertError } from '../../../base/errors.ts';
import type { AgentProcess } from '../agent-process.ts';
import { eventually } from '../eventually.ts';
import { type KubernetesObject, podObject, writeObjects } from '../kubernetes.ts';
import type { Lab } from '../lab.ts';
import type { LabPod } from '../pod.ts';
import type { LabProcess } from '../process.ts';
import { namespaces, type NodeName, nodeNames, type PodName, services } from './cast.ts';
import { mapsOf } from './leftovers.ts';
import { startExim, startNginx, startRedis } from './programs.ts';

/** One line of an access log: text and numbers by name (docs/metrics.md has what they mean). */
export type AccessLine = Readonly<Record<string, string | number>>;

export interface Answer {
  readonly ok: boolean;
  /** The body, or what curl said was wrong. */
  readonly text: string;
}

/** Words that travel only inside requests. Whoever finds one on the wire has read somebody's data. */
export interface Secrets {
  readonly page: string;
  readonly value: string;
  readonly message: string;
  readonly mail: string;
}

export class Stage {
  readonly lab: Lab;
  readonly configDir: string;
  readonly secrets: Secrets;
  /** How long each measurement takes. */
  readonly seconds: number;
  #nginx: LabProcess | null = null;
  readonly #agents = new Map<NodeName, AgentProcess>();

  /** Ids of the BPF maps that the agents have had open. */
  readonly maps = new Set<string>();
  readonly #signal: AbortSignal;

  /** @param signal once it fires, nothing more is started */
  constructor(lab: Lab, seconds: number, signal: AbortSignal) {
    this.lab = lab;
    this.seconds = seconds;
    this.#signal = signal;
    this.configDir = join(lab.directory, 'config');
    const secret = (what: string): string => `secret-${what}-${randomBytes(4).toString('hex')}`;
    this.secrets = {
      page: secret('page'),
      value: secret('value'),
      message: secret('message'),
      mail: secret('mail'),
    };
  }

  /** Starts the programs and the agents; nobody is in the mesh yet. */
  async setUp(): Promise<void> {
    mkdirSync(this.configDir);
    this.write('namespaces.yaml', namespaces(false));
    this.write('services.yaml', services());
    this.write(
      'pods.yaml',
      this.lab.allPods.map(pod => podObject(pod)),
    );
    await Promise.all([this.#startPrograms(), ...nodeNames.map(node => this.startAgent(node))]);
  }

  pod(name: PodName): LabPod {
    const pod = this.lab.allPods.find(candidate => candidate.name === name);
    if (pod === undefined) throw new CulvertError('DEMO_STAGE', `there is no pod ${name}`);
    return pod;
  }

  agent(node: NodeName): AgentProcess {
    const agent = this.#agents.get(node);
    if (agent === undefined) throw new CulvertError('DEMO_STAGE', `there is no agent on ${node}`);
    return agent;
  }

  get nginx(): LabProcess {
    if (this.#nginx === null) throw new CulvertError('DEMO_STAGE', 'nginx was not started');
    return this.#nginx;
  }

  /** Starts the agent of a node, also after its predecessor has been killed; returns when it is ready. */
  async startAgent(node: NodeName): Promise<void> {
    this.#signal.throwIfAborted();
    const agent = await this.lab.agent(this.lab.node(node), { configDir: this.configDir });
    this.#agents.set(node, agent);
    for (const id of mapsOf(agent.pid)) this.maps.add(id);
  }

  /** Writes a file of the configuration directory, as an editor that saves: the whole or nothing. */
  write(file: string, objects: readonly KubernetesObject[]): void {
    writeObjects(join(this.configDir, file), objects);
  }

  remove(file: string): void {
    rmSync(join(this.configDir, file));
  }

  /** What `culvert status -o json` prints, asked at the port that it asks. */
  async status(node: NodeName): Promise<AgentStatus> {
    return JSON.parse(await this.agent(node).admin('/status')) as AgentStatus;
  }

  /** Grows with each change of the configuration that the agent of a node has taken in. */
  async generation(node: NodeName): Promise<number> {
    return (await this.status(node)).configuration.generation;
  }

  /** A new connection from a pod, by curl. */
  async curl(from: PodName, url: string, ...more: readonly string[]): Promise<Answer> {
    const args = ['-sS', '--max-time', '5', ...more, url];
    const result = await this.pod(from).run('curl', args, { check: false });
    return result.code === 0
      ? { ok: true, text: result.stdout.trim() }
      : { ok: false, text: result.stderr.trim() };
  }

  accessLines(node: NodeName): AccessLine[] {
    return this.agent(node)
      .accessLines()
      .map(line => JSON.parse(line) as AccessLine);
  }

  /** The newest access line of a node with these fields; they are written a moment after the connection has ended. */
  accessLine(node: NodeName, fields: AccessLine): Promise<AccessLine> {
    const has = (line: AccessLine): boolean =>
      Object.entries(fields).every(([name, value]) => line[name] === value);
    return eventually(() => this.accessLines(node).findLast(has), {
      what: `an access line of ${node} with ${JSON.stringify(fields)}`,
    });
  }

  async #startPrograms(): Promise<void> {
    const { directory } = this.lab;
    this.#nginx = await startNginx(this.pod('web'), directory, this.secrets.page);
    await startRedis(this.pod('cache'), directory);
    await startExim(this.pod('mail'), directory);
  }
}
