/**
 * What a control plane shows to the outside: Prometheus on :15014, readiness on :15021, administration on :15000 (loopback,
 * so for `kubectl port-forward`). Reads the parts; the only changes that it makes are log levels and shutdown.
 */
import { CulvertError } from '../base/errors.ts';
import { HttpServer, jsonReply, type HttpRoutes } from '../base/http.ts';
import { createLogger, levels, setLevels } from '../base/log.ts';
import { readyRoutes } from '../base/ready.ts';
import { versionString } from '../base/version.ts';
import { servedTypes } from './ads-types.ts';
import type { Control } from './control.ts';
import type { Finding } from './finding.ts';
import type { ResourceStore } from './resources.ts';
import { registerState } from './state-metrics.ts';

/** What `GET /status` says. */
export interface ControlStatus {
  readonly version: string;
  readonly identity: string;
  readonly uptimeSeconds: number;
  readonly ready: boolean;
  /** What it waits for before it is ready. */
  readonly pending: readonly string[];
  readonly draining: boolean;
  /** Whether this replica writes, and who does as far as it knows. */
  readonly leads: boolean;
  readonly leader: string | null;
  /** What keeps it from doing all that it should. */
  readonly problems: readonly string[];
  readonly trustDomain: string;
  /** What clients can be told of, by type. */
  readonly resources: Readonly<Record<string, number>>;
  readonly clients: { readonly streams: number; readonly agents: number };
  /** Objects in force by kind and group. */
  readonly objects: Readonly<Record<string, number>>;
  readonly findings: Readonly<Record<Finding['severity'], number>>;
  readonly authority: { readonly roots: readonly unknown[]; readonly notAfter: string } | null;
}

export class Surface {
  readonly #control: Control;
  readonly #servers: HttpServer[] = [];

  constructor(control: Control) {
    this.#control = control;
    registerState(control);
  }

  /** Binds the three servers; throws PORT_UNAVAILABLE for the first that can't. */
  async start(): Promise<void> {
    const { config, ready, registry } = this.#control;
    const metrics: HttpRoutes = {
      'GET /metrics': async () => ({ type: registry.contentType, body: await registry.metrics() }),
    };
    try {
      await this.#serve('127.0.0.1', config.adminPort, this.#adminRoutes(), true);
      await this.#serve(config.address, config.metricsPort, metrics, false);
      const health = readyRoutes(ready, () => this.#control.draining);
      await this.#serve(config.address, config.readyPort, health, false);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Of administration, metrics and readiness, in this order. */
  get ports(): number[] {
    return this.#servers.map(({ port }) => port);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map(server => server.close()));
  }

  async #serve(address: string, port: number, routes: HttpRoutes, localOnly: boolean): Promise<void> {
    const log = createLogger({ component: 'admin', level: this.#control.config.logLevel });
    const listen = (at: string): Promise<HttpServer> =>
      HttpServer.listen({ address: at, port, routes, log, localOnly });
    try {
      this.#servers.push(
        await listen(address).catch((error: unknown) => retryWithoutIpv6(error, address, listen)),
      );
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CulvertError('PORT_UNAVAILABLE', `cannot serve on ${address} port ${port}: ${why}`, {
        fix: 'choose other ports with --admin-port, --metrics-port and --ready-port',
        cause,
      });
    }
  }

  #adminRoutes(): HttpRoutes {
    const control = this.#control;
    return {
      'GET /status': () => jsonReply(statusOf(control)),
      'GET /findings': () => jsonReply(control.findings()),
      'GET /config_dump': () =>
        jsonReply({
          version: versionString(),
          config: control.config,
          kinds: control.watch.state(),
          settings: control.builder.settings,
          ...control.builder.mesh(),
          nodePods: control.builder.nodePods(),
          authority: control.authority?.status() ?? null,
        }),
      'GET /logging': () => jsonReply(levels()),
      'POST /logging': ({ query }) => {
        const problem = setLevels(query.get('level') ?? '');
        return problem === null ? jsonReply(levels()) : { status: 400, body: `${problem}\n` };
      },
      'POST /drain': () => {
        control.onShutdownRequest();
        return { status: 202, body: 'draining\n' };
      },
    };
  }
}

function statusOf(control: Control): ControlStatus {
  const { ready, lease, builder, resources } = control;
  const authority = control.authority?.status() ?? null;
  return {
    version: versionString(),
    identity: control.config.identity,
    uptimeSeconds: Math.floor((Date.now() - control.startedAt) / 1_000),
    ready: ready.ready && !control.draining,
    pending: ready.pending(),
    draining: control.draining,
    leads: lease.isLeader,
    leader: lease.holder,
    problems: control.problems(),
    trustDomain: builder.config.trustDomain,
    resources: resourceCounts(resources),
    clients: control.clients,
    objects: control.objects.counts(),
    findings: control.findingCounts(),
    authority:
      authority === null
        ? null
        : { roots: authority.roots, notAfter: new Date(authority.notAfter).toISOString() },
  };
}

function resourceCounts(resources: ResourceStore): Record<string, number> {
  return Object.fromEntries(
    servedTypes.map(({ typeUrl, label }) => [label, resources.collection(typeUrl)?.size ?? 0]),
  );
}

/** A machine without IPv6 has no `::`. */
function retryWithoutIpv6(
  error: unknown,
  address: string,
  listen: (address: string) => Promise<HttpServer>,
): Promise<HttpServer> {
  const { code } = error as NodeJS.ErrnoException;
  if (address !== '::' || code !== 'EAFNOSUPPORT') throw error;
  return listen('0.0.0.0');
}
