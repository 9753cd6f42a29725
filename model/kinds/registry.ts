/**
 * The kinds the mesh reads, and those it knows to leave alone: which schema a document of YAML is held against, and
 * what is said about one that has none.
 */
import type * as z from 'zod';
import { type AuthorizationPolicy, authorizationPolicy } from './authorization-policy.ts';
import { type BackendTlsPolicy, backendTlsPolicy } from './backend-tls-policy.ts';
import { type DestinationRule, destinationRule } from './destination-rule.ts';
import { type EndpointSlice, endpointSlice } from './endpoint-slice.ts';
import { type FaultInjection, faultInjection } from './fault-injection.ts';
import { type Gateway, gateway } from './gateway.ts';
import { type GatewayClass, gatewayClass } from './gateway-class.ts';
import { type GrpcRouteObject, grpcRoute } from './grpc-route.ts';
import { type HttpRouteObject, httpRoute } from './http-route.ts';
import { type MeshConfigObject, meshConfig } from './mesh-config.ts';
import { type Namespace, namespace } from './namespace.ts';
import { type Node, node } from './node.ts';
import { type PeerAuthentication, peerAuthentication } from './peer-authentication.ts';
import { type Pod, pod } from './pod.ts';
import { type RateLimitObject, rateLimit } from './rate-limit.ts';
import { type ConfigMap, configMap, type Secret, secret } from './secret.ts';
import { type RequestAuthentication, requestAuthentication } from './request-authentication.ts';
import { type ServiceEntry, serviceEntry } from './service-entry.ts';
import { type ServiceAccount, serviceAccount } from './service-account.ts';
import { type Service, service } from './service.ts';
import { type TcpRouteObject, type TlsRouteObject, tcpRoute, tlsRoute } from './tcp-route.ts';
import { type TelemetryObject, telemetry } from './telemetry.ts';
import { httpRouteGroup, type HttpRouteGroup, trafficSplit, type TrafficSplit } from './traffic-split.ts';
import { type VirtualService, virtualService } from './virtual-service.ts';
import { type WorkloadEntry, workloadEntry } from './workload-entry.ts';

/** Every kind that is read, by name, with the type its schema gives. */
export interface KindTypes {
  readonly Namespace: Namespace;
  readonly Node: Node;
  readonly Pod: Pod;
  readonly Service: Service;
  readonly EndpointSlice: EndpointSlice;
  readonly ServiceAccount: ServiceAccount;
  readonly ServiceEntry: ServiceEntry;
  readonly WorkloadEntry: WorkloadEntry;
  readonly AuthorizationPolicy: AuthorizationPolicy;
  readonly PeerAuthentication: PeerAuthentication;
  readonly RequestAuthentication: RequestAuthentication;
  readonly Telemetry: TelemetryObject;
  readonly VirtualService: VirtualService;
  readonly TrafficSplit: TrafficSplit;
  readonly HTTPRouteGroup: HttpRouteGroup;
  readonly MeshConfig: MeshConfigObject;
  readonly GatewayClass: GatewayClass;
  readonly Gateway: Gateway;
  readonly HTTPRoute: HttpRouteObject;
  readonly GRPCRoute: GrpcRouteObject;
  readonly TLSRoute: TlsRouteObject;
  readonly TCPRoute: TcpRouteObject;
  readonly BackendTLSPolicy: BackendTlsPolicy;
  readonly DestinationRule: DestinationRule;
  readonly FaultInjection: FaultInjection;
  readonly RateLimit: RateLimitObject;
  readonly Secret: Secret;
  readonly ConfigMap: ConfigMap;
}

export type KindName = keyof KindTypes;

export interface Kind<Name extends KindName> {
  readonly apiVersions: readonly string[];
  readonly namespaced: boolean;
  /**
   * Whether the object says what the mesh shall do. A field of such an object that nobody knows refuses it: a
   * misspelt selector must not widen a policy. Kinds of Kubernetes itself only get a warning.
   */
  readonly own: boolean;
  /** In a cluster only those that somebody names are read. */
  readonly byName?: true;
  readonly schema: z.ZodType<KindTypes[Name]>;
}

const entryVersions = [
  'culvert.dev/v1',
  'networking.istio.io/v1',
  'networking.istio.io/v1beta1',
  'networking.istio.io/v1alpha3',
];
const policyVersions = ['culvert.dev/v1', 'security.istio.io/v1', 'security.istio.io/v1beta1'];
const gatewayApi = 'gateway.networking.k8s.io/v1';
const routeVersions = [gatewayApi, 'gateway.networking.k8s.io/v1beta1'];

