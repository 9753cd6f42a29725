/**
 * What every part of a waypoint works with: the mesh and its routes as they are now, certificates, counters, logs.
 */
import type { Socket } from 'node:net';
import type { EndpointHealth } from '../tunnel/endpoint-health.ts';
import type { CurrentCertificates } from '../tunnel/current-certificates.ts';
import type { SourceCaps } from '../tunnel/source-caps.ts';
import type { Logger } from '../base/log.ts';
import type { Authentications, HttpPolicies } from '../model/http-policies.ts';
import type { HttpRoutes } from '../model/http-routes.ts';
import type { Mesh } from '../model/mesh.ts';
import type { TcpRoutes } from '../model/tcp-routes.ts';
import type { TrafficRules } from '../model/traffic-rules.ts';
import type { Service } from '../model/service.ts';
import { workloadIdentity, type Workload } from '../model/workload.ts';
import type { TunnelPool } from '../tunnel/pool.ts';
import type { AccessLog } from './access-log.ts';
import type { BarredList } from './barred.ts';
import type { WaypointConfig } from './config.ts';
import type { EndpointTlsStore } from './endpoint-tls.ts';
import type { RequestMetrics } from './metrics.ts';
import type { RateLimits } from './rate-limits.ts';
import type { TelemetryStore } from './telemetry.ts';
import type { OpenConnections } from './open-connections.ts';
import type { Upstreams } from './upstreams.ts';

export interface MeshNames {
  readonly trustDomain: string;
  readonly network: string;
  readonly clusterDomain: string;
}

/** How TCP connections are opened. Rejects with a DIAL_ CulvertError. */
export type DialTcp = (address: string, port: number, timeoutMs: number) => Promise<Socket>;

export interface WaypointContext {
  readonly config: WaypointConfig;
  readonly log: Logger;
  readonly mesh: Mesh;
  readonly routes: HttpRoutes;
  readonly tcpRoutes: TcpRoutes;
  readonly policies: HttpPolicies;
  readonly authentications: Authentications;
  readonly connections: OpenConnections;
  readonly traffic: TrafficRules;
  readonly upstreams: Upstreams;
  readonly tls: EndpointTlsStore;
  readonly barred: BarredList;
  readonly rates: RateLimits;
  readonly certificates: CurrentCertificates;
  readonly caps: SourceCaps;
  readonly health: EndpointHealth;
  readonly pool: TunnelPool;
  readonly access: AccessLog | null;
  readonly dialTcp: DialTcp;
  readonly metrics: RequestMetrics;
  /** What is told about requests. */
  readonly telemetry: TelemetryStore;
  /** Changes with the configuration. */
  names: MeshNames;
  /** The workload this process is; null while the configuration has none. */
  self: Workload | null;
  draining: boolean;
}

/** Who connected: everything that is known about the client of a tunnelled connection. */
export interface Client {
  /** Proven by its certificate. */
  readonly identity: string;
  readonly namespace: string;
  readonly address: string;
  /** Of its application, 0 where its agent did not say. */
  readonly port: number;
  readonly workload: Workload | null;
}

/** What a connection is for: a port of a service, or of one workload. */
export type Destination =
  | ServiceDestination
  | {
      readonly kind: 'workload';
      readonly workload: Workload;
      readonly port: number;
      readonly address: string;
    };

export interface ServiceDestination {
  readonly kind: 'service';
  readonly service: Service;
  readonly port: number;
  readonly address: string;
  /** Of its endpoints only those of a subset of its traffic policy; null: all. */
  readonly subset: string | null;
}

/** Proof of this process towards others; null while there is none. */
export function ownIdentity(context: WaypointContext): string | null {
  return context.self === null ? null : workloadIdentity(context.self);
}
