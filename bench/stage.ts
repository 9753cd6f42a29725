/**
 * Where measuring happens: two nodes and, for each kind of path, a client and a server twice: in the mesh and not.
 *
 * Both kinds are up at the same time on the same nodes, so runs can alternate without anything being restarted. Pods that
 * are not in the mesh lie outside the cgroup that the agents' hooks hang on: they pay nothing for the mesh.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentProcess } from '../test/lab/agent-process.ts';
import { enrolled } from '../test/lab/kubernetes.ts';
import { Lab } from '../test/lab/lab.ts';
import type { LabPod } from '../test/lab/pod.ts';
import type { LabProcess } from '../test/lab/process.ts';
import { CulvertError } from '../base/errors.ts';
import { nginxConfiguration } from './nginx.ts';
import { type BenchOptions } from './options.ts';
import { eventLoadPort, httpPort, loadPort, nonblocking, stageObjects, vips } from './stage-objects.ts';
import { buildTools, type Tools } from './tools/build.ts';

/** Until a waypoint that is told to stop has let its connections end. */
const waypointGraceMs = 30_000;

const launcher = fileURLToPath(new URL('../cli/culvert', import.meta.url));

/** What a stage is besides the options of the bench. */
export interface StageShape {
  readonly name: string;
  readonly load: number;
}

const usual: StageShape = { name: 'bench', load: 1 };

/** A client and the server that it talks to. */
export interface Pair {
  readonly client: LabPod;
  readonly server: LabPod;
  /** The Service that is dialled, which has this server alone for an endpoint. */
  readonly service?: 'near' | 'routed';
  /** Whether the load programs wait in read() and write(), or in poll() as event loops do. */
  readonly waits: boolean;
}

/** By where the server is: on the client's node, on the other, or of the other but on the same bridge. */
export type Pairs = Readonly<Record<'near' | 'far' | 'bridged', Pair>>;

export interface AgentSetting {
  readonly shards: number;
  /** As `taskset -c` takes them. */
  readonly cpus: string;
  /** As `--kernel-path` takes it. */
  readonly kernelPath: 'off' | 'direct' | 'join';
}

export class Stage implements AsyncDisposable {
  readonly lab: Lab;
  readonly tools: Tools;
  /** The CPU of everything that is measured. */
  readonly cpus: string;
  /** How many times the load of one CPU programs are to bring, and to take. */
  readonly load: number;
  readonly meshed: Pairs;
  readonly plain: Pairs;
  readonly #configDir: string;
  readonly #ipv6: boolean;
  #agents: readonly AgentProcess[] = [];
  #setting: AgentSetting | null = null;
  #waypoint: LabProcess | null = null;
  readonly #webServers = new Map<LabPod, LabProcess>();

  private constructor(lab: Lab, tools: Tools, options: BenchOptions, load: number) {
    this.lab = lab;
    this.tools = tools;
    this.cpus = options.cpus;
    this.load = load;
    this.#ipv6 = options.ipv6;
    this.#configDir = join(lab.directory, 'config');
    const pairs = (kind: string): Pairs => {
      const to = (server: keyof Pairs): Pair => ({
        client: this.#pod(`${kind}-client`),
        server: this.#pod(`${kind}-${server}`),
        waits: true,
      });
      return { near: to('near'), far: to('far'), bridged: to('bridged') };
    };
    this.meshed = pairs('meshed');
    this.plain = pairs('plain');
  }

