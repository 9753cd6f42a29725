/**
 * What the control plane may do on the API server, and nothing more; the agent may do nothing there. docs/permissions.md
 * has a line for each rule.
 */
import { controlName, rootConfigMap } from '../names.ts';
import { type Template, namespace } from '../template.ts';
import { clusterMetadata, metadata } from './metadata.ts';

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const watch = ['get', 'list', 'watch'] as const;

const policies = ['authorizationpolicies', 'peerauthentications', 'requestauthentications'];
const entries = ['serviceentries', 'workloadentries', 'destinationrules', 'virtualservices'];
const gatewayKinds = [
  'backendtlspolicies',
  'gatewayclasses',
  'gateways',
  'grpcroutes',
  'httproutes',
  'tcproutes',
  'tlsroutes',
];
const statusOf = (plurals: readonly string[]): string[] => plurals.map(plural => `${plural}/status`);

/** Of the whole cluster. */
export const clusterRules: readonly Rule[] = [
  // The mesh is built from them.
  {
    apiGroups: [''],
    resources: ['namespaces', 'nodes', 'pods', 'services', 'serviceaccounts'],
    verbs: watch,
  },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: watch },
  { apiGroups: ['culvert.dev'], resources: ['*'], verbs: watch },
  { apiGroups: ['security.istio.io'], resources: policies, verbs: watch },
  { apiGroups: ['networking.istio.io'], resources: entries, verbs: watch },
  { apiGroups: ['telemetry.istio.io'], resources: ['telemetries'], verbs: watch },
  { apiGroups: ['gateway.networking.k8s.io'], resources: gatewayKinds, verbs: watch },
  { apiGroups: ['split.smi-spec.io'], resources: ['trafficsplits'], verbs: watch },
  { apiGroups: ['specs.smi-spec.io'], resources: ['httproutegroups'], verbs: watch },
  // What has become of them.
  { apiGroups: ['culvert.dev'], resources: ['*/status'], verbs: ['get', 'update', 'patch'] },
  { apiGroups: ['security.istio.io'], resources: statusOf(policies), verbs: ['update', 'patch'] },
  { apiGroups: ['networking.istio.io'], resources: statusOf(entries), verbs: ['update', 'patch'] },
  { apiGroups: ['telemetry.istio.io'], resources: ['telemetries/status'], verbs: ['update', 'patch'] },
  {
    apiGroups: ['gateway.networking.k8s.io'],
    resources: statusOf(gatewayKinds),
    verbs: ['update', 'patch'],
  },
  // The annotation that says that a pod is enrolled.
  { apiGroups: [''], resources: ['pods'], verbs: ['patch'] },
  // What Gateways of waypoints ask for. Their class, once; what does not exist yet can be named where it is applied.
  {
    apiGroups: ['gateway.networking.k8s.io'],
    resources: ['gatewayclasses'],
    resourceNames: ['culvert-waypoint'],
    verbs: ['create', 'patch'],
  },
  { apiGroups: [''], resources: ['serviceaccounts', 'services'], verbs: ['create', 'patch'] },
  { apiGroups: ['apps'], resources: ['deployments'], verbs: ['get', 'create', 'patch'] },
  { apiGroups: ['policy'], resources: ['poddisruptionbudgets'], verbs: ['get', 'create', 'patch'] },
  {
    apiGroups: ['autoscaling'],
    resources: ['horizontalpodautoscalers'],
    verbs: ['get', 'create', 'patch', 'delete'],
  },
  // Options of a Gateway, by the name that it gives; and the roots where waypoints are.
  { apiGroups: [''], resources: ['configmaps'], verbs: ['get'] },
  {
    apiGroups: [''],
    resources: ['configmaps'],
    resourceNames: [rootConfigMap],
    verbs: ['create', 'patch'],
  },
  // Who an agent is, by its token.
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
];

/** Of its own namespace. */
export const namespaceRules: readonly Rule[] = [
  // What does not exist yet cannot be named.
  { apiGroups: [''], resources: ['secrets', 'configmaps'], verbs: ['create'] },
  // The authority: its own, or one that was plugged in.
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: ['culvert-ca', 'cacerts'],
    verbs: [...watch, 'update', 'patch'],
  },
  // The roots that everybody trusts.
  {
    apiGroups: [''],
    resources: ['configmaps'],
    resourceNames: [rootConfigMap],
    verbs: ['get', 'update', 'patch'],
  },
  // Which replica writes.
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    resourceNames: [controlName],
    verbs: ['get', 'update', 'patch'],
  },
];

export function permissionManifests(): readonly Template[] {
  const subjects = [{ kind: 'ServiceAccount', name: controlName, namespace }];
  const reference = (kind: string): Template => ({
    apiGroup: 'rbac.authorization.k8s.io',
    kind,
    name: controlName,
  });
  const apiVersion = 'rbac.authorization.k8s.io/v1';
  return [
    {
      apiVersion,
      kind: 'ClusterRole',
      metadata: clusterMetadata(controlName, 'control'),
      rules: rules(clusterRules),
    },
    {
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata: clusterMetadata(controlName, 'control'),
      roleRef: reference('ClusterRole'),
      subjects,
    },
    { apiVersion, kind: 'Role', metadata: metadata(controlName, 'control'), rules: rules(namespaceRules) },
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata: metadata(controlName, 'control'),
      roleRef: reference('Role'),
      subjects,
    },
  ];
}

function rules(list: readonly Rule[]): readonly Template[] {
  return list.map(rule => ({ ...rule }));
}
