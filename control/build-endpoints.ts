/**
 * Who the endpoints of each service are: the pods its selector chooses, or what its EndpointSlices say where it has any.
 *
 * An address of a slice that belongs to a pod is that pod, with its identity, also when the slice does not say so: an
 * enrolled pod must not become reachable in plaintext by being listed once more. Other addresses become workloads of
 * their own, without identity.
 */
import { sliceService } from '../model/kinds/marks.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { Pod } from '../model/kinds/pod.ts';
import { type PortMapping, type Workload, selects } from '../model/workload.ts';
import type { Objects, Report } from './build-objects.ts';
import type { PodEntry } from './build-pods.ts';
import { type ServiceEntry, mapping } from './build-services.ts';
import { localityOf } from './build-workloads.ts';
import type { Located } from './located.ts';

export interface Endpoints {
  /** Workload uid → service key → ports. */
  readonly memberships: ReadonlyMap<string, Readonly<Record<string, readonly PortMapping[]>>>;
  /** Addresses of slices that no pod has. */
  readonly externals: readonly Workload[];
}

export interface EndpointsInput {
  readonly objects: Objects;
  readonly config: MeshConfig;
  readonly pods: readonly PodEntry[];
  readonly services: readonly ServiceEntry[];
}

export function endpointsOf(input: EndpointsInput, report: Report): Endpoints {
  return new EndpointsBuild(input, report).run();
}

class EndpointsBuild {
  readonly #input: EndpointsInput;
  readonly #report: Report;
  readonly #members = new Map<string, Map<string, Map<number, PortMapping>>>();
  readonly #externals = new Map<string, Workload>();
  readonly #podsByName = new Map<string, PodEntry>();
  readonly #podsByAddress = new Map<string, PodEntry>();

  constructor(input: EndpointsInput, report: Report) {
    this.#input = input;
    this.#report = report;
    for (const pod of input.pods) {
      this.#podsByName.set(`${pod.pod.namespace}/${pod.pod.name}`, pod);
      if (pod.hostNetwork) continue;
      for (const address of pod.reachableAt) this.#podsByAddress.set(address, pod);
    }
  }

  run(): Endpoints {
    const slices = this.#slicesByService();
    const index = new LabelIndex(this.#input.pods);
    for (const entry of this.#input.services) {
      const own = slices.get(`${entry.object.namespace}/${entry.object.name}`) ?? [];
      if (own.length > 0) for (const slice of own) this.#addSlice(entry, slice);
      else this.#addSelected(entry, index);
    }
    const memberships = new Map<string, Record<string, readonly PortMapping[]>>();
    for (const [uid, services] of this.#members) memberships.set(uid, sortedServices(services));
    const externals = [...this.#externals.values()].map(workload => ({
      ...workload,
      services: memberships.get(workload.uid) ?? {},
    }));
    return { memberships, externals };
  }

