/**
 * What building a mesh costs where it is large: all at once, and one change at a time. `node bench/build-scale.ts [pods]`.
 *
 * Objects are what an API server would give after validation; times are those of the builder alone.
 */
import { kinds, type KindName } from '../model/kinds/registry.ts';
import { IncrementalBuilder } from '../control/build-incremental.ts';
import { type LocatedObject, clusterOrigin } from '../control/located.ts';

const pods = Number(process.argv[2] ?? 30_000);
const podsPerService = 10;
const namespaces = 100;
const changes = 2_000;

/** Reads what an API server would send. */
function read(kind: KindName, value: Record<string, unknown>): LocatedObject {
  const metadata = value['metadata'] as { name: string; namespace?: string };
  const parsed = kinds[kind].schema.parse(value);
  const object = { kind, namespace: metadata.namespace ?? '', name: metadata.name, value: parsed };
  // Kind and value belong together by the table.
  return { ...object, origin: clusterOrigin() } as unknown as LocatedObject;
}

function namespaceOf(service: number): string {
  return `ns-${service % namespaces}`;
}

function addressOf(n: number): string {
  return `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;
}

function pod(n: number, ready = true, generation = 0): LocatedObject {
  const service = Math.floor(n / podsPerService);
  const name = `app-${service}-7d9f8b6c5d-${n}`;
  return read('Pod', {
    metadata: {
      name,
      namespace: namespaceOf(service),
      uid: `pod-${n}-${generation}`,
      creationTimestamp: '2026-11-21T08:00:00Z',
      labels: { app: `app-${service}`, 'pod-template-hash': '7d9f8b6c5d', version: 'v1' },
      annotations: { 'culvert.dev/redirection': 'enabled' },
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: `app-${service}-7d9f8b6c5d`, controller: true },
      ],
    },
    spec: {
      nodeName: `node-${n % 1_000}`,
      serviceAccountName: `app-${service}`,
      containers: [
        {
          name: 'app',
          ports: [{ name: 'http', containerPort: 8080 }],
          readinessProbe: { httpGet: { port: 'http', path: '/' } },
        },
      ],
    },
    status: {
      phase: 'Running',
      podIP: addressOf(n),
      podIPs: [{ ip: addressOf(n) }],
      startTime: '2026-11-21T08:00:00Z',
      conditions: [
        { type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: '2026-11-21T09:00:00Z' },
      ],
    },
  });
}

function slice(service: number, without = -1): LocatedObject {
  const members = Array.from({ length: podsPerService }, (_, i) => service * podsPerService + i);
  return read('EndpointSlice', {
    metadata: {
      name: `app-${service}-x`,
      namespace: namespaceOf(service),
      labels: {
        'kubernetes.io/service-name': `app-${service}`,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }],
    endpoints: members
      .filter(n => n !== without)
      .map(n => ({
        addresses: [addressOf(n)],
        conditions: { ready: true },
        nodeName: `node-${n % 1_000}`,
        targetRef: { kind: 'Pod', name: `app-${service}-7d9f8b6c5d-${n}`, namespace: namespaceOf(service) },
      })),
  });
}

function everything(): LocatedObject[] {
  const objects: LocatedObject[] = [];
  for (let n = 0; n < namespaces; n++) {
    objects.push(
      read('Namespace', {
        metadata: { name: `ns-${n}`, labels: { 'culvert.dev/dataplane-mode': 'ambient' } },
      }),
    );
  }
  for (let service = 0; service < pods / podsPerService; service++) {
    objects.push(
      read('Service', {
        metadata: { name: `app-${service}`, namespace: namespaceOf(service) },
        spec: {
          clusterIP: `10.96.${service >> 8}.${service & 255}`,
          selector: { app: `app-${service}` },
          ports: [{ name: 'http', port: 80, targetPort: 'http' }],
        },
      }),
      read('ServiceAccount', { metadata: { name: `app-${service}`, namespace: namespaceOf(service) } }),
      slice(service),
    );
  }
  for (let n = 0; n < pods; n++) objects.push(pod(n));
  return objects;
}

function policy(n: number, port: number): LocatedObject {
  return read('AuthorizationPolicy', {
    apiVersion: 'culvert.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `only-${n}`, namespace: namespaceOf(n) },
    spec: {
      selector: { matchLabels: { app: `app-${n}` } },
      rules: [{ to: [{ operation: { ports: [String(port)] } }] }],
    },
  });
}

/** Memory that is in use, in MB. */
function heap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 1e6;
}

function row(what: string, value: string): void {
  process.stdout.write(`${what.padEnd(46)} ${value.padStart(14)}\n`);
}

/** Times of `changes` single changes, in ms. */
function measure(what: string, change: (n: number) => LocatedObject[]): void {
  const prepared = Array.from({ length: changes }, (_, n) => change(n));
  const took: number[] = [];
  let resources = 0;
  for (const set of prepared) {
    const began = performance.now();
    const { mesh } = builder.apply({ set, removed: [] });
    took.push(performance.now() - began);
    resources += mesh.workloads.length + mesh.services.length + mesh.policies.length;
  }
  took.sort((a, b) => a - b);
  const at = (part: number): string => (took[Math.floor(took.length * part)] ?? 0).toFixed(3);
  row(what, `${at(0.5)} / ${at(0.99)} ms`);
  row('   objects of the mesh that change, each', (resources / changes).toFixed(2));
}

const before = heap();
const objects = everything();
const held = heap();
row(`${objects.length} objects`, `${(held - before).toFixed(0)} MB`);

const builder = new IncrementalBuilder({ mode: 'cluster' });
const began = performance.now();
builder.apply({ set: objects, removed: [] });
row(`all at once, ${pods} pods`, `${(performance.now() - began).toFixed(0)} ms`);
row('   kept by the builder beside the objects', `${(heap() - held).toFixed(0)} MB`);

process.stdout.write('\none change at a time                                  p50 / p99\n');
measure('a pod becomes unready', n => [pod(n * 7, false)]);
measure('a pod is replaced by one of its name', n => [pod(n * 7, true, 1)]);
measure('an endpoint leaves its slice', n => [slice(n % (pods / podsPerService), n * 10)]);
measure('a policy with a selector', n => [policy(n % 1_000, 8_000 + (n % 7))]);
measure('nothing that matters', n => [pod(n * 7, true, 1)]);
const findings = performance.now();
const count = builder.findings().length;
row(`all ${count} findings`, `${(performance.now() - findings).toFixed(1)} ms`);
