/**
 * Two replicas of the control plane behind one address, one of them always being replaced, while the cluster changes and
 * real discovery clients listen: at the end each of them must know what there is.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import pino from 'pino';
import { Control } from '../../control/control.ts';
import { Mesh } from '../../model/mesh.ts';
import { testControlConfig, testNamespace } from '../../test/control/cluster/config.ts';
import { FakeApi } from '../../test/control/cluster/fake-api.ts';
import { type Clock, systemClock } from '../../tunnel/clock.ts';
import { XdsClient } from '../../xds/client.ts';
import { discoveryNode } from '../../xds/node.ts';
import { BenchCluster, type ClusterSize, nodeName } from './cluster.ts';
import { reviewAgent, tokenOf } from './light-agent.ts';

export interface RollingOptions {
  readonly size: ClusterSize;
  readonly agents: number;
  readonly restarts: number;
  readonly changesPerSecond: number;
}

export interface RollingResult {
  readonly restarts: number;
  readonly changes: number;
  /** Streams that agents opened. */
  readonly connections: number;
  /** Of each agent that does not know what there is, what is wrong; empty when nothing was lost. */
  readonly lost: readonly string[];
}

const namespace = testNamespace;
const log = pino({ level: 'silent' });
/** One in so many is no orderly end: connections break without a word. */
const crashEvery = 3;
const settleMs = 30_000;
const lookMs = 20;

