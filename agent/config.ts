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

/**
 * Deadlines in milliseconds and caps, with what each is unless said otherwise (`--limit`, docs/running.md); each protects the
 * node from one slow or hostile peer.
 */
export const defaultLimits = {
  ...tunnelDefaults,
  /** Endpoints tried for one connection to a Service. */
  endpointAttempts: 3,
  /** On demand: how long a connection waits for what its destination is. */
  inquiryMs: 5_000,
  /** On demand: the same for what can be done without, a name of DNS or the labels of a client. */
  hintMs: 1_000,
  /** On demand: connections and queries of one pod that wait at once. */
  inquiriesPerPod: 256,
  /** On demand: the same of a shard. */
  inquiries: 4_096,
  /** Open connections per pod, all directions together. */
  connectionsPerPod: 50_000,
  /** A shard that answers no ping for this long is replaced. */
  shardHangMs: 30_000,
  /** BPF treats the agent as gone when its heartbeat is older. */
  heartbeatTimeoutMs: 10_000,
  /** After a crash connections wait this long for the next agent, and new ones no longer than `heartbeatTimeoutMs`; 0: none. */
  absenceMs: 8_000,
  /** Connections with a verdict begin for this long after the last heartbeat: no longer than a replacement takes. */
  verdictGraceMs: 60_000,
  /** Bytes that wait unread in a join before the writer is held back by TCP. */
  joinBytes: 1_048_576,
};

export type AgentLimits = { readonly [Name in keyof typeof defaultLimits]: number };

/** Of which 0 means that there is none. */
export const mayBeZero: readonly (keyof AgentLimits)[] = ['absenceMs'];

export const defaultPodPorts: PodPorts = { outbound: 15001, plaintext: 15006, hbone: 15008, dns: 15053 };

/** Half the cores: the other half belongs to the applications. */
export function defaultShards(): number {
  return Math.max(1, Math.floor(availableParallelism() / 2));
}
