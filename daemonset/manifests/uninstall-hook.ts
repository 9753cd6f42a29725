/**
 * What `helm uninstall` runs before it removes anything: a Job that takes the pods of every node out of the mesh, as
 * `culvert uninstall` does. Without it pods would stay in their declared mode, refused, with no agent to carry them.
 */
import { type Template, namespace, value } from '../template.ts';
import { image } from './container.ts';
import { labels } from './metadata.ts';
import type { Rule } from './permissions.ts';

const name = 'culvert-uninstall';

/** In its namespace only. */
const rules: readonly Rule[] = [
  { apiGroups: ['apps'], resources: ['daemonsets'], verbs: ['get', 'create', 'patch', 'delete'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
];

export function uninstallHook(): Template[] {
  const subjects = [{ kind: 'ServiceAccount', name, namespace }];
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name };
  const rbac = 'rbac.authorization.k8s.io/v1';
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata(-2) },
    { apiVersion: rbac, kind: 'Role', metadata: metadata(-2), rules: rules.map(rule => ({ ...rule })) },
    { apiVersion: rbac, kind: 'RoleBinding', metadata: metadata(-1), roleRef, subjects },
    { apiVersion: 'batch/v1', kind: 'Job', metadata: metadata(0), spec: job },
  ];
}

function metadata(weight: number): Template {
  return {
    name,
    namespace,
    labels: labels('cleanup'),
    annotations: {
      'helm.sh/hook': 'pre-delete',
      'helm.sh/hook-weight': String(weight),
      'helm.sh/hook-delete-policy': 'before-hook-creation,hook-succeeded',
    },
  };
}

const job: Template = {
  backoffLimit: 2,
  template: {
    metadata: { labels: labels('cleanup') },
    spec: {
      serviceAccountName: name,
      restartPolicy: 'Never',
      imagePullSecrets: value('image.pullSecrets'),
      nodeSelector: value('control.nodeSelector'),
      tolerations: value('control.tolerations'),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 65532,
        runAsGroup: 65532,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: 'uninstall',
          image,
          imagePullPolicy: value('image.pullPolicy'),
          args: ['uninstall', '--nodes-only', '--namespace=$(POD_NAMESPACE)', '--timeout=4m'],
          env: [{ name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } }],
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        },
      ],
    },
  },
};