export async function rollingRestarts(options: RollingOptions): Promise<RollingResult> {
  await using api = await FakeApi.start();
  api.review = reviewAgent;
  const cluster = new BenchCluster(api, options.size);
  cluster.fill();
  const directory = mkdtempSync(join(tmpdir(), 'culvert-rolling-'));
  const service = await Service.listen();
  const replicas: Control[] = [];
  const agents: Agent[] = [];
  let made = 0;
  const replica = async (): Promise<Control> => {
    const control = new Control(testControlConfig({ identity: `replica-${made++}` }), api.client(directory));
    await control.start();
    service.add(control.port);
    return control;
  };
  try {
    replicas.push(...(await Promise.all([replica(), replica()])));
    const rootPath = join(directory, 'root.pem');
    writeFileSync(rootPath, await rootsOf(api));
    for (let n = 0; n < options.agents; n++)
      agents.push(new Agent(nodeName(n), service.port, rootPath, directory));
    await within(() => agents.every(agent => agent.client.state().synced));
    let changes = 0;
    const pace = setInterval(() => {
      cluster.change();
      changes += 1;
      api.requests.length = 0;
    }, 1_000 / options.changesPerSecond);
    for (let n = 1; n <= options.restarts; n++) {
      const old = replicas.shift();
      if (old === undefined) break;
      service.remove(old.port);
      if (n % crashEvery !== 0) await old.drain();
      await old.stop();
      replicas.push(await replica());
    }
    clearInterval(pace);
    const truth = cluster.truth();
    const wrong = (): string[] => agents.flatMap(agent => agent.differs(truth, replicas) ?? []);
    await within(() => wrong().length === 0);
    const connections = agents.reduce((sum, { client }) => sum + client.counters().connections, 0);
    return { restarts: options.restarts, changes, connections, lost: wrong() };
  } finally {
    for (const { client } of agents) client.close();
    await Promise.all(replicas.map(control => control.stop()));
    service.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Waits for it, and goes on without after a while. */
async function within(holds: () => boolean): Promise<void> {
  const end = performance.now() + settleMs;
  while (!holds() && performance.now() < end) await delay(lookMs);
}

async function rootsOf(api: FakeApi): Promise<string> {
  let pem: string | undefined;
  await within(() => {
    const data = api.get('configmaps', namespace, 'culvert-root')?.['data'];
    pem = (data as Record<string, string> | undefined)?.['root.pem'];
    return pem !== undefined;
  });
  return pem ?? '';
}

const connectMs = 10_000;
/** An agent that has lost its stream often waits up to 15 s; here it must be there for the next restart. */
const maxPauseMs = 50;
const hasty: Clock = {
  ...systemClock,
  now: () => systemClock.now(),
  after: (ms, call) => systemClock.after(ms === connectMs ? ms : Math.min(ms, maxPauseMs), call),
};

class Agent {
  readonly client: XdsClient;
  readonly #node: string;
  readonly #mesh = new Mesh();
  readonly #pods = new Map<string, unknown>();

  constructor(node: string, port: number, rootPath: string, directory: string) {
    this.#node = node;
    const tokenPath = join(directory, `token-${node}`);
    writeFileSync(tokenPath, tokenOf(node));
    const identity = { podName: node, podNamespace: namespace, serviceAccount: 'culvert-agent' };
    this.client = new XdsClient({
      endpoint: { address: `localhost:${port}`, rootPath, tokenPath, serverName: null, headers: {} },
      node: discoveryNode({ nodeName: node, podIp: '', clusterId: '', version: '', ...identity }),
      subscriptions: ['settings', 'nodePod', 'authorization', 'address'],
      connectTimeoutMs: connectMs,
      clock: hasty,
      log,
      onUpdate: ({ delta, nodePods }) => {
        this.#mesh.apply(delta);
        for (const uid of nodePods.removed) this.#pods.delete(uid);
        for (const pod of nodePods.set) this.#pods.set(pod.podUid, pod);
      },
    });
    this.client.start();
  }

  /** What it knows wrong; null when nothing. */
  differs(truth: ReadonlyMap<string, boolean>, replicas: readonly Control[]): string | null {
    const { workloads, services } = this.#mesh.snapshot();
    const ready = new Map(workloads.map(({ uid, status }) => [uid, status === 'HEALTHY']));
    for (const [name, isReady] of truth)
      if (ready.get(name) !== isReady)
        return `${this.#node}: ${name} is ${ready.get(name) ?? 'unknown'} to it`;
    if (ready.size !== truth.size) return `${this.#node} knows ${ready.size} workloads of ${truth.size}`;
    for (const { builder, config } of replicas) {
      const mesh = builder.mesh();
      const own = builder.nodePods().filter(({ node }) => node === this.#node);
      const isSame =
        isDeepStrictEqual(byKey(workloads, keyOfWorkload), byKey(mesh.workloads, keyOfWorkload)) &&
        isDeepStrictEqual(byKey(services, keyOfService), byKey(mesh.services, keyOfService)) &&
        isDeepStrictEqual(this.#pods, new Map(own.map(({ pod }) => [pod.podUid, pod])));
      if (!isSame) return `${this.#node} knows something else than ${config.identity}`;
    }
    return null;
  }
}

const keyOfWorkload = ({ uid }: { readonly uid: string }): string => uid;
const keyOfService = ({
  namespace: space,
  hostname,
}: {
  readonly namespace: string;
  readonly hostname: string;
}): string => `${space}/${hostname}`;

function byKey<T>(values: readonly T[], key: (value: T) => string): Map<string, T> {
  return new Map(values.map(value => [key(value), value]));
}

/** One address for all replicas, as kube-proxy makes it: each new connection goes to the next that takes some. */
class Service {
  readonly #server = createServer(client => this.#forward(client));
  readonly #ports: number[] = [];
  readonly #sockets = new Set<Socket>();

  static async listen(): Promise<Service> {
    const service = new Service();
    await new Promise<void>(resolve => service.#server.listen(0, '127.0.0.1', resolve));
    return service;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  add(port: number): void {
    this.#ports.push(port);
  }

  remove(port: number): void {
    this.#ports.splice(this.#ports.indexOf(port), 1);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #forward(client: Socket): void {
    const port = this.#ports.shift();
    if (port === undefined) {
      client.destroy();
      return;
    }
    this.#ports.push(port);
    const replica = connect(port, '127.0.0.1');
    for (const [from, to] of [
      [client, replica],
      [replica, client],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }
}
