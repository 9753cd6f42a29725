/**
 * One waypoint: its parts, put together in the order in which they depend on each other, and its life from start to stop.
 *
 * The constructor does no I/O. `start` leaves nothing behind when it fails, `drain` accepts nothing new and waits for what
 * runs, `stop` ends.
 */
import { once } from 'node:events';
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { EndpointHealth } from '../tunnel/endpoint-health.ts';
import { CurrentCertificates } from '../tunnel/current-certificates.ts';
import { SourceCaps } from '../tunnel/source-caps.ts';
import { CulvertError } from '../base/errors.ts';
import { createLogger, reportTrouble, type Logger } from '../base/log.ts';
import { Ready } from '../base/ready.ts';
import { settle } from '../base/settle.ts';
import { canonicalIp } from '../model/address.ts';
import { Authentications, HttpPolicies } from '../model/http-policies.ts';
import { HttpRoutes } from '../model/http-routes.ts';
import { emptyL7, type L7State } from '../model/l7.ts';
import { TcpRoutes } from '../model/tcp-routes.ts';
import { TrafficRules } from '../model/traffic-rules.ts';
import { Mesh } from '../model/mesh.ts';
import { workloadIdentity, type Workload } from '../model/workload.ts';
import { Certificates } from '../tunnel/certificates.ts';
import { AccessLog } from './access-log.ts';
import { BarredList } from './barred.ts';
import type { WaypointConfig } from './config.ts';
import type { DialTcp, WaypointContext } from './context.ts';
import { drainHttp1 } from './http1-in.ts';
import { drainHttp2, warnHttp2 } from './http2-in.ts';
import { openSource, type WaypointSource, type WaypointUpdate } from './mesh-source.ts';
import { EndpointTlsStore } from './endpoint-tls.ts';
import { RequestMetrics } from './metrics.ts';
import { keySetsOf } from './key-sets.ts';
import { OpenConnections } from './open-connections.ts';
import { closePools } from './pools.ts';
import { RateLimits } from './rate-limits.ts';
import { flushSpans } from './report.ts';
import { TelemetryStore } from './telemetry.ts';
import { acceptTunnel, servesService, type OpenTunnels } from './tunnel-in.ts';
import { dialTcp, makePool } from './tunnel-out.ts';
import { Upstreams } from './upstreams.ts';

/** A pattern that would backtrack without end is run by V8's engine of linear time from here on. */
const backtracksAllowed = 20_000;

/** After the start, when what it needed is garbage. */
const settleAfterMs = 2_000;

