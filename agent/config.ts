/**
 * What the operator may choose about one agent, with every default and its reason in one table.
 *
 * Comes from the command line (`culvert run`), is checked once, and does not change afterwards. What belongs to the
 * mesh rather than to this process (trust domain, root namespace…) comes from the MeshConfig object instead.
 */
import { availableParallelism } from 'node:os';
import { tunnelDefaults } from '../tunnel/defaults.ts';
import type { ControlConfig, DirectoryConfig } from '../xds/sources.ts';

/** Ports inside every enrolled pod's namespace; the numbers are the ones users of ambient meshes know. */
export interface PodPorts {
  readonly outbound: number;
  readonly plaintext: number;
  readonly hbone: number;
  readonly dns: number;
}

/** Where the mesh comes from. */
export type SourceConfig = DirectoryConfig | ClusterConfig;

export interface ClusterConfig {
  readonly kind: 'cluster';
  readonly control: ControlConfig;
  /**
   * Another server of istio.v1.auth.IstioCertificateService, `host:port`, with the roots of its certificate; null: the
   * control plane signs.
   */
  readonly certificates: { readonly address: string; readonly root: string } | null;
  /** Of the container runtime; null: looked for where runtimes have theirs. */
  readonly criSocket: string | null;
  readonly cni: {
    /** Where the plugin finds this agent, by a path that is the same on the node. */
    readonly socket: string;
    /** File for the plugin, to know while no agent answers whose pods must wait: as this agent calls it, and the node. */
    readonly enrolledNamespaces: string;
    readonly enrolledNamespacesOnNode: string;
    /** Directories of the node; null: the plugin is somebody else's to install. */
    readonly install: { readonly binDir: string; readonly confDir: string } | null;
  };
  /** Know of the mesh what the pods of this node need, instead of everything: what is new to them is asked for. */
  readonly onDemand: boolean;
  /** Name of the process whose probes STRICT workloads answer. */
  readonly kubelet: string;
}

/** `direct`: the kernel connects; `join`: and joins the sockets of programs that are fit for it. */
export type PathMode = 'off' | 'direct' | 'join';

export const pathModes: readonly PathMode[] = ['off', 'direct', 'join'];

export interface AgentConfig {
  readonly source: SourceConfig;
  /** `spec.nodeName` of the pods that this agent enrols. */
  readonly node: string;
  /** Sockets, locks and the agent's own files; 0700. */
  readonly stateDir: string;
  /** Cgroup v2 directory above all pods and above the agent itself; null: the mount point that is found. */
  readonly cgroupRoot: string | null;
  /** Where bpffs is, or is to be mounted. */
  readonly bpffs: string;
  /** Worker threads that carry connections. */
  readonly shards: number;
  readonly adminPort: number;
  readonly metricsAddress: string;
  readonly metricsPort: number;
  readonly readyPort: number;
  readonly podPorts: PodPorts;
  /** File for access lines; '-' is standard output, '' is none. */
  readonly accessLog: string;
  readonly logLevel: string;
  readonly detachOnExit: boolean;
  /** What the kernel may carry alone between pods of this node. */
  readonly kernelPath: PathMode;
  readonly limits: AgentLimits;
}

/** Deadlines in milliseconds and caps; each protects the node from one slow or hostile peer. */
export interface AgentLimits {
  /** TCP connect to an application or to another agent. */
  readonly dialMs: number;
  /** TLS handshake, either side. */
  readonly tlsHandshakeMs: number;
  /** HTTP/2 preface and SETTINGS of a peer that finished its handshake. */
  readonly prefaceMs: number;
  /** From CONNECT to its answer; longer than `dialMs`, since the peer dials the application in between. */
  readonly connectMs: number;
  /** How long a connection waits for its workload's certificate. */
  readonly certificateWaitMs: number;
  /** Tunnel without streams is closed after this. */
  readonly tunnelIdleMs: number;
  /** Tunnel gets no new streams after this, or sooner when the certificate ends. */
  readonly tunnelMaxAgeMs: number;
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  /** Streams on one tunnel before a second one is opened. */
  readonly streamsPerTunnel: number;
  /** Inbound tunnels, and handshakes under way, from one source address to one pod. */
  readonly tunnelsPerSource: number;
  readonly handshakesPerSource: number;
  /** Endpoints tried for one connection to a Service. */
  readonly endpointAttempts: number;
  /** An endpoint whose dial failed is passed over for this long, doubled at each failure up to 16 times. */
  readonly endpointPenaltyMs: number;
  /** On demand: how long a connection waits for what its destination is. */
  readonly inquiryMs: number;
  /** On demand: the same for what can be done without, a name of DNS or the labels of a client. */
  readonly hintMs: number;
  /** On demand: connections and queries that wait at once, of one pod and of a shard. */
  readonly inquiriesPerPod: number;
  readonly inquiries: number;
  /** Open connections per pod, all directions together. */
  readonly connectionsPerPod: number;
  /** SIGTERM to forced close. */
  readonly drainMs: number;
  /** A shard that answers no ping for this long is replaced. */
  readonly shardHangMs: number;
  /** BPF treats the agent as gone when its heartbeat is older. */
  readonly heartbeatTimeoutMs: number;
  /** After a crash connections wait this long for the next agent, and new ones no longer than `heartbeatTimeoutMs`; 0: none. */
  readonly absenceMs: number;
  /** Connections with a verdict begin for this long after the last heartbeat: no longer than a replacement takes. */
  readonly verdictGraceMs: number;
  /** Bytes that wait unread in a join before the writer is held back by TCP. */
  readonly joinBytes: number;
}

export const defaultLimits: AgentLimits = {
  ...tunnelDefaults,
  endpointAttempts: 3,
  inquiryMs: 5_000,
  hintMs: 1_000,
  inquiriesPerPod: 256,
  inquiries: 4_096,
  connectionsPerPod: 50_000,
  shardHangMs: 30_000,
  heartbeatTimeoutMs: 10_000,
  absenceMs: 8_000,
  verdictGraceMs: 60_000,
  joinBytes: 1_048_576,
};

export const defaultPodPorts: PodPorts = { outbound: 15001, plaintext: 15006, hbone: 15008, dns: 15053 };

/** Half the cores: the other half belongs to the applications. */
export function defaultShards(): number {
  return Math.max(1, Math.floor(availableParallelism() / 2));
}
