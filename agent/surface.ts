/**
 * What an agent shows to the outside: Prometheus on :15020, readiness on :15021, administration on :15000 (loopback).
 * Reads the agent's parts; the only changes that it makes are log levels and shutdown.
 */
import { CulvertError } from '../base/errors.ts';
import { HttpServer, jsonReply, type HttpRoutes } from '../base/http.ts';
import { createLogger, levels, logDestination, type Logger } from '../base/log.ts';
import { readyRoutes } from '../base/ready.ts';
import { versionString } from '../base/version.ts';
import * as native from '../native/native.ts';
import type { Agent } from './agent.ts';
import type { ClusterState } from './cluster/cluster-state.ts';
import type { ConnectionView } from './connections.ts';
import type { PortEstate } from './handover/estate.ts';
import { crashes } from './handover/keeper.ts';
import type { Ports } from './handover/place.ts';
import type { MeshSource } from './mesh-source.ts';
import { Metrics, metricsRoutes } from './metrics.ts';
import { statusOf } from './status.ts';

/** Shards are asked at scrapes; this keeps series and event-loop numbers fresh when nobody scrapes. */
const refreshMs = 15_000;
const loopback = '127.0.0.1';

/**
 * Readiness alone, for an agent that has the node to itself and waits for the mesh, which may take as long as there is no
 * control plane. A kubelet that found nobody there would kill it, again and again and ever later.
 */
export function serveReadiness(agent: Agent): Promise<HttpServer> {
  const log = createLogger({ component: 'admin', level: agent.config.logLevel });
  return listen({ ...readiness(agent), fd: null, log });
}

export class Surface implements Ports {
  readonly #agent: Agent;
  /** What serves already; null for nothing, and once it is among the others. */
  #early: HttpServer | null;
  readonly #log: Logger;
  readonly #servers: HttpServer[] = [];
  /** Copies of the listening sockets, while another agent serves on them. */
  readonly #lent: PortEstate[] = [];
  readonly #metrics: Metrics;
  #timer: NodeJS.Timeout | null = null;
  #refreshing: Promise<void> | null = null;

