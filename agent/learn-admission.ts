/**
 * Which waypoints may connect to a pod of this node, where the agent knows only what it has asked for: of a workload with a
 * waypoint its services and their waypoints, without which nobody could say who walks around it.
 */
import type { CulvertError } from '../base/errors.ts';
import { admissionNeeds } from '../model/route-needs.ts';
import type { Connection } from './connections.ts';
import type { ShardContext } from './shard-context.ts';

/** Calls `done` at once where everything is known; else when the control plane has spoken, with an error when it does not. */
export function learnAdmission(
  { inquiries, mesh }: ShardContext,
  uid: string,
  connection: Connection,
  done: (error: CulvertError | null) => void,
): void {
  if (inquiries === null || connection.exemption !== null) {
    done(null);
    return;
  }
  const needs = (): readonly string[] => {
    const workload = mesh.workload(uid);
    return workload === null ? [] : admissionNeeds(mesh, workload);
  };
  inquiries.learn({ pod: uid, needs, patient: true, done });
}
