/**
 * The objects that a Gateway of a waypoint class stands for: who it is, its pods, how they are found, and what keeps some
 * of them up. Pure; cluster/waypoint-deployer.ts writes them.
 *
 * All of them are owned by the Gateway, so that they go with it, and carry what its `spec.infrastructure` says.
 */
import { gatewayName } from '../model/kinds/marks.ts';
import { rootConfigMap, rootKey } from './cluster/root-config-map.ts';
import type { Located } from './located.ts';
import type { WaypointOptions } from './waypoint-options.ts';

/** What does not depend on the Gateway. */
export interface WaypointPods {
  /** The image that has all of our processes. */
  readonly image: string;
  readonly pullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Secrets of the namespace of the waypoint, with the credentials of the registry. */
  readonly pullSecrets: readonly string[];
  /** `host:port` of the control plane. */
  readonly control: string;
  readonly logLevel: string;
}

export interface ManagedObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences: readonly OwnerReference[];
  };
  readonly [member: string]: unknown;
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** Label of everything that the deployer has made: what does not have it, it does not touch. */
export const managedBy = { 'app.kubernetes.io/managed-by': 'culvert-control' } as const;

const ports = { hbone: 15_008, metrics: 15_020, ready: 15_021 } as const;
const tokenDirectory = '/var/run/secrets/culvert';
const rootDirectory = '/var/run/secrets/culvert-root';
const cacheDirectory = '/var/cache/culvert';
/** By then agents and kube-proxy know that the pod goes; until then it serves as before. */
const noticeSeconds = 5;
/** The notice, what a waypoint gives to requests that run, and some air. */
const graceSeconds = 40;
const defaultReplicas = 2;
const defaultResources = { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '1Gi' } };

/** A Gateway as others refer to their owner. */
export function ownerOf(gateway: Located<'Gateway'>): OwnerReference {
  const { uid = '' } = gateway.value.metadata;
  return { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', name: gateway.name, uid };
}

/** In the order in which they are written. */
export function waypointObjects(
  gateway: Located<'Gateway'>,
  pods: WaypointPods,
  options: WaypointOptions,
): ManagedObject[] {
  const selector = { [gatewayName]: gateway.name };
  const { labels = {}, annotations = {} } = gateway.value.spec.infrastructure ?? {};
  const all = { ...labels, ...managedBy, 'app.kubernetes.io/component': 'waypoint', ...selector };
  const metadata = {
    name: gateway.name,
    namespace: gateway.namespace,
    labels: all,
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    ownerReferences: [ownerOf(gateway)],
  };
  const template = {
    metadata: {
      labels: { ...all, 'culvert.dev/dataplane-mode': 'none' },
      annotations: {
        'prometheus.io/scrape': 'true',
        'prometheus.io/port': String(ports.metrics),
        'prometheus.io/path': '/metrics',
        ...annotations,
      },
    },
    spec: podSpec(gateway, pods, options, selector),
  };
  const { autoscaling } = options;
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata, automountServiceAccountToken: false },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        type: 'ClusterIP',
        selector,
        ports: [{ name: 'hbone', port: ports.hbone, targetPort: 'hbone', protocol: 'TCP' }],
      },
    },
    {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata,
      // Also with a single pod, so that a drain of its node never hangs.
      spec: {
        maxUnavailable: 1,
        selector: { matchLabels: selector },
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        // Where it scales by itself the number is not ours to say.
        ...(autoscaling === null ? { replicas: options.replicas ?? defaultReplicas } : {}),
        selector: { matchLabels: selector },
        // A new one is up before an old one goes.
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        template,
      },
    },
    ...(autoscaling === null ? [] : [autoscaler(metadata, autoscaling)]),
  ];
}

/** The roots that everybody trusts, in a namespace with waypoints; it goes when the last of these Gateways has gone. */
export function rootsObject(
  namespace: string,
  roots: string,
  owners: readonly OwnerReference[],
): ManagedObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: rootConfigMap, namespace, labels: { ...managedBy }, ownerReferences: owners },
    data: { [rootKey]: roots },
  };
}

