/**
 * Every label and annotation the mesh gives a meaning to, by name: enrolment, addresses, telemetry names, topology.
 * docs/yaml.md explains each. Where another mesh has the same mark, both spellings are read and ours wins.
 */

/** `ambient` enrols, `none` keeps out. Label of pods and namespaces. */
export const dataplaneMode = ['culvert.dev/dataplane-mode', 'istio.io/dataplane-mode'] as const;

/** Label of pods, services and namespaces: the waypoint to go through, or `none`. */
export const useWaypoint = ['culvert.dev/use-waypoint', 'istio.io/use-waypoint'] as const;

/** Label beside it: the namespace of that waypoint, where it is another one. */
export const useWaypointNamespace = [
  'culvert.dev/use-waypoint-namespace',
  'istio.io/use-waypoint-namespace',
] as const;

/** Label of Gateways that are waypoints: `service` (default), `workload`, `all` or `none`, which traffic passes it. */
export const waypointFor = ['culvert.dev/waypoint-for', 'istio.io/waypoint-for'] as const;

/** Label of what is made for a Gateway, and of the pods of a waypoint: the name of the Gateway. */
export const gatewayName = 'gateway.networking.k8s.io/gateway-name';

/** Annotation of pods: `"false"` leaves port 53 alone. */
export const dnsCapture = ['culvert.dev/dns-capture', 'ambient.istio.io/dns-capture'] as const;

/** Annotation of pods: absolute path of the network namespace the pod lives in. */
export const netns = 'culvert.dev/netns';

/** Annotation of pods: `open` or `closed`, what happens to traffic while no agent runs. */
export const failMode = 'culvert.dev/fail-mode';

/** Annotation of pods, written by the control plane: `enabled` while an agent redirects the traffic of the pod. */
export const redirection = ['culvert.dev/redirection', 'ambient.istio.io/redirection'] as const;

/** Annotation of AuthorizationPolicies: `"true"` reports what the policy would decide and enforces nothing. */
export const dryRun = ['culvert.dev/dry-run', 'istio.io/dry-run'] as const;

/** Annotation an injector leaves on pods that have a sidecar; such pods are never enrolled. */
export const sidecarStatus = 'sidecar.istio.io/status';

/** Annotation of services and namespaces: as `spec.trafficDistribution` of a Service, which wins. */
export const trafficDistribution = 'networking.istio.io/traffic-distribution';

/** Label of ServiceEntries: `"false"` leaves hosts without addresses as they are. */
export const autoAllocate = [
  'culvert.dev/enable-autoallocate-ip',
  'networking.istio.io/enable-autoallocate-ip',
] as const;

/** Label of EndpointSlices: the Service they belong to. */
export const sliceService = 'kubernetes.io/service-name';

/** Label of EndpointSlices, and the value of those that Kubernetes keeps itself, by the selector of the Service. */
export const sliceManager = 'endpointslice.kubernetes.io/managed-by';
export const sliceController = 'endpointslice-controller.k8s.io';

/** Labels of pods that name a workload in metrics and logs, the first that is present. */
export const canonicalName = ['service.istio.io/canonical-name', 'app.kubernetes.io/name', 'app'] as const;
export const canonicalRevision = [
  'service.istio.io/canonical-revision',
  'app.kubernetes.io/version',
  'version',
] as const;
export const workloadName = 'service.istio.io/workload-name';

/** Label a Deployment gives its pods: the hash that ends the name of their ReplicaSet. */
export const podTemplateHash = 'pod-template-hash';

/** Labels of nodes. */
export const region = 'topology.kubernetes.io/region';
export const zone = 'topology.kubernetes.io/zone';
export const subzone = 'topology.istio.io/subzone';

/** Everything in our own domain that means something; other `culvert.dev/…` marks are misspelt. */
export const ownLabels: readonly string[] = [
  dataplaneMode[0],
  useWaypoint[0],
  useWaypointNamespace[0],
  waypointFor[0],
  autoAllocate[0],
];
export const ownAnnotations: readonly string[] = [netns, failMode, dnsCapture[0], redirection[0], dryRun[0]];

/** The value of the first of `names` that is set, with the name it was found under; null when none is. */
export function firstMark(
  marks: Readonly<Record<string, string>>,
  names: readonly string[],
): { readonly name: string; readonly value: string } | null {
  for (const name of names) {
    const value = Object.hasOwn(marks, name) ? marks[name] : undefined;
    if (value !== undefined) return { name, value };
  }
  return null;
}
