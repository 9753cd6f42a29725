/**
 * What the server has of an object whose status may be ours to write, good or not: the mesh's own kinds and those of
 * Gateway API. Kept beside what is in force of it, since status speaks of the newest version.
 */
import { gatewayGroup } from '../../model/kinds/gateway.ts';
import { kinds } from '../../model/kinds/registry.ts';
import type { Finding } from '../finding.ts';
import type { ApiObject } from './api-events.ts';
import type { ServedKind } from './discovery.ts';

export interface OwnObject {
  readonly served: ServedKind;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Goes up with each change of the spec. */
  readonly generation: number;
  readonly resourceVersion: string;
  /** As it is; others may have written parts of it. */
  readonly status: Readonly<Record<string, unknown>>;
  /** Of routes: `spec.parentRefs` as written, and how many rules there are. */
  readonly parentRefs: readonly unknown[];
  /** Of policies of Gateway API: `spec.targetRefs` as written. */
  readonly targetRefs: readonly unknown[];
  readonly rules: number;
  /** What is wrong with this version; with an error it is not in force. */
  readonly findings: readonly Finding[];
}

/** Whether objects of this kind may have a status that we write. */
export function hasOurStatus({ kind, group }: ServedKind): boolean {
  return kinds[kind].own || group === gatewayGroup;
}

/** A route that is bound to no Service, so that it is none of the mesh's. */
export function isForeignRoute({ served, parentRefs }: Omit<OwnObject, 'findings'>): boolean {
  const isRoute = served.group === gatewayGroup && served.kind.endsWith('Route');
  return isRoute && !parentRefs.some(parent => record(parent)['kind'] === 'Service');
}

export function ownObject(
  served: ServedKind,
  { metadata, spec, status }: ApiObject,
): Omit<OwnObject, 'findings'> {
  const { parentRefs, targetRefs, rules } = record(spec);
  return {
    served,
    namespace: typeof metadata['namespace'] === 'string' ? metadata['namespace'] : '',
    name: metadata.name,
    uid: String(metadata['uid']),
    generation: typeof metadata['generation'] === 'number' ? metadata['generation'] : 0,
    resourceVersion: metadata.resourceVersion,
    status: record(status),
    parentRefs: Array.isArray(parentRefs) ? (parentRefs as unknown[]) : [],
    targetRefs: Array.isArray(targetRefs) ? (targetRefs as unknown[]) : [],
    rules: Array.isArray(rules) ? rules.length : 0,
  };
}

/** A member of foreign JSON that should be an object; empty where it is none. */
export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