export class Waypoint {
  readonly config: WaypointConfig;
  readonly log: Logger;
  readonly ready = new Ready();
  readonly context: WaypointContext;
  readonly #tasks = {
    configuration: this.ready.task('configuration'),
    certificate: this.ready.task('certificate'),
    listener: this.ready.task('listener'),
  };
  readonly #tunnels: OpenTunnels = new Set();
  #l7: L7State = emptyL7;
  #source: WaypointSource | null = null;
  #certificates: Certificates | null = null;
  #held: string | null = null;
  #server: net.Server | null = null;
  #settling: NodeJS.Timeout | undefined;

  /**
   * @param dial for whoever is not in the network of the pods
   * @param now milliseconds, for whoever lets time pass as he likes
   */
  constructor(config: WaypointConfig, dial: DialTcp = dialTcp, now: () => number = Date.now) {
    this.config = config;
    this.log = createLogger({ component: 'waypoint', level: config.logLevel });
    const { limits, accessLog } = config;
    const certificates = new CurrentCertificates();
    const mesh = new Mesh();
    const traffic = new TrafficRules();
    const routes = new HttpRoutes();
    const metrics = new RequestMetrics();
    const onOverflow = (limit: string): void => metrics.overflowed(limit);
    this.context = {
      config,
      log: this.log,
      mesh,
      routes,
      tcpRoutes: new TcpRoutes(routes),
      policies: new HttpPolicies(config.gateway),
      authentications: new Authentications(config.gateway),
      connections: new OpenConnections(),
      traffic,
      upstreams: new Upstreams({ mesh, traffic, now, random: Math.random, onOverflow }),
      tls: new EndpointTlsStore(config.gateway),
      barred: new BarredList(config.gateway),
      rates: new RateLimits(now),
      certificates,
      caps: new SourceCaps(limits.handshakesPerSource, limits.tunnelsPerSource),
      health: new EndpointHealth(limits.endpointPenaltyMs, now),
      pool: makePool({ config, certificates, dialTcp: dial }),
      access: accessLog === '' ? null : new AccessLog(accessLog === '-' ? null : accessLog, reportTrouble),
      dialTcp: dial,
      metrics,
      telemetry: new TelemetryStore(`${config.gateway.namespace}/${config.gateway.name}`),
      names: { trustDomain: '', network: '', clusterDomain: '' },
      self: null,
      draining: false,
    };
  }

  /** Where tunnels come to; 0 before the start. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Null before the start. */
  get source(): WaypointSource | null {
    return this.#source;
  }

  get tunnels(): number {
    return this.#tunnels.size;
  }

  async start(): Promise<void> {
    setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks');
    setFlagsFromString(`--regexp-backtracks-before-fallback=${backtracksAllowed}`);
    // What is made for a request goes with it. V8 learns otherwise in the first seconds, while there is little room and many requests
    // are under way in it, and from then on would make them old from birth: hundreds of megabytes, collected in pauses of 0.2 s.
    setFlagsFromString('--no-allocation-site-pretenuring');
    try {
      const source = await openSource(this.config.source, this.log);
      this.#source = source;
      this.#certificates = new Certificates({
        source: source.signer,
        onCertificate: (_identity, certificate) => {
          this.context.certificates.set(certificate);
          this.#tasks.certificate.done();
        },
        onFailure: (identity, { code, message: err, fix }, retryMs) =>
          this.log.warn({ code, identity, err, fix, retryMs }, 'no certificate'),
      });
      source.onUpdate = update => this.#adopt(update);
      this.#adopt(await source.start());
      this.#tasks.configuration.done();
      await this.#listen();
      this.#tasks.listener.done();
      this.#settling = setTimeout(settle, settleAfterMs).unref();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Accepts nothing new; ends when nothing runs any more, or at the deadline. */
  async drain(): Promise<void> {
    if (this.context.draining) return;
    this.context.draining = true;
    const { drainMs, drainIdleMs } = this.config.limits;
    this.log.info({ deadlineMs: drainMs }, 'draining');
    this.#server?.close();
    for (const tunnel of this.#tunnels) tunnel.goaway();
    warnHttp2(this.context);
    // Two steps, as a client may send on a connection in the very moment in which it is ended.
    const idle = setTimeout(() => {
      drainHttp1(this.context);
      drainHttp2(this.context);
    }, drainIdleMs);
    const deadline = Date.now() + drainMs;
    while (this.#tunnels.size > 0 && Date.now() < deadline)
      await new Promise(resolve => setTimeout(resolve, 50));
    clearTimeout(idle);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#settling);
    this.#server?.close();
    for (const tunnel of this.#tunnels) tunnel.destroy();
    await flushSpans(this.context);
    keySetsOf(this.context).close();
    this.context.tls.close();
    await closePools(this.context);
    this.context.pool.close(new CulvertError('STOPPED', 'the waypoint has ended'));
    this.#certificates?.close();
    await this.#source?.close();
    await this.context.access?.close();
  }

  async #listen(): Promise<void> {
    const { address, hbonePort } = this.config;
    const server = net.createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, raw =>
      acceptTunnel(this.context, this.#tunnels, raw),
    );
    this.#server = server;
    server.listen({ host: address, port: hbonePort });
    try {
      await once(server, 'listening');
    } catch (cause) {
      throw new CulvertError(
        'PORT_UNAVAILABLE',
        `cannot listen on ${address}:${hbonePort}: ${String(cause)}`,
        {
          fix: 'choose others with --address and --hbone-port',
          cause,
        },
      );
    }
  }

  #adopt({ mesh, names, l7, barred, self }: WaypointUpdate): void {
    const { context } = this;
    context.names = names;
    context.mesh.apply(mesh);
    context.barred.replace(barred);
    if (l7 !== this.#l7) this.#follow(l7);
    context.connections.judgeAgain();
    keySetsOf(context).follow(context.authentications.relevant(key => servesService(context, key)));
    const known = self === null ? this.#findSelf() : context.mesh.workload(self);
    // Its last requests are served by whom they came to, though nobody is led there any more.
    context.self = known ?? (context.draining ? context.self : null);
    const identity = context.self === null ? null : workloadIdentity(context.self);
    if (identity === null) {
      const { namespace, name } = this.config.gateway;
      const why = self === null ? `no pod of Service ${namespace}/${name}` : `${self} is not in the mesh`;
      this.#tasks.certificate.undo(why);
      this.log.warn({ code: 'UNKNOWN_WORKLOAD', fix: 'describe it: Gateway, Service and Pod' }, why);
    }
    if (identity === this.#held) return;
    if (identity !== null) this.#certificates?.hold(identity);
    if (this.#held !== null) this.#certificates?.release(this.#held);
    this.#held = identity;
  }

  #follow(l7: L7State): void {
    const { context } = this;
    const before = this.#l7;
    this.#l7 = l7;
    if (l7.routes !== before.routes) context.routes.replace(l7.routes);
    if (l7.tcpRoutes !== before.tcpRoutes) context.tcpRoutes.replace(l7.tcpRoutes);
    if (l7.traffic !== before.traffic) context.traffic.replace(l7.traffic);
    if (l7.credentials !== before.credentials) context.tls.replace(l7.credentials);
    if (l7.limits !== before.limits) context.rates.replace(l7.limits);
    if (l7.policies !== before.policies) context.policies.replace(l7.policies);
    if (l7.authentications !== before.authentications) context.authentications.replace(l7.authentications);
    if (l7.telemetry === before.telemetry) return;
    context.telemetry.replace(l7.telemetry);
    if (context.access !== null) context.access.format = context.telemetry.lineFormat();
  }

  /** The key of the Service that leads to this waypoint. */
  #ownService(): string {
    const { namespace, name } = this.config.gateway;
    return `${namespace}/${name}.${namespace}.svc.${this.context.names.clusterDomain}`;
  }

  /** The pod of the waypoint's Service that has an address of this machine; where none has, the first. */
  #findSelf(): Workload | null {
    const pods = this.context.mesh.endpoints(this.#ownService());
    const own = new Set(
      Object.values(networkInterfaces()).flatMap(list =>
        (list ?? []).map(({ address }) => canonicalIp(address)),
      ),
    );
    return pods.find(({ addresses }) => addresses.some(ip => own.has(ip))) ?? pods[0] ?? null;
  }
}