function podSpec(
  gateway: Located<'Gateway'>,
  { image, pullPolicy, pullSecrets, control, logLevel }: WaypointPods,
  options: WaypointOptions,
  selector: Readonly<Record<string, string>>,
): object {
  const { nodeSelector, tolerations, affinity, priorityClassName } = options;
  const placed = { nodeSelector, tolerations, affinity, priorityClassName };
  const chosen = Object.fromEntries(Object.entries(placed).filter(([, value]) => value !== null));
  const fromField = (name: string, fieldPath: string): object => ({
    name,
    valueFrom: { fieldRef: { fieldPath } },
  });
  const container = {
    name: 'waypoint',
    image,
    imagePullPolicy: pullPolicy,
    args: [
      'waypoint',
      'run',
      `--control=${control}`,
      `--name=${gateway.namespace}/${gateway.name}`,
      '--metrics-address=$(POD_IP)',
      '--ready-address=$(POD_IP)',
      '--access-log=-',
      `--log-level=${logLevel}`,
      ...(options.args ?? []),
    ],
    env: [
      fromField('POD_NAME', 'metadata.name'),
      fromField('POD_NAMESPACE', 'metadata.namespace'),
      fromField('POD_IP', 'status.podIP'),
      fromField('NODE_NAME', 'spec.nodeName'),
      fromField('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
      { name: 'NODE_COMPILE_CACHE', value: cacheDirectory },
      // A larger young generation than the image's, as in cli/culvert.
      { name: 'NODE_OPTIONS', value: '--max-semi-space-size=8' },
    ],
    ports: Object.entries(ports).map(([name, containerPort]) => ({ name, containerPort, protocol: 'TCP' })),
    // Its first start may take long where certificates do; a process that does not answer at all is killed.
    startupProbe: { httpGet: live, periodSeconds: 1, failureThreshold: 60 },
    readinessProbe: { httpGet: ready, periodSeconds: 2, timeoutSeconds: 3 },
    livenessProbe: { httpGet: live, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    lifecycle: { preStop: { sleep: { seconds: noticeSeconds } } },
    resources: options.resources ?? defaultResources,
    securityContext: {
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [
      { name: 'token', mountPath: tokenDirectory, readOnly: true },
      { name: 'root', mountPath: rootDirectory, readOnly: true },
      { name: 'cache', mountPath: cacheDirectory },
    ],
  };
  const serviceAccountToken = { audience: 'culvert-ca', expirationSeconds: 3_600, path: 'token' };
  return {
    serviceAccountName: gateway.name,
    automountServiceAccountToken: false,
    ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: pullSecrets.map(name => ({ name })) }),
    terminationGracePeriodSeconds: graceSeconds,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65_532,
      runAsGroup: 65_532,
      fsGroup: 65_532,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    // On different nodes where there are several, and on one where there is only one.
    topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map(topologyKey => ({
      maxSkew: 1,
      topologyKey,
      whenUnsatisfiable: 'ScheduleAnyway',
      labelSelector: { matchLabels: selector },
    })),
    ...chosen,
    containers: [container],
    volumes: [
      { name: 'token', projected: { sources: [{ serviceAccountToken }] } },
      { name: 'root', configMap: { name: rootConfigMap } },
      { name: 'cache', emptyDir: { sizeLimit: '64Mi' } },
    ],
  };
}

const live = { path: '/healthz/live', port: 'ready' } as const;
const ready = { path: '/healthz/ready', port: 'ready' } as const;

function autoscaler(
  metadata: ManagedObject['metadata'],
  { minReplicas, maxReplicas, cpuPercent }: NonNullable<WaypointOptions['autoscaling']>,
): ManagedObject {
  const target = { type: 'Utilization', averageUtilization: cpuPercent };
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata,
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: metadata.name },
      minReplicas,
      maxReplicas,
      metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }],
    },
  };
}
