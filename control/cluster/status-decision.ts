/**
 * What has to be written into the status of an object, by what kind of object it is. Pure; status.ts writes it.
 */
import { gatewayController, gatewayGroup } from '../../model/kinds/gateway.ts';
import type { AllocatedAddress } from '../../model/kinds/service-entry.ts';
import type { Finding } from '../finding.ts';
import { type Located, objectName } from '../located.ts';
import { conditionsOf } from './conditions.ts';
import { type WaypointState, gatewayClassStatus, gatewayStatus } from './gateway-status.ts';
import { type OwnObject, record } from './own-object.ts';
import { policyAncestors } from './policy-status.ts';
import { routeParents } from './route-status.ts';

export interface StatusKnowledge {
  /** What the builder says about an object, by its name in findings. */
  readonly findingsOf: (object: string) => readonly Finding[];
  /** Addresses of the hosts of a ServiceEntry that has none of its own. */
  readonly allocated: (namespace: string, name: string) => readonly AllocatedAddress[];
  /** Whether requests to a Service pass a waypoint. */
  readonly hasWaypoint: (namespace: string, name: string) => boolean;
  /** A Gateway that is a waypoint of ours, with what there is of it; null for others. */
  readonly waypoint: (
    namespace: string,
    name: string,
  ) => { readonly object: Located<'Gateway'>; readonly state: WaypointState } | null;
  /** Who makes the Gateways of a class. */
  readonly controllerOf: (gatewayClass: string) => string | null;
}

export interface StatusChange {
  readonly status: Readonly<Record<string, unknown>>;
  /** Whether it may be written again at once: somebody waits for the next step. */
  readonly isStep: boolean;
}

const ownGroup = 'culvert.dev';

/** What to write; null when status is as it should be, or is none of ours. */
export function statusChange(
  object: OwnObject,
  knowledge: StatusKnowledge,
  now: string,
): StatusChange | null {
  const { served, namespace, name, generation } = object;
  if (!served.hasStatus) return null;
  if (served.group === gatewayGroup) return ofGatewayApi(object, knowledge, now);
  if (served.group !== ownGroup && !served.group.endsWith('.istio.io')) return null;
  const built = knowledge.findingsOf(objectName({ kind: served.kind, namespace, name }));
  const conditions = conditionsOf(object, built, now);
  const addresses = served.kind === 'ServiceEntry' ? missingAddresses(object, knowledge) : {};
  if (conditions === null) return Object.keys(addresses).length > 0 ? step(addresses) : null;
  const observed = served.group === ownGroup ? { observedGeneration: generation } : {};
  return { status: { conditions, ...observed, ...addresses }, isStep: false };
}

/** All addresses of the hosts where the status lacks one: what stands there holds, for every replica and after every restart. */
function missingAddresses(
  { namespace, name, status }: OwnObject,
  { allocated }: StatusKnowledge,
): { readonly addresses?: readonly AllocatedAddress[] } {
  const addresses = allocated(namespace, name);
  const present: readonly unknown[] = Array.isArray(status['addresses']) ? status['addresses'] : [];
  const known = new Set(
    present.map(item => `${String(record(item)['host'])} ${String(record(item)['value'])}`),
  );
  return addresses.every(({ host, value }) => known.has(`${host} ${value}`)) ? {} : { addresses };
}

function ofGatewayApi(object: OwnObject, knowledge: StatusKnowledge, now: string): StatusChange | null {
  const { served, namespace, name } = object;
  switch (served.kind) {
    case 'GatewayClass': {
      if (knowledge.controllerOf(name) !== gatewayController) return null;
      return step(gatewayClassStatus(object, now));
    }
    case 'Gateway': {
      const waypoint = knowledge.waypoint(namespace, name);
      if (waypoint === null) return null;
      return step(gatewayStatus(object, waypoint.object.value, waypoint.state, now));
    }
    case 'BackendTLSPolicy': {
      const built = knowledge.findingsOf(objectName({ kind: served.kind, namespace, name }));
      const ancestors = policyAncestors(object, { built, hasWaypoint: knowledge.hasWaypoint }, now);
      return step(ancestors === null ? null : { ancestors });
    }
    default: {
      if (!served.kind.endsWith('Route')) return null;
      const built = knowledge.findingsOf(objectName({ kind: served.kind, namespace, name }));
      const parents = routeParents(object, { built, hasWaypoint: knowledge.hasWaypoint }, now);
      return step(parents === null ? null : { parents });
    }
  }
}

function step(status: StatusChange['status'] | null): StatusChange | null {
  return status === null ? null : { status, isStep: true };
}
