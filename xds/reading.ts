/**
 * Reads one response of the discovery stream: what changes, what was refused, and what to remember.
 *
 * Pure. A resource that cannot be used is refused and the others of the response stand. What was known of a refused one
 * stays in force; a policy of which nothing is known yet denies all, see codec-authorization.ts.
 */
import { describeError } from '../base/errors.ts';
import type { L7Change } from '../model/l7.ts';
import { emptyMesh } from '../model/mesh.ts';
import type { MeshDelta } from '../model/mesh.ts';
import type { MeshSettings, NodePod } from '../model/node-pod.ts';
import type { Authorization } from '../model/policy.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import type { WireDeltaResponse, WireResource } from '../proto/messages.ts';
import { type Barred, everything, l7Removal } from './codec-l7.ts';
import {
  decodeAddress,
  decodeAuthorization,
  decodeL7,
  decodeNodePod,
  decodeSettings,
  resourceTypes,
  undecodablePolicy,
} from './codec.ts';
import type { Decoded, ResourceType } from './codec.ts';

/** What one response changes; all of it is of one type. */
export interface XdsUpdate {
  readonly type: ResourceType;
  readonly delta: MeshDelta;
  /** Null where the response has none. */
  readonly settings: MeshSettings | null;
  readonly nodePods: {
    readonly set: readonly NodePod[];
    /** By pod UID; perhaps ones never heard of. */
    readonly removed: readonly string[];
  };
  /** For waypoints. */
  readonly l7: {
    /** Those that are gone included. */
    readonly changes: readonly L7Change[];
    /** In place of what can't be used; each until a usable one of its name comes, or it is removed. */
    readonly barred: readonly Barred[];
    /** By name. */
    readonly removed: readonly string[];
  };
}

export interface Refusal {
  readonly name: string;
  readonly reason: string;
}

/** What the client keeps of a resource; no version means that it wants to be told again. */
export interface Remembered {
  readonly name: string;
  readonly version: string;
  readonly isService: boolean;
}

export interface Reading {
  readonly update: XdsUpdate;
  readonly remember: readonly Remembered[];
  readonly refused: readonly Refusal[];
}

/** What is known of a name from before. */
export interface Known {
  has(name: string): boolean;
  isService(name: string): boolean;
}

interface Draft {
  readonly workloads: Workload[];
  readonly services: Service[];
  readonly policies: Authorization[];
  readonly nodePods: NodePod[];
  readonly l7: L7Change[];
  readonly barred: Barred[];
  settings: MeshSettings | null;
}

export function readResponse(type: ResourceType, response: WireDeltaResponse, known: Known): Reading {
  const draft: Draft = {
    workloads: [],
    services: [],
    policies: [],
    nodePods: [],
    l7: [],
    barred: [],
    settings: null,
  };
  const remember: Remembered[] = [];
  const refused: Refusal[] = [];
  for (const resource of response.resources) {
    const services = draft.services.length;
    try {
      const { name, problem, keep } = read(type, resource);
      keep(draft);
      if (problem !== null) refused.push({ name, reason: problem });
      const version = problem === null ? resource.version : '';
      remember.push({ name, version, isService: draft.services.length > services });
    } catch (thrown) {
      const { name } = resource;
      const standIn = type === 'authorization' && !known.has(name) ? undecodablePolicy(name) : null;
      if (standIn !== null) draft.policies.push(standIn);
      if (standIn !== null || known.has(name)) {
        remember.push({ name, version: '', isService: known.isService(name) });
      }
      const reason = thrown instanceof Error ? thrown.message : describeError(thrown);
      // Nobody knows what it is about.
      if (type === 'waypointResource' && !known.has(name)) {
        draft.barred.push({ name, about: [everything], reason });
        remember.push({ name, version: '', isService: false });
      }
      refused.push({ name, reason });
    }
  }
  const set = new Set(remember.map(({ name }) => name));
  const removed = response.removedResources.filter(name => !set.has(name));
  return { update: updateOf(type, draft, removed, known), remember, refused };
}

/** A resource that was read, and how it gets into the draft. */
interface Usable extends Omit<Decoded<unknown>, 'value'> {
  readonly keep: (draft: Draft) => void;
}

/** Throws when it cannot be used. */
function read(type: ResourceType, resource: WireResource): Usable {
  const content = resource.resource;
  if (content === null) throw new Error('it is empty');
  if (content.typeUrl !== resourceTypes[type]) throw new Error(`it is of type ${content.typeUrl}`);
  const usable = decoders[type](content.value);
  if (resource.name !== '' && resource.name !== usable.name)
    throw new Error(`it calls itself ${usable.name}`);
  return usable;
}

const decoders: Readonly<Record<ResourceType, (bytes: Buffer) => Usable>> = {
  address: bytes => {
    const { name, problem, value } = decodeAddress(bytes);
    return {
      name,
      problem,
      keep: draft => {
        if (value.kind === 'workload') draft.workloads.push(value.workload);
        else draft.services.push(value.service);
      },
    };
  },
  authorization: bytes => {
    const { name, problem, value } = decodeAuthorization(bytes);
    return { name, problem, keep: draft => draft.policies.push(value) };
  },
  settings: bytes => {
    const { name, problem, value } = decodeSettings(bytes);
    return { name, problem, keep: draft => (draft.settings = value) };
  },
  nodePod: bytes => {
    const { name, problem, value } = decodeNodePod(bytes);
    return { name, problem, keep: draft => draft.nodePods.push(value) };
  },
  waypointResource: readL7,
  waypointCredential: readL7,
};

function readL7(bytes: Buffer): Usable {
  const { name, problem, value } = decodeL7(bytes);
  return {
    name,
    problem,
    keep: draft => {
      if (value.kind === 'change') draft.l7.push(value.change);
      else draft.barred.push(value.barred);
    },
  };
}

function updateOf(type: ResourceType, draft: Draft, removed: readonly string[], known: Known): XdsUpdate {
  const { workloads, services, policies, settings, nodePods } = draft;
  const isService = (name: string): boolean =>
    known.isService(name) || (!known.has(name) && looksLikeService(name));
  const delta: MeshDelta = {
    ...emptyMesh,
    workloads,
    services,
    policies,
    removedWorkloads: type === 'address' ? removed.filter(name => !isService(name)) : [],
    removedServices: type === 'address' ? removed.filter(isService) : [],
    removedPolicies: type === 'authorization' ? removed : [],
  };
  // A mesh is never without settings: when they are removed the last ones hold.
  return {
    type,
    delta,
    settings,
    nodePods: { set: nodePods, removed: type === 'nodePod' ? removed : [] },
    l7: l7Of(draft, type === 'waypointResource' || type === 'waypointCredential' ? removed : []),
  };
}

function l7Of({ l7, barred }: Draft, removed: readonly string[]): XdsUpdate['l7'] {
  return { changes: [...removed.flatMap(name => l7Removal(name) ?? []), ...l7], barred, removed };
}

/** A refusal tells so many names, and how many more there are. */
const maxRefusalsTold = 20;

/** `name: reason; …`, as a NACK has it. */
export function describeRefusals(refused: readonly Refusal[]): string {
  const told = refused.slice(0, maxRefusalsTold).map(({ name, reason }) => `${name || 'unnamed'}: ${reason}`);
  const more = refused.length - told.length;
  return [...told, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

/** `namespace/hostname`; the uid of a workload has more slashes, or none. */
function looksLikeService(name: string): boolean {
  return name.split('/').length === 2;
}
