/**
 * Who the endpoints of one service are: what its selector chooses, or what its EndpointSlices say where it has any, or
 * what a ServiceEntry names in place.
 *
 * An address of a slice that belongs to a pod is that pod, with its identity, also when the slice does not say so: an
 * enrolled pod must not become reachable in plaintext by being listed once more. Other addresses become workloads of
 * their own, without identity.
 */
import { sliceController, sliceManager } from '../model/kinds/marks.ts';
import type { MeshConfig } from '../model/kinds/mesh-config.ts';
import type { Pod } from '../model/kinds/pod.ts';
import type { EndpointSpec } from '../model/kinds/workload-entry.ts';
import { type PortMapping, podUid } from '../model/workload.ts';
import type { BuildMode } from './build-enrolment.ts';
import { type EntryMember, endpointPort, inlineEndpoints, inlineUid } from './build-entries.ts';
import type { LabelIndex } from './build-labels.ts';
import type { PodBook, PodEntry } from './build-pods.ts';
import { type MeshService, type ServicePort, mapping } from './build-services.ts';
import type { Located, Report } from './located.ts';

/** A workload that only exists because an endpoint names it. */
export interface Outside {
  readonly uid: string;
  /** Of the service or ServiceEntry. */
  readonly name: string;
  readonly namespace: string;
  readonly spec: EndpointSpec;
  /** As its slice says; empty where nobody does. */
  readonly node: string;
}

export interface Endpoints {
  /** Ports of every endpoint by workload uid, in the order of the service's ports. */
  readonly ports: ReadonlyMap<string, readonly PortMapping[]>;
  readonly outside: ReadonlyMap<string, Outside>;
}

export interface EndpointsInput {
  readonly service: MeshService;
  /** Of the Service, in file order; those of names (FQDN) left out. */
  readonly slices: readonly Located<'EndpointSlice'>[];
  readonly config: MeshConfig;
  readonly mode: BuildMode;
  readonly pods: Pick<PodBook, 'get' | 'at'>;
  readonly podsByLabel: LabelIndex<PodEntry>;
  readonly entriesByLabel: LabelIndex<EntryMember>;
}

/** The labels by which a service chooses its endpoints; null where something else says who they are. */
export function selectorOf({ object }: MeshService): Readonly<Record<string, string>> | null {
  const selector =
    object.kind === 'Service' ? object.value.spec.selector : object.value.spec.workloadSelector?.labels;
  return selector === undefined || Object.keys(selector).length === 0 ? null : selector;
}

export function endpointsOf(input: EndpointsInput, report: Report): Endpoints {
  const found = new Found();
  const { object } = input.service;
  if (input.slices.length > 0) for (const slice of input.slices) addSlice(input, slice, found, report);
  else if (object.kind === 'Service' || object.value.spec.workloadSelector !== undefined)
    addSelected(input, found, report);
  else addInline(input, object, found, report);
  return found.endpoints();
}

/**
 * Endpoints as they are found; of two that say something about one port of a workload, the first is in force. Endpoints
 * with the same ports share the list, since there are tens of thousands.
 */
class Found {
  readonly #ports = new Map<string, readonly PortMapping[]>();
  readonly #outside = new Map<string, Outside>();

  /** @param ports in the order of their numbers */
  add(uid: string, ports: readonly PortMapping[]): void {
    const known = this.#ports.get(uid);
    if (known === undefined) this.#ports.set(uid, ports);
    else if (known !== ports) this.#ports.set(uid, distinct([...known, ...ports]));
  }

