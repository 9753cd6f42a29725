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

/**
 * Deadlines in milliseconds and caps, with what each is unless said otherwise (`--limit`, docs/waypoint.md); each protects
 * the waypoint from one slow or hostile peer.
 */
export const defaultWaypointLimits = {
  ...tunnelDefaults,
  /**
   * Of `drainMs`, how long a connection may go without a request: its next one is still answered. Clients that keep connections
   * busy send within seconds; ending one as a request comes would fail that.
   */
  drainIdleMs: 5_000,
  /** Head of a request, from its first byte to its last. */
  requestHeadMs: 10_000,
  /** Bytes of the head of a request, and of a response. */
  headBytes: 64 * 1024,
  /** Header fields of a request. */
  headFields: 256,
  /** Requests at a time on one connection; of HTTP/1.1, where more come than are answered, about as many. */
  streamsPerConnection: 100,
  /**
   * How long a client of a port of unknown protocol may be silent before its server may speak first. An HTTP client speaks at
   * once; a server that speaks first is kept waiting once per connection.
   */
  detectMs: 50,
  /** How long a client that begins to speak TLS may take to say which name it asks for. */
  clientHelloMs: 10_000,
  /** Bytes that are kept of a request's body for the case that it is sent again. */
  replayBytes: 64 * 1024,
  /** Connections to an endpoint that carry no request are closed after this. */
  upstreamIdleMs: 60_000,
  /**
   * A request, or an upgraded or carried connection, on which nothing moves either way is given up after this; 0: never. As
   * long as anybody waits for a message that may come.
   */
  streamIdleMs: 3_600_000,
  /** The keys of issuers are fetched again after this. */
  keysRefreshMs: 300_000,
  /** And for a token whose key is not known at most every so often: anybody can make one up. */
  keysAskAgainMs: 10_000,
};

export type WaypointLimits = { readonly [Name in keyof typeof defaultWaypointLimits]: number };

/** Of which 0 means that there is none. */
export const mayBeZero: readonly (keyof WaypointLimits)[] = ['streamIdleMs'];
