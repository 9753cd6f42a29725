/**
 * What a waypoint shows to the outside: Prometheus on :15020, readiness on :15021, administration on :15000 (loopback).
 */
import { Registry } from 'prom-client';
import { CulvertError } from '../base/errors.ts';
import { HttpServer, jsonReply, type HttpRoutes } from '../base/http.ts';
import { readyRoutes } from '../base/ready.ts';
import { versionString } from '../base/version.ts';
import { keySetsOf } from './key-sets.ts';
import type { Waypoint } from './waypoint.ts';

export class WaypointSurface {
  readonly #waypoint: Waypoint;
  readonly #servers: HttpServer[] = [];
  readonly #registry = new Registry();
  /** Someone on the admin port wants this process to end; set by whoever owns it. */
  onShutdownRequest: () => void = () => {};

  constructor(waypoint: Waypoint) {
    this.#waypoint = waypoint;
    waypoint.context.metrics.register(this.#registry);
  }

  /** Binds the three servers; throws PORT_UNAVAILABLE for the first that can't. */
  async start(): Promise<void> {
    const { config, ready, context } = this.#waypoint;
    try {
      await this.#serve('127.0.0.1', config.adminPort, this.#admin(), true);
      await this.#serve(config.metricsAddress, config.metricsPort, this.#metrics(), false);
      await this.#serve(
        config.readyAddress,
        config.readyPort,
        readyRoutes(ready, () => context.draining),
        false,
      );
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map(server => server.close()));
  }

  async #serve(address: string, port: number, routes: HttpRoutes, localOnly: boolean): Promise<void> {
    const { log } = this.#waypoint;
    try {
      this.#servers.push(await HttpServer.listen({ address, port, routes, log, localOnly }));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CulvertError('PORT_UNAVAILABLE', `cannot serve on ${address}:${port}: ${why}`, {
        fix: 'choose other ports with --admin-port, --metrics-port and --ready-port',
        cause,
      });
    }
  }

  #metrics(): HttpRoutes {
    const type = this.#registry.contentType;
    return { 'GET /metrics': async () => ({ type, body: await this.#registry.metrics() }) };
  }

  #admin(): HttpRoutes {
    const { config, context, ready } = this.#waypoint;
    return {
      'GET /status': () =>
        jsonReply({
          version: versionString(),
          gateway: config.gateway,
          workload: context.self?.uid ?? null,
          ready: ready.ready,
          pending: ready.pending(),
          configuration: this.#waypoint.source?.state() ?? null,
          barred: context.barred.size,
          tunnels: { inbound: this.#waypoint.tunnels, outbound: context.pool.count() },
          routes: context.routes.all().length + context.tcpRoutes.all().length,
        }),
      'GET /traffic': () =>
        jsonReply({
          rules: context.traffic.all(),
          upstreams: [...context.upstreams.all()].map(upstream => upstream.state()),
        }),
      'GET /routes': () => jsonReply([...context.routes.all(), ...context.tcpRoutes.all()]),
      'GET /keys': () => jsonReply(keySetsOf(context).state()),
      'GET /findings': () => jsonReply(this.#waypoint.source?.findings() ?? []),
      'POST /drain': () => {
        this.onShutdownRequest();
        return { status: 202, body: 'draining\n' };
      },
    };
  }
}
