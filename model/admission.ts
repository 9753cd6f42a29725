/**
 * Who may connect to a workload: by its policies, and where it has a waypoint, only who came through one. Pure.
 *
 * A workload with a waypoint takes connections of that waypoint and of those of its services, so that nobody walks around
 * what is decided there. The waypoint of a service alone binds nobody who dials a pod by its own address; whoever wants
 * that has a waypoint for workloads, too, or a policy that names the waypoint's identity.
 */
import { decide, type Decision, type PolicyConnection } from './policy.ts';
import type { Mesh } from './mesh.ts';
import { waypointIdentities, waypointName, type PlacesMesh } from './waypoint-place.ts';
import type { GatewayAddress, Workload } from './workload.ts';

export type Admission = Decision & {
  /** Not policy, but the way that the connection took. */
  readonly bypass?: true;
};

/** Decides about a connection to the workload. */
export function admit(
  mesh: PlacesMesh & Pick<Mesh, 'policiesFor'>,
  workload: Workload,
  connection: PolicyConnection,
): Admission {
  const { waypoint } = workload;
  const around = waypoint === null ? null : bypass(mesh, workload, waypoint, connection.sourceIdentity);
  return around ?? decide(mesh.policiesFor(workload), connection);
}

/** The waypoints that requests to a workload may have passed: its own, and those of its services. */
export function waypointsOf(
  mesh: Pick<Mesh, 'service'>,
  { waypoint, services }: Workload,
): readonly GatewayAddress[] {
  const ofServices = Object.keys(services).flatMap(key => mesh.service(key)?.waypoint ?? []);
  return waypoint === null ? ofServices : [waypoint, ...ofServices];
}

/** Whether somebody who proves this identity is one of them. */
export function isWaypointOf(mesh: PlacesMesh, workload: Workload, identity: string): boolean {
  return waypointsOf(mesh, workload).some(gateway =>
    waypointIdentities(mesh, gateway, workload.namespace).includes(identity),
  );
}

function bypass(
  mesh: PlacesMesh,
  workload: Workload,
  waypoint: GatewayAddress,
  identity: string | null,
): Admission | null {
  if (identity !== null && isWaypointOf(mesh, workload, identity)) return null;
  const who = identity ?? 'a client without identity';
  const reason = `${workload.namespace}/${workload.name} is reached through its waypoint ${waypointName(waypoint)}, and ${who} is none`;
  return { allowed: false, policy: null, rule: null, reason, bypass: true };
}
