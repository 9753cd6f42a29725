/**
 * What the operator may choose about one waypoint, with every default and its reason in one table.
 */
import { tunnelDefaults } from '../tunnel/defaults.ts';
import type { ControlConfig, DirectoryConfig } from '../xds/sources.ts';

export interface WaypointConfig {
  readonly source: SourceConfig;
  /** The Gateway that this is a pod of. */
  readonly gateway: { readonly namespace: string; readonly name: string };
  /** Address that tunnels come to. */
  readonly address: string;
  readonly hbonePort: number;
  readonly adminPort: number;
  readonly metricsAddress: string;
  readonly metricsPort: number;
  readonly readyAddress: string;
  readonly readyPort: number;
  /** File for access lines; '-' is standard output, '' is none. */
  readonly accessLog: string;
  readonly logLevel: string;
  readonly limits: WaypointLimits;
}

/** Where it learns the mesh from. */
export type SourceConfig = DirectoryConfig | ClusterConfig;

export interface ClusterConfig {
  readonly kind: 'cluster';
  readonly control: ControlConfig;
  /** The pod that this process runs in. */
  readonly pod: {
    readonly namespace: string;
    readonly name: string;
    readonly address: string;
    readonly serviceAccount: string;
    readonly node: string;
  };
}

/** Deadlines in milliseconds and caps; each protects the waypoint from one slow or hostile peer. */
export interface WaypointLimits {
  readonly dialMs: number;
  readonly tlsHandshakeMs: number;
  readonly prefaceMs: number;
  readonly connectMs: number;
  readonly certificateWaitMs: number;
  readonly tunnelIdleMs: number;
  readonly tunnelMaxAgeMs: number;
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  readonly streamsPerTunnel: number;
  readonly tunnelsPerSource: number;
  readonly handshakesPerSource: number;
  readonly endpointPenaltyMs: number;
  readonly drainMs: number;
  /** Of that, how long a connection may go without a request: its next one is still answered. */
  readonly drainIdleMs: number;
  /** Head of a request, from its first byte to its last. */
  readonly requestHeadMs: number;
  /** Bytes of the head of a request, and of a response. */
  readonly headBytes: number;
  /** Header fields of a request. */
  readonly headFields: number;
  /** Requests at a time on one connection; of HTTP/1.1, where more come than are answered, about as many. */
  readonly streamsPerConnection: number;
  /** How long a client of a port of unknown protocol may be silent before its server may speak first. */
  readonly detectMs: number;
  /** How long a client that begins to speak TLS may take to say which name it asks for. */
  readonly clientHelloMs: number;
  /** What is kept of a request's body for the case that it is sent again. */
  readonly replayBytes: number;
  /** Connections to an endpoint that carry no request are closed after this. */
  readonly upstreamIdleMs: number;
  /** A request, or an upgraded or carried connection, on which nothing moves either way is given up after this; 0: never. */
  readonly streamIdleMs: number;
  /** The keys of issuers are fetched again after this. */
  readonly keysRefreshMs: number;
  /** And for a token whose key is not known at most every so often: anybody can make one up. */
  readonly keysAskAgainMs: number;
}

export const defaultWaypointLimits: WaypointLimits = {
  ...tunnelDefaults,
  // Clients that keep connections busy send within seconds; ending one as a request comes would fail that.
  drainIdleMs: 5_000,
  requestHeadMs: 10_000,
  headBytes: 64 * 1024,
  headFields: 256,
  streamsPerConnection: 100,
  // An HTTP client speaks at once; a server that speaks first is kept waiting once per connection.
  detectMs: 50,
  clientHelloMs: 10_000,
  replayBytes: 64 * 1024,
  upstreamIdleMs: 60_000,
  // As long as anybody waits for a message that may come.
  streamIdleMs: 3_600_000,
  keysRefreshMs: 300_000,
  keysAskAgainMs: 10_000,
};