  /**
   * @param agent started
   * @param early its readiness, where that is served already
   */
  constructor(agent: Agent, early: HttpServer | null = null) {
    this.#agent = agent;
    this.#early = early;
    this.#log = createLogger({ component: 'admin', level: agent.config.logLevel });
    const { parts } = agent;
    this.#metrics = new Metrics({
      version: versionString(),
      config: () => parts.source.state(),
      certificates: () =>
        parts.certificates
          .state()
          .flatMap(({ identity, notAfter }) => (notAfter === null ? [] : [{ identity, notAfter }])),
      certificateEvents: () => this.#agent.certificateEvents,
      pods: () => parts.pods.counts(),
      shards: () => ({
        configured: parts.shards.count,
        running: parts.shards.running,
        restarts: parts.shards.restarts,
      }),
      redirect: () => parts.redirect.counters(),
      handovers: () => this.#agent.handovers,
      crashes,
      kernelPath: () => parts.kernelPath.state(),
      logLinesLost: () => logDestination().dropped,
      cluster: clusterOf(parts.source),
    });
    parts.lostShard = index => this.#metrics.shardLost(index);
  }

  /** Binds the three servers; throws PORT_UNAVAILABLE for the first that can't. */
  async start(): Promise<void> {
    const { config } = this.#agent;
    const log = this.#log;
    if (this.#early !== null) this.#servers.push(this.#early);
    const isReadinessServed = this.#early !== null;
    this.#early = null;
    try {
      await this.#serve({
        address: loopback,
        port: config.adminPort,
        routes: this.#adminRoutes(),
        localOnly: true,
      });
      await this.#serve({
        address: config.metricsAddress,
        port: config.metricsPort,
        routes: metricsRoutes(this.#metrics, () => this.#refresh()),
        localOnly: false,
      });
      if (!isReadinessServed) await this.#serve(readiness(this.#agent));
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#agent.portsTaken();
    // Readiness is not kept for a crash: the next agent answers there before it takes what was.
    for (const { address, port, fd } of this.#servers)
      if (port !== config.readyPort) this.#agent.parts.keeper?.keepPort({ address, port, fd });
    this.#timer = setInterval(() => {
      this.#refresh().catch((error: unknown) =>
        log.error({ err: String(error) }, 'metrics could not be collected'),
      );
    }, refreshMs).unref();
  }

  async stop(): Promise<void> {
    await this.release();
    for (const { fd } of this.#lent.splice(0)) native.close(fd);
  }

  /** The sockets, for the agent that takes over; copies are kept, so that they can be served again. */
  estate(): readonly PortEstate[] {
    for (const { address, port, fd } of this.#servers)
      this.#lent.push({ address, port, fd: native.duplicate(fd) });
    return this.#lent;
  }

  async release(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.all(this.#servers.splice(0).map(server => server.close()));
  }

  async takeBack(): Promise<void> {
    if (this.#servers.length === 0) await this.start();
    for (const { fd } of this.#lent.splice(0)) native.close(fd);
  }

  #inherited(address: string, port: number): number | null {
    const own = this.#lent.find(lent => lent.address === address && lent.port === port);
    return own === undefined ? this.#agent.inheritedPort(address, port) : native.duplicate(own.fd);
  }

  async #serve(served: Served): Promise<void> {
    const fd = this.#inherited(served.address, served.port);
    this.#servers.push(await listen({ ...served, fd, log: this.#log }));
  }

  /** One question at a time: a snapshot must reach the sums once, and in order. */
  #refresh(): Promise<void> {
    this.#refreshing ??= this.#collect().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #collect(): Promise<void> {
    for (const { shard, answer } of await this.#agent.parts.shards.ask('metrics'))
      this.#metrics.apply(shard, answer.snapshot);
  }

  async #connections(): Promise<ConnectionView[]> {
    const answers = await this.#agent.parts.shards.ask('connections');
    return answers.flatMap(({ answer }) => [...answer.connections]);
  }

  #adminRoutes(): HttpRoutes {
    const agent = this.#agent;
    const { parts } = agent;
    return {
      'GET /status': () => jsonReply(statusOf(agent)),
      'GET /config_dump': async () =>
        jsonReply({
          version: versionString(),
          config: agent.config,
          mesh: agent.settings,
          ...agent.mesh.snapshot(),
          pods: parts.pods.list().map(({ wanted, cookie }) => ({ ...wanted, cookie })),
          certificates: parts.certificates.state(),
          connections: await this.#connections(),
        }),
      'GET /certificates': () => jsonReply(parts.certificates.state()),
      'GET /connections': async () => jsonReply(await this.#connections()),
      'GET /findings': () => jsonReply(parts.source.findings()),
      'GET /redirect': () =>
        jsonReply({ enrolled: parts.redirect.enrolled(), counters: parts.redirect.counters() }),
      'GET /logging': () => jsonReply(levels()),
      'POST /logging': ({ query }) => {
        const problem = agent.setLogLevel(query.get('level') ?? '');
        return problem === null ? jsonReply(levels()) : { status: 400, body: `${problem}\n` };
      },
      'POST /drain': () => {
        agent.onShutdownRequest();
        return { status: 202, body: 'draining\n' };
      },
    };
  }
}

interface Served {
  readonly address: string;
  readonly port: number;
  readonly routes: HttpRoutes;
  readonly localOnly: boolean;
}

function readiness(agent: Agent): Served {
  const routes = readyRoutes(agent.ready, () => agent.draining);
  return { address: loopback, port: agent.config.readyPort, routes, localOnly: false };
}

async function listen(options: Served & { fd: number | null; log: Logger }): Promise<HttpServer> {
  try {
    return await HttpServer.listen(options);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CulvertError('PORT_UNAVAILABLE', `cannot serve on ${options.address}:${options.port}: ${why}`, {
      fix: 'choose other ports with --admin-port, --metrics-port and --ready-port',
      cause,
    });
  }
}

/** The state of a cluster's source, whose being one never changes. */
function clusterOf(source: MeshSource): (() => ClusterState) | null {
  const first = source.clusterState();
  return first === null ? null : () => source.clusterState() ?? first;
}
