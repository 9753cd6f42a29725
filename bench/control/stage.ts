/**
 * What the measures of the control plane happen on: an API server with a large cluster, one control plane, its agents.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FakeApi } from '../../test/control/cluster/fake-api.ts';
import { BenchCluster, type Change, type ClusterSize } from './cluster.ts';
import { reviewAgent } from './light-agent.ts';
import { PlaneProcess, type PlanePorts, freePorts } from './plane.ts';
import { Swarm, type SwarmOptions } from './swarm.ts';

export interface StageOptions {
  readonly size: ClusterSize;
  readonly swarm: SwarmOptions;
  readonly nodeFlags: readonly string[];
}

/** Generous: a machine of two cores may have other things to do. */
export const deadlineMs = 600_000;
const lookMs = 20;

export class Stage implements AsyncDisposable {
  readonly cluster: BenchCluster;
  readonly swarm: Swarm;
  readonly #api: FakeApi;
  readonly #directory: string;
  readonly #ports: PlanePorts;
  readonly #nodeFlags: readonly string[];
  #plane: PlaneProcess;

  private constructor(options: StageOptions, api: FakeApi, ports: PlanePorts) {
    this.#api = api;
    this.#ports = ports;
    this.#nodeFlags = options.nodeFlags;
    this.#directory = mkdtempSync(join(tmpdir(), 'culvert-bench-'));
    this.cluster = new BenchCluster(api, options.size);
    this.cluster.fill();
    this.swarm = new Swarm(options.swarm);
    this.#plane = this.#start();
  }

  /** The control plane is ready; no agent is connected yet. */
  static async create(options: StageOptions): Promise<Stage> {
    const api = await FakeApi.start();
    api.review = reviewAgent;
    api.serve('culvert.dev/v1', 'AuthorizationPolicy', 'authorizationpolicies', true);
    const stage = new Stage(options, api, await freePorts());
    try {
      await stage.plane.ready(deadlineMs);
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  get plane(): PlaneProcess {
    return this.#plane;
  }

  /** Of the control plane; what an agent needs beside the port. */
  async roots(): Promise<string> {
    for (;;) {
      const data = this.#api.get('configmaps', 'culvert-system', 'culvert-root')?.['data'];
      const pem = (data as Record<string, string> | undefined)?.['root.pem'];
      if (pem !== undefined) return pem;
      await delay(lookMs);
    }
  }

  /** Connects the agents; resolves when all know everything, with the time that took since the call, ms. */
  async connectAgents(): Promise<number> {
    const roots = await this.roots();
    const from = Date.now();
    await this.swarm.open([this.#ports.grpc], roots);
    return (await this.swarm.current(deadlineMs)) - from;
  }

  /** Changes at an even pace. */
  async change(perSecond: number, seconds: number): Promise<Change[]> {
    const changes: Change[] = [];
    const from = performance.now();
    const count = Math.round(perSecond * seconds);
    while (changes.length < count) {
      const due = Math.min(count, Math.floor(((performance.now() - from) / 1_000) * perSecond) + 1);
      while (changes.length < due) changes.push(this.cluster.change());
      // The log of requests would only grow.
      this.#api.requests.length = 0;
      await delay(Math.max(1, (changes.length / perSecond) * 1_000 - (performance.now() - from)));
    }
    return changes;
  }

  /** The control plane crashes, the cluster goes on changing, another starts in its place. */
  async replacePlane(meanwhile: () => void): Promise<void> {
    await this.#plane.stop();
    meanwhile();
    this.#plane = this.#start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.swarm[Symbol.asyncDispose]();
    await this.#plane.stop();
    await this.#api.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #start(): PlaneProcess {
    const kubeconfig = this.#api.kubeconfig(this.#directory);
    return PlaneProcess.start({ kubeconfig, nodeFlags: this.#nodeFlags }, this.#ports);
  }
}
