/**
 * A whole waypoint in this process: configuration in a directory, pods that are ports of this machine, and a
 * client that comes through a tunnel as an agent would. What is sent and received are bytes on real connections.
 */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { Registry } from 'prom-client';
import { defaultWaypointLimits, type WaypointLimits } from '../../waypoint/config.ts';
import { Waypoint } from '../../waypoint/waypoint.ts';
import type { TunnelPool } from '../../tunnel/pool.ts';
import { eventually } from '../lab/eventually.ts';
import { issue, poolOf } from '../direct/tunnel-world.ts';
import { type Answer, request, throughTunnel } from './application.ts';
import { dialHere, onLoopback, patient } from './on-loopback.ts';
import { PodAgent } from './pod-agent.ts';
import { meshOf, type PodPlace, vip } from './world-objects.ts';

/** Where agents listen. */
const tunnelPort = 15_008;
const waypointIdentity = 'spiffe://cluster.local/ns/shop/sa/waypoint';

export interface WorldOptions {
  /** Further objects, YAML. */
  readonly objects?: string;
  /** Of the Service web, whose port 80 leads to 8080 of its pods. */
  readonly appProtocol?: string;
  /** Names of the pods; each is an endpoint of a Service of its own name, and all are of the Service web. */
  readonly pods?: readonly string[];
  readonly limits?: Partial<WaypointLimits>;
  /** Namespace of the client. */
  readonly client?: string;
  /** Time, for a test that lets it pass. */
  readonly now?: () => number;
  /** Further labels of a pod. */
  readonly labels?: (pod: string) => Readonly<Record<string, string>>;
  /** Whether the pods are in the mesh: each is reached by a tunnel, as `agents` saw. */
  readonly isMeshed?: boolean;
  /** What the waypoint has instead of a connection to a pod that it has dialled. */
  readonly wrap?: (socket: net.Socket) => net.Socket;
}

/** A server of a test, on the port of a pod. */
export interface Backend {
  readonly pod: string;
  /** Bytes that came, on all connections together. */
  received(): string;
}

export class World implements AsyncDisposable {
  readonly directory: string;
  readonly waypoint: Waypoint;
  readonly #pool: TunnelPool;
  readonly #pods: ReadonlyMap<string, PodPlace>;
  readonly #servers = new Set<net.Server>();
  readonly #sockets = new Set<net.Socket>();
  readonly #accessLog: string;
  /** By the name of their pods; none where the pods are not in the mesh. */
  readonly agents: ReadonlyMap<string, PodAgent>;

  private constructor(
    directory: string,
    waypoint: Waypoint,
    pool: TunnelPool,
    pods: ReadonlyMap<string, PodPlace>,
    accessLog: string,
    agents: ReadonlyMap<string, PodAgent>,
  ) {
    this.agents = agents;
    this.directory = directory;
    this.waypoint = waypoint;
    this.#pool = pool;
    this.#pods = pods;
    this.#accessLog = accessLog;
  }

  static async create(options: WorldOptions = {}): Promise<World> {
    const {
      pods: names = ['web'],
      client: namespace = 'shop',
      limits = {},
      objects = '',
      appProtocol,
      now = Date.now,
      wrap = socket => socket,
      isMeshed = false,
      labels = () => ({}),
    } = options;
    const directory = join(
      tmpdir(),
      `culvert-waypoint-${process.pid}-${Math.random().toString(36).slice(2)}`,
    );
    mkdirSync(directory, { recursive: true });
    const pods = new Map<string, PodPlace>();
    for (const [index, name] of names.entries())
      pods.set(name, { address: `10.0.1.${index + 1}`, port: await freePort(), labels: labels(name) });
    writeFileSync(join(directory, 'mesh.yaml'), meshOf(pods, appProtocol, isMeshed));
    writeFileSync(join(directory, 'routes.yaml'), objects);
    const authority = join(directory, '.culvert', 'authority.pem');
    const accessLog = join(directory, '.culvert', 'access.log');
    const agents = new Map<string, PodAgent>();
    const waypoint = new Waypoint(
      {
        source: { kind: 'directory', directory, authority: null },
        gateway: { namespace: 'shop', name: 'wp' },
        ...onLoopback,
        accessLog,
        limits: patient(limits),
      },
      async (address, port, timeoutMs) => {
        const [pod = ''] = [...pods].find(([, place]) => place.address === address) ?? [];
        const at = port === tunnelPort ? (agents.get(pod)?.port ?? port) : port;
        return wrap(await dialHere(address, at, timeoutMs));
      },
      now,
    );
    await waypoint.start();
    const [certificate] = await issue(authority, [`spiffe://cluster.local/ns/${namespace}/sa/client`]);
    if (isMeshed) {
      const [proof] = await issue(authority, ['spiffe://cluster.local/ns/shop/sa/web']);
      for (const [name, { port }] of pods) agents.set(name, await PodAgent.start(proof, port));
    }
    await eventually(() => waypoint.ready.ready, { what: 'the waypoint' });
    const pool = poolOf(certificate, defaultWaypointLimits);
    return new World(directory, waypoint, pool, pods, accessLog, agents);
  }