export const kinds: { readonly [Name in KindName]: Kind<Name> } = {
  Namespace: { apiVersions: ['v1'], namespaced: false, own: false, schema: namespace },
  Node: { apiVersions: ['v1'], namespaced: false, own: false, schema: node },
  Pod: { apiVersions: ['v1'], namespaced: true, own: false, schema: pod },
  Service: { apiVersions: ['v1'], namespaced: true, own: false, schema: service },
  EndpointSlice: {
    apiVersions: ['discovery.k8s.io/v1'],
    namespaced: true,
    own: false,
    schema: endpointSlice,
  },
  ServiceAccount: { apiVersions: ['v1'], namespaced: true, own: false, schema: serviceAccount },
  ServiceEntry: { apiVersions: entryVersions, namespaced: true, own: true, schema: serviceEntry },
  WorkloadEntry: { apiVersions: entryVersions, namespaced: true, own: true, schema: workloadEntry },
  AuthorizationPolicy: {
    apiVersions: policyVersions,
    namespaced: true,
    own: true,
    schema: authorizationPolicy,
  },
  PeerAuthentication: {
    apiVersions: policyVersions,
    namespaced: true,
    own: true,
    schema: peerAuthentication,
  },
  RequestAuthentication: {
    apiVersions: policyVersions,
    namespaced: true,
    own: true,
    schema: requestAuthentication,
  },
  VirtualService: { apiVersions: entryVersions, namespaced: true, own: true, schema: virtualService },
  TrafficSplit: {
    apiVersions: ['v1alpha4', 'v1alpha3', 'v1alpha2', 'v1alpha1'].map(
      version => `split.smi-spec.io/${version}`,
    ),
    namespaced: true,
    own: true,
    schema: trafficSplit,
  },
  HTTPRouteGroup: {
    apiVersions: ['specs.smi-spec.io/v1alpha4', 'specs.smi-spec.io/v1alpha3'],
    namespaced: true,
    own: true,
    schema: httpRouteGroup,
  },
  Telemetry: {
    apiVersions: ['culvert.dev/v1', 'telemetry.istio.io/v1', 'telemetry.istio.io/v1alpha1'],
    namespaced: true,
    own: true,
    schema: telemetry,
  },
  MeshConfig: { apiVersions: ['culvert.dev/v1'], namespaced: false, own: true, schema: meshConfig },
  GatewayClass: { apiVersions: routeVersions, namespaced: false, own: false, schema: gatewayClass },
  Gateway: { apiVersions: routeVersions, namespaced: true, own: false, schema: gateway },
  HTTPRoute: { apiVersions: routeVersions, namespaced: true, own: true, schema: httpRoute },
  GRPCRoute: { apiVersions: [gatewayApi], namespaced: true, own: true, schema: grpcRoute },
  TLSRoute: {
    apiVersions: [gatewayApi, 'gateway.networking.k8s.io/v1alpha3', 'gateway.networking.k8s.io/v1alpha2'],
    namespaced: true,
    own: true,
    schema: tlsRoute,
  },
  TCPRoute: {
    apiVersions: [gatewayApi, 'gateway.networking.k8s.io/v1alpha2'],
    namespaced: true,
    own: true,
    schema: tcpRoute,
  },
  // What is refused of one would be sent in the clear: control/build-backend-tls.ts refuses the requests.
  BackendTLSPolicy: {
    apiVersions: [gatewayApi, 'gateway.networking.k8s.io/v1alpha3'],
    namespaced: true,
    own: false,
    schema: backendTlsPolicy,
  },
  DestinationRule: { apiVersions: entryVersions, namespaced: true, own: true, schema: destinationRule },
  FaultInjection: { apiVersions: ['culvert.dev/v1'], namespaced: true, own: true, schema: faultInjection },
  RateLimit: { apiVersions: ['culvert.dev/v1'], namespaced: true, own: true, schema: rateLimit },
  Secret: { apiVersions: ['v1'], namespaced: true, own: false, byName: true, schema: secret },
  ConfigMap: { apiVersions: ['v1'], namespaced: true, own: false, byName: true, schema: configMap },
};

export const kindNames = Object.keys(kinds) as readonly KindName[];

/** Those that are followed in a cluster. */
export const followedKinds: readonly KindName[] = kindNames.filter(name => kinds[name].byName !== true);

/** API groups whose objects say what a mesh shall do: one that is not understood is never passed over lightly. */
export const meshGroups: readonly string[] = [
  'culvert.dev',
  'security.istio.io',
  'networking.istio.io',
  'telemetry.istio.io',
  'extensions.istio.io',
  'gateway.networking.k8s.io',
  'gateway.networking.x-k8s.io',
  'access.smi-spec.io',
  'split.smi-spec.io',
  'specs.smi-spec.io',
];

/** Kinds of Kubernetes that share manifests with what the mesh reads and are none of its business. */
export const irrelevantKinds: ReadonlySet<string> = new Set([
  'APIService',
  'CertificateSigningRequest',
  'ClusterRole',
  'ClusterRoleBinding',
  'ControllerRevision',
  'CronJob',
  'CSIDriver',
  'CSINode',
  'CustomResourceDefinition',
  'DaemonSet',
  'Deployment',
  'Endpoints',
  'Event',
  'HorizontalPodAutoscaler',
  'Ingress',
  'IngressClass',
  'Job',
  'Lease',
  'LimitRange',
  'MutatingWebhookConfiguration',
  'NetworkPolicy',
  'PersistentVolume',
  'PersistentVolumeClaim',
  'PodDisruptionBudget',
  'PodTemplate',
  'PriorityClass',
  'ReplicaSet',
  'ReplicationController',
  'ResourceQuota',
  'Role',
  'RoleBinding',
  'RuntimeClass',
  'StatefulSet',
  'StorageClass',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
  'ValidatingWebhookConfiguration',
  'VolumeAttachment',
]);

export function isKindName(kind: string): kind is KindName {
  return Object.hasOwn(kinds, kind);
}
