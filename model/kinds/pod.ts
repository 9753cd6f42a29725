/**
 * Pod, v1: where it lives, which addresses and identity it has, and which ports have names.
 *
 * In a directory of YAML the status is written by hand or by a tool: `status.podIP` gives a pod its address. A
 * status without conditions counts as ready.
 */
import * as z from 'zod';
import { ip } from './ip.ts';
import { dnsSubdomain, metadata } from './metadata.ts';
import { intOrString, portNumber, struct } from './struct.ts';

const containerPort = struct(
  {
    name: z.string().optional(),
    containerPort: portNumber,
    protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
  },
  ['hostIP', 'hostPort'],
);

const probePort = intOrString.optional();

/** How a kubelet asks a container how it is: what counts here is the port it connects to. */
const probe = struct(
  {
    httpGet: struct({ port: probePort }, ['host', 'httpHeaders', 'path', 'scheme']).optional(),
    tcpSocket: struct({ port: probePort }, ['host']).optional(),
    grpc: struct({ port: probePort }, ['service']).optional(),
  },
  [
    'exec',
    'failureThreshold',
    'initialDelaySeconds',
    'periodSeconds',
    'successThreshold',
    'terminationGracePeriodSeconds',
    'timeoutSeconds',
  ],
);

const containerMembers = [
  'args',
  'command',
  'env',
  'envFrom',
  'image',
  'imagePullPolicy',
  'lifecycle',
  'name',
  'resizePolicy',
  'resources',
  'restartPolicyRules',
  'securityContext',
  'stdin',
  'stdinOnce',
  'terminationMessagePath',
  'terminationMessagePolicy',
  'tty',
  'volumeDevices',
  'volumeMounts',
  'workingDir',
];

/** An init container that restarts always is a sidecar: it runs beside the others, so its ports count. */
const container = struct(
  {
    ports: z.array(containerPort).default([]),
    restartPolicy: z.string().optional(),
    livenessProbe: probe.optional(),
    readinessProbe: probe.optional(),
    startupProbe: probe.optional(),
  },
  containerMembers,
);

/** The one condition that is read. Pods have six and more, and a large cluster many pods. */
const readyCondition = 'Ready';

const podSpec = struct(
  {
    nodeName: dnsSubdomain.optional(),
    hostNetwork: z.boolean().default(false),
    /** With `subdomain`, the name of a headless Service: the pod's own name below that of the Service. */
    hostname: z.string().optional(),
    subdomain: z.string().optional(),
    serviceAccountName: dnsSubdomain.optional(),
    /** The name `serviceAccountName` had; servers still fill in both. */
    serviceAccount: dnsSubdomain.optional(),
    containers: z.array(container).default([]),
    initContainers: z.array(container).default([]),
  },
  [
    'activeDeadlineSeconds',
    'affinity',
    'automountServiceAccountToken',
    'dnsConfig',
    'dnsPolicy',
    'enableServiceLinks',
    'ephemeralContainers',
    'hostAliases',
    'hostIPC',
    'hostPID',
    'hostUsers',
    'hostnameOverride',
    'imagePullSecrets',
    'nodeSelector',
    'os',
    'overhead',
    'preemptionPolicy',
    'priority',
    'priorityClassName',
    'readinessGates',
    'resourceClaims',
    'resources',
    'restartPolicy',
    'runtimeClassName',
    'schedulerName',
    'schedulingGates',
    'schedulingGroup',
    'securityContext',
    'setHostnameAsFQDN',
    'shareProcessNamespace',
    'terminationGracePeriodSeconds',
    'tolerations',
    'topologySpreadConstraints',
    'volumes',
    'workloadRef',
  ],
);

const podStatus = struct(
  {
    phase: z.enum(['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown']).optional(),
    podIP: z.union([z.literal(''), ip]).optional(),
    podIPs: z.array(struct({ ip }, [])).default([]),
    startTime: z.string().optional(),
    conditions: z
      .array(
        struct(
          {
            type: z.string(),
            status: z.enum(['True', 'False', 'Unknown']),
            lastTransitionTime: z.string().optional(),
          },
          ['lastProbeTime', 'message', 'observedGeneration', 'reason'],
        ),
      )
      .transform(all => all.filter(({ type }) => type === readyCondition))
      .optional(),
  },
  [
    'allocatedResources',
    'containerStatuses',
    'ephemeralContainerStatuses',
    'extendedResourceClaimStatus',
    'hostIP',
    'hostIPs',
    'initContainerStatuses',
    'message',
    'nodeAllocatableResourceClaimStatuses',
    'nominatedNodeName',
    'observedGeneration',
    'qosClass',
    'reason',
    'resize',
    'resourceClaimStatuses',
    'resources',
  ],
);

export const pod = struct(
  { metadata: metadata(dnsSubdomain), spec: podSpec, status: podStatus.default({ podIPs: [] }) },
  ['apiVersion', 'kind'],
);

export type Pod = z.output<typeof pod>;
