/**
 * The one port that agents and other meshes' proxies speak to: gRPC over TLS, for all services of the control plane.
 *
 * Connections are accepted here and handed to gRPC, so that their number is bounded and one of them can be ended. Each
 * lives for a limited time, give or take a tenth, so that after a restart the replicas share them again before long.
 */
import { createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';
import {
  type ConnectionInjector,
  Server,
  ServerCredentials,
  type ServerInterceptor,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { CulvertError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ControlMetrics } from './control-metrics.ts';

export interface ServedService {
  readonly definition: ServiceDefinition;
  readonly handlers: UntypedServiceImplementation;
}

/** What the server proves itself by; PEM. */
export interface ServingKey {
  /** Leaf and intermediates. */
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

export interface GrpcServerOptions {
  readonly host: string;
  /** 0 for any. */
  readonly port: number;
  readonly services: readonly ServedService[];
  /** Before every call, the first one innermost; see guard.ts. */
  readonly interceptors: readonly ServerInterceptor[];
  readonly log: Logger;
  readonly metrics: ControlMetrics;
  readonly limits: Partial<GrpcServerLimits>;
}

export interface GrpcServerLimits {
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly handshakeMs: number;
  readonly streamsPerConnection: number;
  readonly maxRequestBytes: number;
  /** A connection without a stream is closed after this. */
  readonly idleMs: number;
  /** Age at which a client is asked to connect anew, and what it has for that. */
  readonly maxAgeMs: number;
  readonly maxAgeGraceMs: number;
  /** How often a silent client is asked whether it lives, and how long it may take to say so. */
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
}

const grpcServerLimits: GrpcServerLimits = {
  connections: 16_384,
  connectionsPerAddress: 4_096,
  handshakeMs: 10_000,
  streamsPerConnection: 64,
  // An agent that comes back names everything it has: 100 bytes for each of 100 000 workloads.
  maxRequestBytes: 16 << 20,
  idleMs: 60_000,
  maxAgeMs: 30 * 60_000,
  maxAgeGraceMs: 10_000,
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 20_000,
};

/** Certificates that can be replaced while connections are open. */
class ServingCredentials extends ServerCredentials {
  constructor(handshakeTimeout: number) {
    super({ handshakeTimeout });
  }

  use({ certificatePem, privateKeyPem }: ServingKey): void {
    this.updateSecureContextOptions({ cert: certificatePem, key: privateKeyPem, minVersion: 'TLSv1.3' });
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}

export class GrpcServer {
  readonly #options: GrpcServerOptions;
  readonly #limits: GrpcServerLimits;
  readonly #credentials: ServingCredentials;
  readonly #server: Server;
  readonly #injector: ConnectionInjector;
  readonly #listener: NetServer;
  /** By `address:port` of the peer. */
  readonly #sockets = new Map<string, Socket>();
  readonly #perAddress = new Map<string, number>();

  constructor(
    given: Pick<GrpcServerOptions, 'services' | 'interceptors' | 'log' | 'metrics'> &
      Partial<GrpcServerOptions>,
  ) {
    this.#options = { host: '::', port: 15_012, limits: {}, ...given };
    const limits = { ...grpcServerLimits, ...this.#options.limits };
    this.#limits = limits;
    this.#credentials = new ServingCredentials(limits.handshakeMs);
    this.#server = new Server({
      interceptors: [...this.#options.interceptors],
      'grpc.enable_channelz': 0,
      'grpc.max_receive_message_length': limits.maxRequestBytes,
      'grpc.max_send_message_length': -1,
      'grpc.max_concurrent_streams': limits.streamsPerConnection,
      'grpc.max_connection_idle_ms': limits.idleMs,
      'grpc.max_connection_age_ms': limits.maxAgeMs,
      'grpc.max_connection_age_grace_ms': limits.maxAgeGraceMs,
      'grpc.keepalive_time_ms': limits.keepaliveMs,
      'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
    });
    for (const { definition, handlers } of this.#options.services)
      this.#server.addService(definition, handlers);
    this.#injector = this.#server.createConnectionInjector(this.#credentials);
    this.#listener = createServer({ noDelay: true }, socket => this.#accept(socket));
    this.#listener.maxConnections = limits.connections;
    this.#listener.on('drop', () => this.#options.metrics.connectionsRefused.inc());
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** New connections get this certificate; those that are open keep theirs. Without any, nobody is let in. */
  useCertificate(key: ServingKey): void {
    this.#credentials.use(key);
  }

  /** Listens; returns the port. */
  async start(): Promise<number> {
    const { host, port } = this.#options;
    try {
      return await listen(this.#listener, host, port);
    } catch (cause) {
      // A machine without IPv6.
      if (host === '::' && codeOf(cause) === 'EAFNOSUPPORT') return listen(this.#listener, '0.0.0.0', port);
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CulvertError('CONTROL_LISTEN', `cannot listen on ${host} port ${port}: ${why}`, {
        fix: 'free the port, or choose another',
        cause,
      });
    }
  }

  /** Ends the connection with a peer at once. */
  cut(peer: string): void {
    this.#sockets.get(peer)?.destroy();
  }

  /** Takes no more connections, lets calls end, and after `deadlineMs` ends them. Streams are their services' to end. */
  async drain(deadlineMs: number): Promise<void> {
    this.#listener.close();
    const ended = new Promise<void>(resolve => this.#server.tryShutdown(() => resolve()));
    const late = setTimeout(() => {
      for (const socket of this.#sockets.values()) socket.destroy();
    }, deadlineMs);
    await ended;
    clearTimeout(late);
    const sockets = [...this.#sockets.values()];
    await Promise.all(sockets.map(socket => new Promise(resolve => socket.once('close', resolve).destroy())));
    this.#server.forceShutdown();
  }

  #accept(socket: Socket): void {
    const { metrics } = this.#options;
    const { remoteAddress: address, remotePort } = socket;
    const count = this.#perAddress.get(address ?? '') ?? 0;
    if (address === undefined || count >= this.#limits.connectionsPerAddress) {
      if (address !== undefined) metrics.connectionsRefused.inc();
      socket.destroy();
      return;
    }
    const peer = `${address}:${remotePort}`;
    this.#sockets.set(peer, socket);
    this.#perAddress.set(address, count + 1);
    metrics.connections.inc();
    socket.on('error', () => {});
    socket.once('close', () => {
      metrics.connections.dec();
      this.#sockets.delete(peer);
      const left = (this.#perAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#perAddress.delete(address);
      else this.#perAddress.set(address, left);
    });
    this.#injector.injectConnection(socket);
  }
}

function listen(server: NetServer, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function codeOf(thrown: unknown): string | null {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : null;
}
