/**
 * What the operator may choose about one control plane process. Comes from the command line (`culvert control`), is
 * checked once, and does not change afterwards. What belongs to the mesh (trust domain, certificate life…) comes from the
 * MeshConfig object instead.
 */
import type { WaypointPods } from './waypoint-objects.ts';

export interface ControlConfig {
  /** File; null looks where kubectl does, and then for the service account of our pod. */
  readonly kubeconfig: string | null;
  /** Where our Secret, ConfigMap and Lease are. */
  readonly namespace: string;
  /** Unique among the replicas. */
  readonly identity: string;
  /** Where the gRPC, metrics and readiness ports listen; administration is on loopback only. */
  readonly address: string;
  readonly port: number;
  readonly metricsPort: number;
  readonly readyPort: number;
  readonly adminPort: number;
  /** Service accounts whose pods may be told of everything and get certificates for others, `namespace/name`. */
  readonly agents: readonly string[];
  /** What a token must be for, one of these. */
  readonly audiences: readonly string[];
  /** By which clients find us, besides the names of our own Service. */
  readonly dnsNames: readonly string[];
  /** How the pods of waypoints are made; null: none are. */
  readonly waypoints: WaypointPods | null;
  readonly logLevel: string;
  readonly limits: ControlLimits;
}

/** Milliseconds. */
export interface ControlLimits {
  /** From "not ready" to the end of the first stream: what a Service needs to send new connections elsewhere. */
  readonly noticeMs: number;
  /** From then to forced close. */
  readonly drainMs: number;
  /** How long a pod that has become ready may go without the word of its agent, see new-pods.ts. */
  readonly newPodMs: number;
}

/** The first two together are well below the 30 s that a kubelet gives a pod. */
export const defaultControlLimits: ControlLimits = { noticeMs: 3_000, drainMs: 15_000, newPodMs: 10_000 };

/** The Service by which agents find us. */
export const controlService = 'culvert-control';
/** The service account of agents, in our namespace. */
export const agentAccount = 'culvert-agent';
/** Of our own agents, and of another mesh's proxies. */
export const defaultAudiences: readonly string[] = ['culvert-ca', 'istio-ca'];
