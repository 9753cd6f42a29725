/**
 * What can be chosen when Culvert is installed: one schema and one set of defaults, from which come the chart's values.yaml
 * and values.schema.json, docs/chart-values.md, the Kustomize files, and what `culvert install --set` takes.
 *
 * How the mesh behaves is not here but in the MeshConfig object, which can be changed at any time; `mesh` only writes it.
 */
import * as z from 'zod';
import { versionString } from '../base/version.ts';
import { meshConfigSpec } from '../model/kinds/mesh-config.ts';

const quantity = z.union([z.string().regex(/^[0-9.]+([numkKMGTPE]i?)?$/), z.number().min(0)]);
const resources = z
  .strictObject({
    requests: z.record(z.string(), quantity).optional(),
    limits: z.record(z.string(), quantity).optional(),
  })
  .describe('Requests and limits of its container.');
const tolerations = z
  .array(
    z.strictObject({
      key: z.string().optional(),
      operator: z.enum(['Exists', 'Equal']).optional(),
      value: z.string().optional(),
      effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional(),
      tolerationSeconds: z.int().optional(),
    }),
  )
  .describe('Taints of nodes where it runs all the same.');
const nodeSelector = z.record(z.string(), z.string()).describe('Labels of the nodes where it may run.');
const affinity = z.record(z.string(), z.unknown()).describe('As `affinity` of a pod.');
const priorityClassName = z.string().describe('Which pods give way to it when a node is full.');
const extraArgs = z.array(z.string()).describe('More options of its command line, one item each.');
const annotations = z.record(z.string(), z.string()).describe('Annotations of its pods.');
const absolutePath = z.string().regex(/^\/\S*[^/\s]$/, 'an absolute path without a slash at its end');

const imageSchema = z.strictObject({
  repository: z.string().min(1).describe('Name of the image, with its registry where it has one.'),
  tag: z.string().min(1).describe('Tag; `TAG@sha256:…` pins a digest.'),
  pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).describe('When a node asks the registry for it.'),
  pullSecrets: z
    .array(z.strictObject({ name: z.string() }))
    .describe('Secrets of the namespace with the credentials of the registry.'),
});

const nodeSchema = z.strictObject({
  cgroupRoot: absolutePath.describe(
    'Where nodes have cgroup v2: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside version 1.',
  ),
  bpffs: absolutePath.describe(
    'Where nodes have a mounted bpffs; what must outlive the agent is pinned in it.',
  ),
  stateDir: absolutePath.describe("The agent's own directory on nodes; gone after a reboot."),
  netnsDir: absolutePath.describe('Where the container runtime names network namespaces.'),
  criSocket: absolutePath.describe(
    'Socket of the container runtime: containerd as is, CRI-O `/run/crio/crio.sock`.',
  ),
  cniBinDir: absolutePath.describe('Where the container runtime looks for CNI plugins.'),
  cniConfDir: absolutePath.describe('Where the container runtime looks for its CNI configuration.'),
});

const agentSchema = z.strictObject({
  meshState: z
    .enum(['whole', 'on-demand'])
    .describe(
      'What it knows: the whole mesh, 2 MB for each 1 000 pods; or, for larger clusters, what the pods of its node connect to, asked for at the first connection.',
    ),
  resources,
  tolerations,
  nodeSelector,
  affinity,
  priorityClassName,
  annotations,
  extraArgs,
  extraCapabilities: z
    .array(z.string().regex(/^[A-Z_]+$/))
    .describe('Capabilities beside those of docs/permissions.md, such as `DAC_OVERRIDE`.'),
  seccompProfile: z
    .record(z.string(), z.string())
    .describe("The runtime's own profile allows all that the agent's capabilities are for."),
  seLinuxOptions: z
    .record(z.string(), z.string())
    .describe('Without SELinux on a node this means nothing there.'),
  updateStrategy: z
    .record(z.string(), z.unknown())
    .describe(
      'How a new version reaches the nodes. With `maxSurge` the new agent of a node takes over from the old one, and nobody is refused.',
    ),
  terminationGracePeriodSeconds: z
    .int()
    .min(1)
    .describe('Longer than the time that open connections get to end by themselves, 25 s.'),
});

const controlSchema = z.strictObject({
  replicas: z.int().min(1).describe('All of them serve; one writes.'),
  resources,
  tolerations,
  nodeSelector,
  affinity,
  priorityClassName,
  annotations,
  extraArgs,
});

const monitoringSchema = z.strictObject({
  podMonitor: z.boolean().describe('A PodMonitor for the agents; needs the Prometheus operator.'),
  serviceMonitor: z
    .boolean()
    .describe('A ServiceMonitor for the control plane; needs the Prometheus operator.'),
  dashboards: z.boolean().describe('ConfigMaps with dashboards, as the Grafana chart finds them.'),
  interval: z
    .string()
    .regex(/^[0-9]+[smh]$/)
    .describe('How often Prometheus asks.'),
  labels: z
    .record(z.string(), z.string())
    .describe('Labels by which Prometheus finds the monitors, such as `release: prometheus`.'),
});

export const valuesSchema = z.strictObject({
  image: imageSchema.describe('The one image of all processes; `make image` builds it.'),
  logLevel: z
    .string()
    .regex(/^([a-z-]+=)?(trace|debug|info|warn|error)(,([a-z-]+=)?(trace|debug|info|warn|error))*$/)
    .describe('Of all processes: trace, debug, info, warn or error; also `info,COMPONENT=debug`.'),
  mesh: meshConfigSpec
    .partial()
    .describe(
      'Spec of the MeshConfig `default`, written where this is not empty: trustDomain, clusterId, network, defaultFailMode, … (docs/yaml.md).',
    ),
  node: nodeSchema.describe('Where things are on the nodes.'),
  agent: agentSchema.describe('The agent: one pod on each node.'),
  control: controlSchema.describe('The control plane.'),
  networkPolicy: z
    .boolean()
    .describe('A NetworkPolicy that lets nothing but its own ports in to the control plane.'),
  monitoring: monitoringSchema.describe('What Prometheus and Grafana find by themselves.'),
});

export type Values = z.input<typeof valuesSchema>;

export const defaultValues: Values = {
  image: { repository: 'culvert', tag: versionString(), pullPolicy: 'IfNotPresent', pullSecrets: [] },
  logLevel: 'info',
  mesh: {},
  node: {
    cgroupRoot: '/sys/fs/cgroup',
    bpffs: '/sys/fs/bpf',
    stateDir: '/run/culvert',
    netnsDir: '/run/netns',
    criSocket: '/run/containerd/containerd.sock',
    cniBinDir: '/opt/cni/bin',
    cniConfDir: '/etc/cni/net.d',
  },
  agent: {
    meshState: 'whole',
    resources: { requests: { cpu: '100m', memory: '192Mi' }, limits: { memory: '1Gi' } },
    tolerations: [{ operator: 'Exists' }],
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    affinity: {},
    priorityClassName: 'system-node-critical',
    annotations: {},
    extraArgs: [],
    extraCapabilities: [],
    seccompProfile: { type: 'RuntimeDefault' },
    seLinuxOptions: { type: 'spc_t' },
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    terminationGracePeriodSeconds: 40,
  },
  control: {
    replicas: 2,
    resources: { requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '1Gi' } },
    tolerations: [],
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    affinity: {},
    priorityClassName: 'system-cluster-critical',
    annotations: {},
    extraArgs: [],
  },
  networkPolicy: true,
  monitoring: { podMonitor: false, serviceMonitor: false, dashboards: false, interval: '30s', labels: {} },
};