  /** A server at the port of a pod that hands each connection to `handle`. */
  async serve(pod: string, handle: (socket: net.Socket) => void): Promise<Backend> {
    let received = '';
    const { port } = this.#placeOf(pod);
    const server = net.createServer({ allowHalfOpen: true }, socket => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).once('close', () => this.#sockets.delete(socket));
      socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
      handle(socket);
    });
    this.#servers.add(server);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return { pod, received: () => received };
  }

  /** An HTTP server at the port of a pod; without `handle` it says what it got. */
  async serveHttp(pod: string, handle?: http.RequestListener): Promise<Backend> {
    const server = http.createServer({ keepAliveTimeout: 60_000 }, handle ?? describe(pod));
    return this.serve(pod, socket => server.emit('connection', socket));
  }

  /** Connections to the port of a pod go on to another port of this machine. */
  forward(pod: string, port: number): Promise<Backend> {
    return this.serve(pod, socket => {
      const other = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
      other.on('error', () => socket.destroy());
      socket.on('close', () => other.destroy());
      socket.pipe(other).pipe(socket);
    });
  }

  /** No server there any more, and no connection; of one pod, or of all. */
  stopServing(pod?: string): void {
    const port = pod === undefined ? null : this.#placeOf(pod).port;
    for (const server of this.#servers) {
      const address = server.address();
      if (port !== null && (address === null || typeof address === 'string' || address.port !== port))
        continue;
      server.close();
      this.#servers.delete(server);
    }
    for (const socket of this.#sockets) if (port === null || socket.localPort === port) socket.destroy();
  }

  /** A metric of the waypoint, 0 where it has not counted anything yet. */
  async metric(name: string, labels = ''): Promise<number> {
    const registry = new Registry();
    this.waypoint.context.metrics.register(registry);
    const line = (await registry.metrics()).split('\n').find(each => each.startsWith(`${name}${labels} `));
    return Number(line?.split(' ').at(-1) ?? 0);
  }

  /** A connection through a tunnel to an authority, as an application in the mesh has it. */
  async connect(authority = `${vip}:80`): Promise<Duplex> {
    return throughTunnel(this.#pool, {
      port: this.waypoint.port,
      waypointIdentity,
      authority,
      fields: [['forwarded', 'for="127.0.0.1:4711"']],
    });
  }

  /** Sends bytes as they are and returns all that comes back until the waypoint, or the client after `until`, ends. */
  async raw(bytes: string, options: { until?: RegExp; authority?: string } = {}): Promise<string> {
    const socket = await this.connect(options.authority);
    socket.write(bytes, 'latin1');
    let answer = '';
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      answer += chunk.toString('latin1');
      if (options.until?.test(answer) === true) break;
    }
    socket.destroy();
    return answer;
  }

  /** One request by Node's own client. */
  async request(
    path: string,
    options: http.RequestOptions & { body?: string; authority?: string } = {},
  ): Promise<Answer> {
    const { authority, ...rest } = options;
    return request(await this.connect(authority), path, rest);
  }

  /** Of the configuration that is in force. */
  get generation(): number {
    return this.waypoint.source?.state().generation ?? 0;
  }

  /** Replaces the routes and waits until they are in force. */
  async routes(objects: string): Promise<void> {
    const before = this.generation;
    writeFileSync(join(this.directory, 'routes.yaml'), objects);
    await eventually(() => this.generation > before, {
      what: 'new routes',
    });
  }

  /** Waits for an access line with these fields. */
  line(fields: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
    return eventually(
      () =>
        this.lines().findLast(line => Object.entries(fields).every(([name, value]) => line[name] === value)),
      { what: `an access line with ${JSON.stringify(fields)}` },
    );
  }

  lines(): Record<string, unknown>[] {
    return this.text()
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line) as Record<string, unknown>);
  }

  /** The access log as it is. */
  text(): string {
    try {
      return readFileSync(this.#accessLog, 'utf8');
    } catch {
      return '';
    }
  }

  /** What Prometheus would read. */
  metrics(): Promise<string> {
    const registry = new Registry();
    this.waypoint.context.metrics.register(registry);
    return registry.metrics();
  }

  /** The address of a pod with its port. */
  podAuthority(pod: string): string {
    const { address, port } = this.#placeOf(pod);
    return `${address}:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pool.close(new Error('over') as never);
    await this.waypoint.stop();
    for (const agent of this.agents.values()) agent.close();
    this.stopServing();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #placeOf(pod: string): PodPlace {
    const place = this.#pods.get(pod);
    if (place === undefined) throw new Error(`no pod ${pod}`);
    return place;
  }
}

/** Answers every request that has come whole, as far as its head says. */
export function okay(socket: net.Socket): void {
  socket
    .on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
    .on('end', () => socket.end());
}

function describe(pod: string): http.RequestListener {
  return (request, response) => {
    let body = '';
    request.on('data', chunk => (body += String(chunk)));
    request.on('end', () => {
      response.setHeader('x-pod', pod);
      response.end(
        JSON.stringify({ pod, method: request.method, url: request.url, headers: request.headers, body }),
      );
    });
  };
}

/** Below those that the kernel gives to clients (ip_local_port_range): nobody gets it before a server of ours is there. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000);
    const server = net.createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.close();
    if (isFree) return port;
  }
}