  addOutside(outside: Outside, ports: readonly PortMapping[]): void {
    if (!this.#outside.has(outside.uid)) this.#outside.set(outside.uid, outside);
    this.add(outside.uid, ports);
  }

  get size(): number {
    return this.#ports.size;
  }

  endpoints(): Endpoints {
    return { ports: this.#ports, outside: this.#outside };
  }
}

/** The first of each service port, in the order of their numbers. */
function distinct(ports: readonly PortMapping[]): PortMapping[] {
  const first = new Map<number, PortMapping>();
  for (const port of ports) if (!first.has(port.servicePort)) first.set(port.servicePort, port);
  return [...first.values()].sort((a, b) => a.servicePort - b.servicePort);
}

function addSelected(input: EndpointsInput, found: Found, report: Report): void {
  const { service, podsByLabel, entriesByLabel } = input;
  const { object, ports } = service;
  const selector = selectorOf(service);
  if (selector === null) return;
  const lacking = new Map<string, string[]>();
  const lists = new Map<string, readonly PortMapping[]>();
  const shared = (mappings: readonly PortMapping[]): readonly PortMapping[] => {
    const targets = mappings.map(({ servicePort, targetPort }) => `${servicePort}:${targetPort}`).join();
    const known = lists.get(targets);
    if (known === undefined) lists.set(targets, mappings);
    return known ?? mappings;
  };
  const add = (uid: string, name: string, portOf: (port: ServicePort) => number | null): void => {
    const mappings: PortMapping[] = [];
    for (const port of ports) {
      const target = portOf(port);
      if (target !== null) mappings.push(mapping(port, target));
      else lacking.set(String(port.target), [...(lacking.get(String(port.target)) ?? []), name]);
    }
    found.add(uid, shared(distinct(mappings)));
  };
  for (const { uid, pod } of podsByLabel.select(object.namespace, selector).sort(byUid))
    add(uid, `pod ${pod.name}`, port => podPort(pod.value, port));
  for (const { uid, entry } of entriesByLabel.select(object.namespace, selector).sort(byUid))
    add(uid, `WorkloadEntry ${entry.name}`, port => endpointPort(entry.value.spec, port));

  if (found.size === 0) {
    const field = object.kind === 'Service' ? 'spec.selector' : 'spec.workloadSelector';
    report(object, 'info', 'service-without-endpoints', field, 'selects no pod');
  }
  for (const [name, members] of lacking) {
    const who = members.length === 1 ? members[0] : `${members.length} endpoints, among them ${members[0]}`;
    const message = `no container port of ${who} is named ${name}: it is no endpoint for that port`;
    report(object, 'warning', 'missing-target-port', 'spec.ports', message);
  }
}

function addSlice(
  input: EndpointsInput,
  slice: Located<'EndpointSlice'>,
  found: Found,
  report: Report,
): void {
  const { service, pods, config, mode } = input;
  const { object } = service;
  const ports = distinct(
    slice.value.ports.flatMap(({ name, protocol, port: target }) => {
      const port = service.ports.find(candidate => candidate.name === name);
      return protocol !== 'TCP' || target === undefined || port === undefined ? [] : [mapping(port, target)];
    }),
  );
  // In slices that Kubernetes keeps, `ready` repeats what the pod says of itself, a moment later: the pod is asked.
  const isKept = mode === 'cluster' && slice.value.metadata.labels[sliceManager] === sliceController;
  const takesUnready = object.kind === 'Service' && object.value.spec.publishNotReadyAddresses;
  for (const [index, { addresses, conditions, targetRef, nodeName }] of slice.value.endpoints.entries()) {
    const isPod = targetRef?.kind === 'Pod';
    if (conditions.ready === false && !takesUnready && !(isKept && isPod)) continue;
    for (const address of addresses) {
      if (targetRef !== undefined && isPod) {
        const uid = refUid(targetRef, slice, config);
        const pod = pods.get(uid);
        if (pod?.addresses.includes(address) === true) {
          found.add(uid, ports);
          continue;
        }
        const name = `${targetRef.namespace ?? slice.namespace}/${targetRef.name ?? ''}`;
        const what = pod === null ? `there is no running Pod ${name}` : `Pod ${name} has another address`;
        const message = `${address} is left out: ${what}`;
        // In a cluster a slice runs behind its pods for a moment whenever one goes.
        const severity = mode === 'cluster' ? 'info' : 'warning';
        report(slice, severity, 'stale-endpoint', `endpoints[${index}]`, message);
      } else {
        const pod = pods.at(address);
        if (pod !== null) found.add(pod.uid, ports);
        else {
          const { namespace, name } = object;
          const uid = `${config.clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${address}`;
          found.addOutside({ uid, name, namespace, spec: { address }, node: nodeName ?? '' }, ports);
        }
      }
    }
  }
}

function addInline(
  { service, config, pods }: EndpointsInput,
  object: Located<'ServiceEntry'>,
  found: Found,
  report: Report,
): void {
  for (const spec of inlineEndpoints(object, service.service.hostname)) {
    const address = spec.address ?? '';
    const ports = distinct(
      service.ports.flatMap(port => {
        const target = endpointPort(spec, port);
        return target === null ? [] : [mapping(port, target)];
      }),
    );
    const pod = pods.at(address);
    const { name, namespace } = object;
    if (pod !== null) found.add(pod.uid, ports);
    else
      found.addOutside({ uid: inlineUid(object, address, config), name, namespace, spec, node: '' }, ports);
  }
  if (found.size === 0 && object.value.spec.resolution === 'STATIC') {
    report(object, 'info', 'service-without-endpoints', 'spec.endpoints', 'names no endpoint');
  }
}

/** The workload uid of the pod an endpoint refers to. */
export function refUid(
  ref: { readonly name?: string | undefined; readonly namespace?: string | undefined },
  slice: Located<'EndpointSlice'>,
  config: MeshConfig,
): string {
  return podUid(config.clusterId, ref.namespace ?? slice.namespace, ref.name ?? '');
}

function podPort(pod: Pod, { target }: ServicePort): number | null {
  return typeof target === 'number' ? target : namedPort(pod, target);
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

function byUid(a: { readonly uid: string }, b: { readonly uid: string }): number {
  return a.uid < b.uid ? -1 : 1;
}
