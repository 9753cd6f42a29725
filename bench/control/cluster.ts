/**
 * A large cluster as its API server has it, and what happens in it: pods that become unready and ready, and pods that are
 * replaced. Everything follows from numbers, so that two runs see the same.
 */
import type { FakeApi } from '../../test/control/cluster/fake-api.ts';

export interface ClusterSize {
  readonly pods: number;
  readonly services: number;
  readonly nodes: number;
}

/** What one change is told of by: the name of the workload that everybody must hear of. */
export interface Change {
  readonly name: string;
  /** Milliseconds since the epoch, before the API server told anybody. */
  readonly at: number;
}

/** Every so many changes a pod is replaced by another of another name, node and address. */
const replacedEvery = 4;
/** Neighbours in number are not neighbours in time. Prime, so that each pod has its turn before one has its second. */
const stride = 7_919;
const namespaces = 100;
const namespaceOf = (service: number): string => `ns-${service % namespaces}`;

interface Pod {
  readonly n: number;
  readonly service: number;
  /** Goes up when it is replaced. */
  readonly generation: number;
  readonly ready: boolean;
}

export class BenchCluster {
  readonly #api: FakeApi;
  readonly #size: ClusterSize;
  readonly #pods: Pod[];
  #changes = 0;

  constructor(api: FakeApi, size: ClusterSize) {
    this.#api = api;
    this.#size = size;
    this.#pods = Array.from({ length: size.pods }, (_, n) => ({
      n,
      service: n % size.services,
      generation: 0,
      ready: true,
    }));
  }

  /** Puts everything there is into the API server, and forgets how it came. */
  fill(): void {
    const { nodes, services } = this.#size;
    for (let n = 0; n < nodes; n++)
      this.#api.put('nodes', { metadata: { name: nodeName(n), labels: { zone: String(n % 3) } } });
    for (let n = 0; n < namespaces; n++) {
      const labels = { 'culvert.dev/dataplane-mode': 'ambient' };
      this.#api.put('namespaces', { metadata: { name: namespaceOf(n), labels } });
    }
    for (const pod of this.#pods) this.#api.put('pods', this.#podObject(pod));
    for (let service = 0; service < services; service++) {
      this.#api.put('services', serviceObject(service));
      this.#putSlice(service);
    }
    this.#api.compact();
  }

  /** Something happens. Each pod changes at most once in as many changes as there are pods. */
  change(): Change {
    const n = (this.#changes * stride) % this.#size.pods;
    this.#changes += 1;
    const before = this.#pods[n];
    if (before === undefined) throw new Error(`no pod ${n}`);
    const isReplaced = this.#changes % replacedEvery === 0;
    const after = isReplaced
      ? { ...before, generation: before.generation + 1, ready: true }
      : { ...before, ready: !before.ready };
    this.#pods[n] = after;
    const at = Date.now();
    if (isReplaced) this.#api.delete('pods', namespaceOf(before.service), podName(before));
    this.#api.put('pods', this.#podObject(after));
    this.#putSlice(after.service);
    return { name: workloadName(after), at };
  }

  /** Names of the workloads that there are, and whether they are ready. */
  truth(): Map<string, boolean> {
    return new Map(this.#pods.map(pod => [workloadName(pod), pod.ready]));
  }

  /** Of so many pods. */
  addresses(count: number): string[] {
    return this.#pods.slice(0, count).map(address);
  }

  /** Virtual addresses of so many services. */
  serviceAddresses(count: number): string[] {
    return Array.from({ length: Math.min(count, this.#size.services) }, (_, n) => serviceAddress(n));
  }

  #podObject(pod: Pod) {
    const { n, service, generation, ready } = pod;
    const app = `app-${service}`;
    const ip = address(pod);
    const time = '2026-11-21T08:00:00Z';
    const condition = (type: string, holds: boolean) => ({
      type,
      status: holds ? 'True' : 'False',
      lastProbeTime: null,
      lastTransitionTime: time,
    });
    return {
      metadata: {
        name: podName(pod),
        namespace: namespaceOf(service),
        uid: podUid(pod),
        creationTimestamp: time,
        labels: { app, 'pod-template-hash': '7d9f8b6c5d', 'app.kubernetes.io/version': 'v1' },
        annotations: { 'culvert.dev/redirection': 'enabled', 'kubectl.kubernetes.io/restartedAt': time },
        ownerReferences: [
          {
            apiVersion: 'apps/v1',
            kind: 'ReplicaSet',
            name: `${app}-7d9f8b6c5d`,
            uid: `replicas-${service}`,
            controller: true,
            blockOwnerDeletion: true,
          },
        ],
        managedFields: [{ manager: 'kubelet', operation: 'Update', fieldsV1: managedFields }],
      },
      spec: {
        nodeName: nodeName((n + generation) % this.#size.nodes),
        serviceAccountName: app,
        containers: [
          {
            name: 'app',
            image: `registry.example/shop/${app}:v1`,
            env: environment,
            ports: [{ name: 'http', containerPort: 8_080, protocol: 'TCP' }],
            readinessProbe: { httpGet: { port: 'http', path: '/ready', scheme: 'HTTP' }, periodSeconds: 10 },
            resources: { limits: { memory: '512Mi' }, requests: { cpu: '100m', memory: '256Mi' } },
            volumeMounts: [{ name: 'token', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }],
          },
        ],
        tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' }],
        volumes: [{ name: 'token', projected: { defaultMode: 420, sources: [] } }],
      },
      status: {
        phase: 'Running',
        podIP: ip,
        podIPs: [{ ip }],
        hostIP: '192.0.2.1',
        startTime: time,
        conditions: [
          condition('PodReadyToStartContainers', true),
          condition('Initialized', true),
          condition('Ready', ready),
          condition('ContainersReady', ready),
          condition('PodScheduled', true),
        ],
        containerStatuses: [
          { name: 'app', ready, restartCount: 0, image: `registry.example/shop/${app}:v1` },
        ],
      },
    };
  }

  #putSlice(service: number): void {
    const { pods, services } = this.#size;
    const members: Pod[] = [];
    for (let n = service; n < pods; n += services) {
      const pod = this.#pods[n];
      if (pod !== undefined) members.push(pod);
    }
    const namespace = namespaceOf(service);
    this.#api.put('endpointslices', {
      metadata: {
        name: `app-${service}-x7k2p`,
        namespace,
        labels: {
          'kubernetes.io/service-name': `app-${service}`,
          'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        },
      },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8_080, protocol: 'TCP' }],
      endpoints: members.map(pod => ({
        addresses: [address(pod)],
        conditions: { ready: pod.ready, serving: pod.ready, terminating: false },
        nodeName: nodeName((pod.n + pod.generation) % this.#size.nodes),
        targetRef: { kind: 'Pod', name: podName(pod), namespace, uid: podUid(pod) },
      })),
    });
  }
}

export function nodeName(n: number): string {
  return `node-${n}`;
}

function podName({ n, service, generation }: Pod): string {
  return `app-${service}-7d9f8b6c5d-${n.toString(36).padStart(4, '0')}${generation}`;
}

function podUid({ n, generation }: Pod): string {
  return `${n.toString(16).padStart(8, '0')}-0000-4000-8000-${String(generation).padStart(12, '0')}`;
}

/** As control/build-workloads.ts names them. */
function workloadName(pod: Pod): string {
  return `Kubernetes//Pod/${namespaceOf(pod.service)}/${podName(pod)}`;
}

/** Generations have a range of their own: no address is used again. */
function address({ n, generation }: Pod): string {
  return `10.${(generation % 8) * 16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
}

function serviceObject(service: number) {
  return {
    metadata: { name: `app-${service}`, namespace: namespaceOf(service) },
    spec: {
      clusterIP: serviceAddress(service),
      clusterIPs: [serviceAddress(service)],
      selector: { app: `app-${service}` },
      ports: [{ name: 'http', port: 80, targetPort: 'http', protocol: 'TCP' }],
      type: 'ClusterIP',
    },
  };
}

/** What a real pod carries along and nobody reads. */
const managedFields = Object.fromEntries(
  ['conditions', 'containerStatuses', 'hostIP', 'phase', 'podIP', 'podIPs', 'startTime'].map(field => [
    `f:${field}`,
    { '.': {}, 'f:status': {}, 'f:type': {}, 'f:lastTransitionTime': {} },
  ]),
);
const environment = Array.from({ length: 8 }, (_, n) => ({ name: `SETTING_${n}`, value: `value-${n}` }));

function serviceAddress(service: number): string {
  return `10.200.${service >> 8}.${service & 255}`;
}
