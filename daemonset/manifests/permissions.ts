/**
 * What the control plane may do on the API server, and nothing more; the agent may do nothing there. docs/permissions.md
 * has a line for each rule.
 */
import { controlName } from '../names.ts';
import { type Template, namespace } from '../template.ts';
import { clusterMetadata, metadata } from './metadata.ts';

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const watch = ['get', 'list', 'watch'] as const;

/** Of the whole cluster. */
export const clusterRules: readonly Rule[] = [
  { apiGroups: [''], resources: ['namespaces', 'nodes', 'pods', 'services'], verbs: watch },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: watch },
  { apiGroups: ['culvert.dev'], resources: ['*'], verbs: watch },
  {
    apiGroups: ['security.istio.io', 'networking.istio.io'],
    resources: ['authorizationpolicies', 'peerauthentications', 'serviceentries', 'workloadentries'],
    verbs: watch,
  },
  { apiGroups: ['apiextensions.k8s.io'], resources: ['customresourcedefinitions'], verbs: watch },
  { apiGroups: ['culvert.dev'], resources: ['*/status'], verbs: ['get', 'update', 'patch'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['patch'] },
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
];

/** Of its own namespace. */
export const namespaceRules: readonly Rule[] = [
  // Names cannot be given for what does not exist yet.
  { apiGroups: [''], resources: ['secrets', 'configmaps'], verbs: ['create'] },
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: ['culvert-ca', 'cacerts'],
    verbs: [...watch, 'update', 'patch'],
  },
  {
    apiGroups: [''],
    resources: ['configmaps'],
    resourceNames: ['culvert-root'],
    verbs: [...watch, 'update', 'patch'],
  },
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