  /** Two stages of different names may be up side by side. */
  static async create(options: BenchOptions, { name, load }: StageShape = usual): Promise<Stage> {
    const tools = await buildTools();
    const pods = ['meshed', 'plain'].flatMap(kind =>
      Object.entries({ client: 'node-a', near: 'node-a', far: 'node-b', bridged: 'node-b' }).map(
        ([role, node]) => ({
          name: `${kind}-${role}`,
          node,
          namespace: 'bench',
          serviceAccount: role,
          labels: kind === 'meshed' ? { ...enrolled, app: role } : {},
          outsideCgroupRoot: kind === 'plain',
          ...(role === 'bridged' ? { pluggedInto: 'node-a' } : {}),
        }),
      ),
    );
    const waypoint = {
      name: 'waypoint',
      node: 'node-b',
      namespace: 'bench',
      serviceAccount: 'waypoint',
      labels: { app: 'waypoint', 'culvert.dev/dataplane-mode': 'none' },
    };
    const lab = await Lab.create({ name, nodes: ['node-a', 'node-b'], pods: [...pods, waypoint] });
    try {
      const stage = new Stage(lab, tools, options, load);
      lab.writeConfig(stage.#configDir, { objects: stageObjects() });
      const pairs = [stage.meshed, stage.plain].flatMap(kind => Object.values(kind));
      for (const { server } of pairs) await stage.#serve(server);
      return stage;
    } catch (error) {
      await lab.dispose();
      throw error;
    }
  }

  /** What a client dials, in the family that is measured. */
  addressOf({ server, service }: Pair): string {
    const [v4, v6] = service === undefined ? [server.address, server.address6] : vips[service];
    return this.#ipv6 ? v6 : v4;
  }

  /** Both agents as set: the client's first. They are started, or started anew, when they are not. */
  async agents(setting: AgentSetting): Promise<readonly AgentProcess[]> {
    const { shards, cpus, kernelPath } = setting;
    const now = this.#setting;
    if (now?.shards === shards && now.cpus === cpus && now.kernelPath === kernelPath) return this.#agents;
    await this.stopAgents();
    const agents: AgentProcess[] = [];
    for (const node of this.lab.nodes) {
      agents.push(
        await this.lab.agent(node, {
          configDir: this.#configDir,
          openFiles: 65_536,
          logLevel: 'warn',
          shards,
          cpus,
          args: ['--kernel-path', kernelPath],
        }),
      );
    }
    this.#agents = agents;
    this.#setting = setting;
    return agents;
  }

  /**
   * The waypoint of the Service `routed`, on the same CPU, with an access log as agents have one. One that runs is taken as it
   * is.
   */
  async waypoint(env: Readonly<Record<string, string>> = {}): Promise<LabProcess> {
    const pod = this.#pod('waypoint');
    if (this.#waypoint?.running === true) return this.#waypoint;
    const args = ['--config', this.#configDir, '--name', 'bench/waypoint', '--access-log'];
    const log = join(this.lab.directory, 'waypoint.log');
    const waypoint = pod.spawn(launcher, ['waypoint', 'run', ...args, log], { cpus: this.cpus, env });
    this.#waypoint = waypoint;
    await waypoint.listensOn(15008);
    return waypoint;
  }

  async stopWaypoint(): Promise<void> {
    await this.#waypoint?.stop('SIGTERM', waypointGraceMs);
    this.#waypoint = null;
  }

  /** The web server of a pair. */
  webServer({ server }: Pair): LabProcess {
    const nginx = this.#webServers.get(server);
    if (nginx === undefined) throw new CulvertError('BENCH_STAGE', `${server.name} serves nothing`);
    return nginx;
  }

  async stopAgents(): Promise<void> {
    await Promise.all(this.#agents.map(agent => agent.stop()));
    this.#agents = [];
    this.#setting = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.dispose();
  }

  #pod(name: string): LabPod {
    const found = this.lab.allPods.find(candidate => candidate.name === name);
    if (found === undefined) throw new CulvertError('BENCH_STAGE', `no pod ${name}`);
    return found;
  }

  async #serve(pod: LabPod): Promise<void> {
    const { cpus } = this;
    const load = pod.spawn(this.tools.load, ['server', String(loadPort)], { cpus });
    const eventLoad = pod.spawn(this.tools.load, ['server', String(eventLoadPort)], {
      cpus,
      env: nonblocking,
    });
    const path = join(this.lab.directory, `nginx-${pod.name}.conf`);
    writeFileSync(
      path,
      nginxConfiguration(httpPort, join(this.lab.directory, `nginx-${pod.name}`), this.load),
    );
    const nginx = pod.spawn('nginx', ['-c', path], { cpus, openFiles: 65_536 });
    this.#webServers.set(pod, nginx);
    await Promise.all([
      load.listensOn(loadPort),
      eventLoad.listensOn(eventLoadPort),
      nginx.listensOn(httpPort),
    ]);
  }
}
