/**
 * The resources of the discovery stream: from the model to bytes and back.
 *
 * Both ends use these, so that what a control plane means is what an agent understands; the messages are Istio's where
 * Istio has one. Encoding is deterministic: equal objects are equal bytes.
 */
import { CulvertError } from '../base/errors.ts';
import type { L7List, L7Resource } from '../model/l7.ts';
import type { MeshSettings, NodePod } from '../model/node-pod.ts';
import { policyKey } from '../model/policy.ts';
import type { Authorization } from '../model/policy.ts';
import { serviceKey } from '../model/service.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import { protocols } from '../proto/load.ts';
import { authorizationFromWire, authorizationToWire, denyAll } from './codec-authorization.ts';
import { l7FromWire, l7Name, l7ToWire, type ReadL7 } from './codec-l7.ts';
import { nodePodFromWire, nodePodToWire, settingsFromWire, settingsToWire } from './codec-mesh.ts';
import { serviceFromWire, serviceToWire } from './codec-service.ts';
import { workloadFromWire, workloadToWire } from './codec-workload.ts';

const prefix = 'type.googleapis.com';

/** Type URLs. */
export const resourceTypes = {
  address: `${prefix}/${protocols.address.fullName}`,
  authorization: `${prefix}/${protocols.authorization.fullName}`,
  settings: `${prefix}/${protocols.settings.fullName}`,
  nodePod: `${prefix}/${protocols.nodePod.fullName}`,
  waypointResource: `${prefix}/${protocols.waypointResource.fullName}`,
  waypointCredential: `${prefix}/${protocols.waypointCredential.fullName}`,
} as const;

export type ResourceType = keyof typeof resourceTypes;

/** The name of the one resource of type `settings`. */
export const settingsName = 'mesh';

/** An alias that all services have which no Kubernetes Service stands for: one name to ask for all of them. */
export const entriesName = 'culvert.dev/service-entries';

/** The other names a workload or service can be asked for by, `<network>/<ip>`. A prefix has none. */
export function addressNames(subject: Workload | Service): readonly string[] {
  const places =
    'uid' in subject
      ? subject.addresses.map(address => ({ network: subject.network, address }))
      : subject.addresses.filter(({ address }) => !address.includes('/'));
  return places.map(({ network, address }) => `${network}/${address}`);
}

/** A resource of type `address`, named by its uid. */
export function encodeWorkload(workload: Workload): Buffer {
  return protocols.address.encode({ workload: workloadToWire(workload) });
}

/** A resource of type `address`, named by its service key. */
export function encodeService(service: Service): Buffer {
  return protocols.address.encode({ service: serviceToWire(service) });
}

/** A resource of type `authorization`, named by its policy key. */
export function encodeAuthorization(policy: Authorization): Buffer {
  return protocols.authorization.encode(authorizationToWire(policy));
}

/** The resource of type `settings`. */
export function encodeSettings(settings: MeshSettings): Buffer {
  return protocols.settings.encode(settingsToWire(settings));
}

/** A resource of type `nodePod`, named by the pod's UID. */
export function encodeNodePod(pod: NodePod): Buffer {
  return protocols.nodePod.encode(nodePodToWire(pod));
}

/** A resource of type `waypointResource` or `waypointCredential`, which have the same fields, named by `l7Name` (codec-l7.ts). */
export function encodeL7(list: L7List, resource: L7Resource): Buffer {
  return protocols.waypointResource.encode(l7ToWire(list, resource));
}

/** A resource that can be used as it is; `problem` says what of it could not be read, null when all of it was. */
export interface Decoded<T> {
  readonly name: string;
  readonly value: T;
  readonly problem: string | null;
}

export type Address =
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: Service };

/** This and the following throw CulvertError XDS_RESOURCE_INVALID for what cannot be used at all. */
export function decodeAddress(bytes: Buffer): Decoded<Address> {
  return reading(() => {
    const { workload: wireWorkload, service: wireService } = protocols.address.decode(bytes);
    const problems: string[] = [];
    if (wireWorkload !== null && wireService === null) {
      const workload = workloadFromWire(wireWorkload, problems);
      if (workload.uid === '') throw new Error('a workload without uid');
      return decoded(workload.uid, { kind: 'workload', workload }, problems);
    }
    if (wireService !== null && wireWorkload === null) {
      const service = serviceFromWire(wireService, problems);
      if (service.namespace === '' || service.hostname === '') throw new Error('a service without hostname');
      return decoded(serviceKey(service), { kind: 'service', service }, problems);
    }
    throw new Error('neither a workload nor a service');
  });
}

/** Never weaker than what was meant; see codec-authorization.ts. */
export function decodeAuthorization(bytes: Buffer): Decoded<Authorization> {
  return reading(() => {
    const problems: string[] = [];
    const policy = authorizationFromWire(protocols.authorization.decode(bytes), bytes, problems);
    if (policy.name === '') throw new Error('a policy without name');
    return decoded(policyKey(policy), policy, problems);
  });
}

/** In place of a policy that cannot be decoded: denies all to those workloads that name it. Null if no policy has this name. */
export function undecodablePolicy(name: string): Authorization | null {
  const slash = name.indexOf('/');
  if (slash < 0) return null;
  return denyAll({
    namespace: name.slice(0, slash),
    name: name.slice(slash + 1),
    scope: 'WORKLOAD_SELECTOR',
    dryRun: false,
  });
}

export function decodeSettings(bytes: Buffer): Decoded<MeshSettings> {
  return reading(() => decoded(settingsName, settingsFromWire(protocols.settings.decode(bytes)), []));
}

export function decodeNodePod(bytes: Buffer): Decoded<NodePod> {
  return reading(() => {
    const pod = nodePodFromWire(protocols.nodePod.decode(bytes));
    return decoded(pod.podUid, pod, []);
  });
}

/** One that can't be used says what may not be served without it. */
export function decodeL7(bytes: Buffer): Decoded<ReadL7> {
  return reading(() => {
    const wire = protocols.waypointResource.decode(bytes);
    if (wire.list === '' || wire.key === '') throw new Error('it does not say what it is');
    const value = l7FromWire(wire);
    return decoded(l7Name(wire.list, wire.key), value, value.kind === 'barred' ? [value.barred.reason] : []);
  });
}

function decoded<T>(name: string, value: T, problems: readonly string[]): Decoded<T> {
  return { name, value, problem: problems.length === 0 ? null : [...new Set(problems)].join(', ') };
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new CulvertError('XDS_RESOURCE_INVALID', why, { side: 'server', cause: thrown });
  }
}
