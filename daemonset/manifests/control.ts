/** The control plane: a Deployment whose replicas all serve, the Service by which agents find them, and what keeps one up. */
import { controlArguments, controlName, ports } from '../names.ts';
import { type Template, value } from '../template.ts';
import { cacheEnvironment, cacheMount, cacheVolume, fromField, image, probes } from './container.ts';
import { labels, metadata, selectorLabels } from './metadata.ts';

export function controlManifests(): readonly Template[] {
  return [serviceAccount, service, disruptionBudget, deployment];
}

const serviceAccount: Template = {
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: metadata(controlName, 'control'),
};

const service: Template = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: metadata(controlName, 'control'),
  spec: {
    selector: selectorLabels('control'),
    ports: [
      { name: 'grpc-control', port: ports.control, targetPort: 'control', protocol: 'TCP' },
      { name: 'http-metrics', port: ports.controlMetrics, targetPort: 'metrics', protocol: 'TCP' },
    ],
  },
};

/** One at a time may be evicted; also the only one, so that a drain of its node never hangs. */
const disruptionBudget: Template = {
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: metadata(controlName, 'control'),
  spec: {
    selector: { matchLabels: selectorLabels('control') },
    maxUnavailable: 1,
    unhealthyPodEvictionPolicy: 'AlwaysAllow',
  },
};

const container: Template = {
  name: 'control',
  image,
  imagePullPolicy: value('image.pullPolicy'),
  args: controlArguments,
  env: [
    fromField('POD_NAME', 'metadata.name'),
    fromField('POD_NAMESPACE', 'metadata.namespace'),
    cacheEnvironment,
  ],
  ports: [
    { name: 'control', containerPort: ports.control, protocol: 'TCP' },
    { name: 'metrics', containerPort: ports.controlMetrics, protocol: 'TCP' },
    { name: 'ready', containerPort: ports.ready, protocol: 'TCP' },
  ],
  ...probes(null),
  resources: value('control.resources'),
  securityContext: {
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  },
  volumeMounts: [cacheMount],
};

const deployment: Template = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: metadata(controlName, 'control'),
  spec: {
    replicas: value('control.replicas'),
    selector: { matchLabels: selectorLabels('control') },
    // A new one is up before an old one goes.
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: {
      metadata: { labels: labels('control'), annotations: value('control.annotations') },
      spec: {
        serviceAccountName: controlName,
        imagePullSecrets: value('image.pullSecrets'),
        priorityClassName: value('control.priorityClassName'),
        nodeSelector: value('control.nodeSelector'),
        affinity: value('control.affinity'),
        tolerations: value('control.tolerations'),
        // On different nodes where there are several, and on one where there is only one.
        topologySpreadConstraints: [
          spreadOver('kubernetes.io/hostname'),
          spreadOver('topology.kubernetes.io/zone'),
        ],
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 65532,
          runAsGroup: 65532,
          fsGroup: 65532,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        containers: [container],
        volumes: [cacheVolume],
      },
    },
  },
};

function spreadOver(topologyKey: string): Template {
  return {
    maxSkew: 1,
    topologyKey,
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: selectorLabels('control') },
  };
}
