/**
 * A policy that is flipped under load: pods of one node and of two, by their own addresses and by a Service's, send all the
 * time, and what still arrives after a deny is in force is counted.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monotonicNs } from '../../native/native.ts';
import { eventually } from '../lab/eventually.ts';
import { serviceObject } from '../lab/kubernetes.ts';
import type { LabPod } from '../lab/pod.ts';
import { AgentLab } from './agent-lab.ts';
import { authorizationPolicy, to } from './policies.ts';

/** One deny, and what became of it. */
export interface Flip {
  /** Bytes that came to an application after every shard had followed the change and every old connection was gone. */
  readonly leaked: number;
  /** From when the agents said that it is in force until the last byte of a connection from before; negative: before. */
  readonly lateMs: number;
  /** Connections that were tried in vain meanwhile. */
  readonly refused: number;
}

const port = 8080;
const vip = '10.96.0.30';
const threads = 3;
const program = join(import.meta.dirname, 'flips.py');
const deny = [authorizationPolicy({ action: 'DENY', rules: [to(port)] })];
const patience = { timeoutMs: 30_000 };

export class Flips implements AsyncDisposable {
  readonly stage: AgentLab;
  #clients: readonly string[] = [];
  #servers: readonly string[] = [];

  private constructor(stage: AgentLab) {
    this.stage = stage;
  }

  static async create(name: string): Promise<Flips> {
    const pod = (name: string, node: string, labels = {}) =>
      ({ name, node, labels, namespace: 'shop', serviceAccount: name }) as const;
    const stage = await AgentLab.create({
      name,
      pods: [
        pod('client', 'node-a'),
        pod('near', 'node-a', { app: 'web' }),
        pod('far', 'node-b', { app: 'web' }),
      ],
      objects: [
        serviceObject({
          name: 'web',
          namespace: 'shop',
          selector: { app: 'web' },
          clusterIPs: [vip],
          ports: [{ name: 'tcp', port }],
        }),
      ],
    });
    const flips = new Flips(stage);
    try {
      await flips.#begin();
      return flips;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const { stage } = this;
    const [client, near, far] = ['client', 'near', 'far'].map(name => stage.pod(name)) as [
      LabPod,
      LabPod,
      LabPod,
    ];
    const file = (name: string): string => join(stage.lab.directory, `flips-${name}`);
    for (const server of [near, far]) {
      const started = server.spawn('python3', [program, 'server', file(server.name), String(port)]);
      await started.listensOn(port);
    }
    const targets = { 'to-near': near.address, 'to-far': far.address6, 'to-web': vip };
    for (const [name, address] of Object.entries(targets))
      client.spawn('python3', [program, 'client', file(name), address, String(port), String(threads)]);
    this.#servers = [near, far].map(({ name }) => file(name));
    this.#clients = Object.keys(targets).map(file);
  }

  /** Denies, and allows again. */
  async flip(): Promise<Flip> {
    const { stage } = this;
    await this.#flows();
    await stage.apply('policy.yaml', deny);
    const inForce = monotonicNs();
    // A shard answers after it has followed what it was told before.
    for (const { name } of stage.lab.nodes) await stage.agent(name).admin('/connections');
    await eventually(() => this.#sum(this.#servers, 2) === 0n, {
      ...patience,
      what: 'the end of what was open',
    });
    const came = this.#sum(this.#servers, 0);
    const last = this.#servers.map(file => numbers(file)[1] ?? 0n).reduce((a, b) => (a > b ? a : b));
    const before = this.#clients.map(file => numbers(file)[1] ?? 0n);
    await eventually(
      () =>
        this.#clients.every((file, at) => (numbers(file)[1] ?? 0n) >= (before[at] ?? 0n) + BigInt(threads)),
      { ...patience, what: 'new connections to be refused' },
    );
    const leaked = Number(this.#sum(this.#servers, 0) - came);
    const refused = Number(this.#sum(this.#clients, 1) - before.reduce((a, b) => a + b, 0n));
    await stage.remove('policy.yaml');
    return { leaked, refused, lateMs: Number(last - inForce) / 1e6 };
  }

  /** Until both servers get bytes. */
  async #flows(): Promise<void> {
    const before = this.#servers.map(file => numbers(file)[0]);
    await eventually(() => this.#servers.every((file, at) => numbers(file)[0] !== before[at]), {
      ...patience,
      what: 'bytes to flow',
    });
  }

  #sum(files: readonly string[], field: number): bigint {
    return files.reduce((sum, file) => sum + (numbers(file)[field] ?? 0n), 0n);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage[Symbol.asyncDispose]();
  }
}

/** What a program of ours has written; zeroes before it has. */
function numbers(file: string): readonly bigint[] {
  const bytes = readFileSync(file);
  return [0, 8, 16].map(at => (bytes.length < at + 8 ? 0n : bytes.readBigInt64LE(at)));
}