  #slicesByService(): Map<string, Located<'EndpointSlice'>[]> {
    const byService = new Map<string, Located<'EndpointSlice'>[]>();
    for (const slice of this.#input.objects.all('EndpointSlice')) {
      const name = slice.value.metadata.labels[sliceService];
      const service = name === undefined ? null : this.#input.objects.get('Service', slice.namespace, name);
      if (service === null) {
        const what =
          name === undefined
            ? `has no label ${sliceService}`
            : `there is no Service ${slice.namespace}/${name}`;
        this.#report(slice, 'warning', 'slice-without-service', 'metadata.labels', `ignored: ${what}`);
      } else if (slice.value.addressType === 'FQDN') {
        this.#report(
          slice,
          'warning',
          'fqdn-slice',
          'addressType',
          'ignored: endpoints that are names are not supported',
        );
      } else {
        const key = `${slice.namespace}/${service.name}`;
        byService.set(key, [...(byService.get(key) ?? []), slice]);
      }
    }
    return byService;
  }

  #addSelected(entry: ServiceEntry, index: LabelIndex): void {
    const { selector } = entry.object.value.spec;
    if (Object.keys(selector).length === 0) return;
    const lacking = new Map<string, PodEntry[]>();
    const chosen = index.select(entry.object.namespace, selector);
    for (const pod of chosen) {
      const ports: PortMapping[] = [];
      for (const port of entry.ports) {
        const target = typeof port.target === 'number' ? port.target : namedPort(pod.pod.value, port.target);
        if (target !== null) ports.push(mapping(port, target));
        else lacking.set(String(port.target), [...(lacking.get(String(port.target)) ?? []), pod]);
      }
      this.#add(entry, pod.uid, ports);
    }
    if (chosen.length === 0) {
      this.#report(entry.object, 'info', 'service-without-endpoints', 'spec.selector', 'selects no pod');
    }
    for (const [name, pods] of lacking) {
      const who = `${pods.length === 1 ? 'pod' : `${pods.length} pods, among them`} ${pods[0]?.pod.name}`;
      const message = `no container port of ${who} is named ${name}: it is no endpoint for that port`;
      this.#report(entry.object, 'warning', 'missing-target-port', 'spec.ports', message);
    }
  }

  #addSlice(entry: ServiceEntry, slice: Located<'EndpointSlice'>): void {
    const ports: PortMapping[] = [];
    for (const slicePort of slice.value.ports) {
      const port = entry.ports.find(({ name }) => name === slicePort.name);
      if (slicePort.protocol !== 'TCP' || slicePort.port === undefined || port === undefined) continue;
      ports.push(mapping(port, slicePort.port));
    }
    const takesUnready = entry.object.value.spec.publishNotReadyAddresses;
    for (const [index, endpoint] of slice.value.endpoints.entries()) {
      if (endpoint.conditions.ready === false && !takesUnready) continue;
      const { targetRef, nodeName } = endpoint;
      for (const address of endpoint.addresses) {
        if (targetRef?.kind === 'Pod') {
          const name = `${targetRef.namespace ?? slice.namespace}/${targetRef.name ?? ''}`;
          const pod = this.#podsByName.get(name);
          if (pod?.addresses.includes(address) === true) {
            this.#add(entry, pod.uid, ports);
            continue;
          }
          const what =
            pod === undefined ? `there is no running Pod ${name}` : `Pod ${name} has another address`;
          const field = `endpoints[${index}]`;
          this.#report(slice, 'warning', 'stale-endpoint', field, `${address} is left out: ${what}`);
        } else {
          const uid =
            this.#podsByAddress.get(address)?.uid ?? this.#external(entry, address, nodeName ?? '').uid;
          this.#add(entry, uid, ports);
        }
      }
    }
  }

  #external(entry: ServiceEntry, address: string, node: string): Workload {
    const { name, namespace } = entry.object;
    const key = `${namespace}/${address}`;
    const known = this.#externals.get(key);
    if (known !== undefined) return known;
    const { config, objects } = this.#input;
    const workload: Workload = {
      uid: `${config.clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${name}/${address}`,
      name,
      namespace,
      serviceAccount: '',
      trustDomain: config.trustDomain,
      addresses: [address],
      hostname: '',
      network: config.network,
      node,
      clusterId: config.clusterId,
      tunnelProtocol: 'NONE',
      networkMode: 'STANDARD',
      status: 'HEALTHY',
      canonicalName: name,
      canonicalRevision: 'latest',
      workloadName: name,
      workloadType: 'pod',
      services: {},
      authorizationPolicies: [],
      waypoint: null,
      locality: localityOf(objects, node),
      capacity: 1,
    };
    this.#externals.set(key, workload);
    return workload;
  }

  #add(entry: ServiceEntry, uid: string, ports: readonly PortMapping[]): void {
    let services = this.#members.get(uid);
    if (services === undefined) this.#members.set(uid, (services = new Map()));
    let byPort = services.get(entry.key);
    if (byPort === undefined) services.set(entry.key, (byPort = new Map()));
    for (const port of ports) if (!byPort.has(port.servicePort)) byPort.set(port.servicePort, port);
  }
}

function sortedServices(
  services: Map<string, Map<number, PortMapping>>,
): Record<string, readonly PortMapping[]> {
  const sorted = [...services].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    sorted.map(([key, ports]) => [
      key,
      [...ports.values()].toSorted((a, b) => a.servicePort - b.servicePort),
    ]),
  );
}

/** The number of a named TCP container port; init containers that stay count, as in Kubernetes. */
function namedPort(pod: Pod, name: string): number | null {
  const sidecars = pod.spec.initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always');
  for (const { ports } of [...pod.spec.containers, ...sidecars]) {
    const port = ports.find(candidate => candidate.name === name && candidate.protocol === 'TCP');
    if (port !== undefined) return port.containerPort;
  }
  return null;
}

/** Pods by namespace and single labels, so that a selector looks at few. */
export class LabelIndex {
  readonly #byNamespace = new Map<string, PodEntry[]>();
  readonly #byLabel = new Map<string, PodEntry[]>();

  constructor(pods: readonly PodEntry[]) {
    for (const pod of pods) {
      const { namespace } = pod.pod;
      append(this.#byNamespace, namespace, pod);
      for (const [key, value] of Object.entries(pod.labels))
        append(this.#byLabel, `${namespace}\0${key}\0${value}`, pod);
    }
  }

  /** The pods of a namespace that carry every label of `selector`; an empty one selects them all. */
  select(namespace: string, selector: Readonly<Record<string, string>>): readonly PodEntry[] {
    let fewest = this.#byNamespace.get(namespace) ?? [];
    for (const [key, value] of Object.entries(selector)) {
      const candidates = this.#byLabel.get(`${namespace}\0${key}\0${value}`) ?? [];
      if (candidates.length < fewest.length) fewest = candidates;
    }
    return fewest.filter(pod => selects(selector, pod.labels));
  }
}

function append(map: Map<string, PodEntry[]>, key: string, pod: PodEntry): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [pod]);
  else list.push(pod);
}
