/**
 * What the control plane tells an agent beside the mesh itself: the settings of the mesh, and the pods of its own node.
 */

/** A pod of the node, enrolled or not, from before it has an address. */
export interface NodePod {
  /** As the API server knows it. */
  readonly podUid: string;
  /** As the container runtime knows it: another one for a static pod, of which the API server has a mirror. */
  readonly runtimeUid: string;
  /** As the mesh knows it, `<cluster>//Pod/<namespace>/<name>`. */
  readonly workloadUid: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  /** Canonical IPs; empty before the pod has any. */
  readonly addresses: readonly string[];
  /** Whether it is to take part in the mesh. */
  readonly wanted: boolean;
  /** What becomes of its connections while the agent is away: none, or plain ones. */
  readonly failMode: 'open' | 'closed';
  readonly dnsCapture: boolean;
  /** Ports that its kubelet probes over TCP or HTTP. */
  readonly probePorts: readonly number[];
}

export interface MeshSettings {
  readonly trustDomain: string;
  /** Of the addresses of this cluster's pods. */
  readonly network: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly accessLog: boolean;
  /** Life to ask for a workload's certificate; whole seconds. */
  readonly certificateTtlMs: number;
  /** Namespaces whose new pods must not start without the mesh. */
  readonly enrolledNamespaces: readonly string[];
  /** Namespaces whose pods are never enrolled. */
  readonly excludedNamespaces: readonly string[];
}
