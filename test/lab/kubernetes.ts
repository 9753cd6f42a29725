/**
 * Kubernetes objects for what a lab has made, and how they are written for an agent to read.
 *
 * As small as the mesh needs them: an API server would add much more that nobody here looks at.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { LabPod } from './pod.ts';

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
  readonly status?: unknown;
  readonly [field: string]: unknown;
}

/** The label that brings a namespace or a pod into the mesh. */
export const enrolled = { 'culvert.dev/dataplane-mode': 'ambient' } as const;

export function namespaceObject(
  name: string,
  labels: Readonly<Record<string, string>> = {},
): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { 'kubernetes.io/metadata.name': name, ...labels } },
  };
}

export function serviceAccountObject(namespace: string, name: string): KubernetesObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } };
}

export interface PodObjectOptions {
  /** Added to those of the pod's spec. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** False: the kubelet found it not fit for traffic. */
  readonly ready?: boolean;
}

/** A running pod as a kubelet reports it, with the annotation that tells where its namespace is. */
export function podObject(pod: LabPod, options: PodObjectOptions = {}): KubernetesObject {
  const { v4, v6 } = pod.addresses;
  const ports = Object.entries(pod.spec.ports ?? {}).map(([name, containerPort]) => ({
    name,
    containerPort,
  }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: pod.name,
      namespace: pod.namespace,
      uid: pod.uid,
      labels: { ...pod.spec.labels, ...options.labels },
      annotations: { 'culvert.dev/netns': pod.netnsPath, ...pod.spec.annotations, ...options.annotations },
    },
    spec: {
      nodeName: pod.node,
      serviceAccountName: pod.serviceAccount,
      containers: [{ name: 'app', image: 'program-on-this-machine', ports }],
    },
    status: {
      phase: 'Running',
      podIP: v4,
      podIPs: [{ ip: v4 }, ...(v6 === null ? [] : [{ ip: v6 }])],
      conditions: [{ type: 'Ready', status: options.ready === false ? 'False' : 'True' }],
    },
  };
}

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  /** The same as `port` unless said; a name refers to a named port of the pod. */
  readonly targetPort?: number | string;
  readonly appProtocol?: string;
}

export interface ServiceOptions {
  readonly name: string;
  readonly namespace: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly ServicePort[];
  /** Empty: a headless Service. */
  readonly clusterIPs: readonly string[];
}

export function serviceObject(options: ServiceOptions): KubernetesObject {
  const { name, namespace, selector, ports, clusterIPs } = options;
  const addresses = clusterIPs.length === 0 ? ['None'] : clusterIPs;
  const families = clusterIPs.map(address => (address.includes(':') ? 'IPv6' : 'IPv4'));
  const spec = { selector, ports, clusterIP: addresses[0], clusterIPs: addresses };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: families.length === 0 ? spec : { ...spec, ipFamilies: families },
  };
}

/** Multi-document YAML. */
function yamlOf(objects: readonly KubernetesObject[]): string {
  return objects.map(object => stringify(object)).join('---\n');
}

/** Writes a file that is either the old one or the new one to whoever watches, never half of it. */
export function writeObjects(path: string, objects: readonly KubernetesObject[]): void {
  // Not .yaml while it is being written, or the agent would read it too.
  const unfinished = `${path}.unfinished`;
  writeFileSync(unfinished, yamlOf(objects));
  renameSync(unfinished, path);
}

export interface ConfigOptions {
  /** Labels of the namespaces, by name. */
  readonly namespaceLabels?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Whatever else the mesh shall read: Services, policies. */
  readonly objects?: readonly KubernetesObject[];
}

/** Writes namespaces.yaml, pods.yaml and, with `objects`, objects.yaml: a directory for `culvert run --config`. */
export function writeConfig(directory: string, pods: readonly LabPod[], options: ConfigOptions): void {
  const labels = options.namespaceLabels ?? {};
  const namespaces = new Set([...pods.map(pod => pod.namespace), ...Object.keys(labels)]);
  const accounts = new Map(pods.map(pod => [`${pod.namespace}/${pod.serviceAccount}`, pod]));
  mkdirSync(directory, { recursive: true });
  writeObjects(join(directory, 'namespaces.yaml'), [
    ...[...namespaces].map(name => namespaceObject(name, labels[name] ?? {})),
    ...[...accounts.values()].map(pod => serviceAccountObject(pod.namespace, pod.serviceAccount)),
  ]);
  writeObjects(
    join(directory, 'pods.yaml'),
    pods.map(pod => podObject(pod)),
  );
  if (options.objects !== undefined) writeObjects(join(directory, 'objects.yaml'), options.objects);
}
